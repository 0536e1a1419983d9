package acme

import (
	"context"
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// A Proof is all that answering one challenge needs. It can be written down as JSON and read back, so
// that another process, or this one after a restart, can take the answer away again.
type Proof struct {
	Challenge
	Identifier       Identifier `json:"identifier"`
	Wildcard         bool       `json:"wildcard,omitempty"`
	KeyAuthorization string     `json:"keyAuthorization,omitempty"` // RFC 8555 §8.1; empty without a token
	AuthorizationURL string     `json:"authorizationURL,omitempty"` // the authorization that the challenge is of
	AccountURL       string     `json:"accountURL"`

	// AnyDomainAccountURI is what a record of dns-persist-01 may have in place of AccountURI: the account hashed
	// together with "*", for records of many domains alike. Empty if the CA does not have accounts hashed.
	AnyDomainAccountURI string `json:"anyDomainAccountURI,omitempty"`

	DirectoryURL string `json:"directoryURL"`
}

// name returns the identifier as it stands in the order.
func (p *Proof) name() string { return orderedName(p.Identifier, p.Wildcard) }

// NewProof returns what the client answers one of the authorization's challenges with. What comes from the
// CA and may end in a file's name or a zone is checked: a token is base64url, a name or an address is one in
// the form that ParseIdentifier returns, and the account for a record of dns-persist-01 is at the CA's own
// host. The names that such a record has for the CA are checked by TXTRecord.
func (c *Client) NewProof(ctx context.Context, a *Authorization, challenge Challenge) (Proof, error) {
	p, err := c.newProof(ctx, a, challenge)
	if err != nil {
		return Proof{}, fmt.Errorf("acme: %s%w", about(a.name(), challenge.Type), inner{err})
	}
	return p, nil
}

func (c *Client) newProof(ctx context.Context, a *Authorization, challenge Challenge) (Proof, error) {
	const maxTokenLength = 512
	account, err := c.kid(ctx)
	if err != nil {
		return Proof{}, err
	}
	if id := a.Identifier; id.Type == TypeDNS || id.Type == TypeIP {
		// Of a wildcard the authorization has the name without the "*.".
		if err := (Identifier{Type: id.Type, Value: id.Value}).check(); err != nil || strings.HasPrefix(id.Value, "*.") {
			return Proof{}, fmt.Errorf("the authorization is for %.260q, which no challenge can be about", id.Value)
		}
	}
	challenge.Error = nil // nothing an answer needs
	p := Proof{Challenge: challenge, Identifier: a.Identifier, Wildcard: a.Wildcard,
		AuthorizationURL: a.URL, AccountURL: account, DirectoryURL: c.directoryURL()}
	switch challenge.Type {
	case TypeHTTP01, TypeTLSALPN01, TypeDNS01, TypeDNSAccount01:
		if challenge.Token == "" {
			return Proof{}, errors.New("the challenge has no token")
		}
	case TypeDNSPersist01:
		if err := c.namePersistentAccount(ctx, &p); err != nil {
			return Proof{}, err
		}
	}
	if challenge.Token == "" {
		return p, nil
	}
	if len(challenge.Token) > maxTokenLength || !isBase64URL(challenge.Token) {
		return Proof{}, fmt.Errorf("the token %.60q is not base64url", challenge.Token)
	}
	p.KeyAuthorization, err = c.KeyAuthorization(challenge.Token)
	return p, err
}

// KeyAuthorization returns the token joined with the thumbprint of the account's key, which is what
// most challenges are answered with (RFC 8555 §8.1).
func (c *Client) KeyAuthorization(token string) (string, error) {
	thumbprint, err := c.Thumbprint()
	if err != nil {
		return "", err
	}
	return token + "." + thumbprint, nil
}

// Thumbprint returns that of the account's key in base64url (RFC 7638). With it alone a web server can answer
// any http-01 challenge of the account: the token from the path, a dot, the thumbprint.
func (c *Client) Thumbprint() (string, error) {
	if c.Key == nil {
		return "", errNoKey
	}
	thumbprint, err := (&jose.JSONWebKey{Key: c.Key.Public()}).Thumbprint(crypto.SHA256)
	if err != nil {
		return "", actionError("thumbprint of the account key", err)
	}
	return base64.RawURLEncoding.EncodeToString(thumbprint), nil
}

// namePersistentAccount sets the account as a record of dns-persist-01 has it. Drafts -00 and -01 have the
// account's URL, which -01 repeats in the challenge. From -02 on it is hashed together with the domain, or "*",
// and the account's key, after a prefix from the directory.
//
// The record gives the account it names a standing right to the domain's certificates. So that no CA
// can have one set that another CA reads as for another account, a URL must be of the host that the
// client was told is the CA's.
func (c *Client) namePersistentAccount(ctx context.Context, p *Proof) error {
	if len(p.HashedIssuers) == 0 {
		if p.AccountURI == "" {
			p.AccountURI = p.AccountURL
		}
		if !sameHost(p.AccountURI, c.directoryURL()) {
			return fmt.Errorf("the account %.200q is not at the host of %s: a record for it is refused", p.AccountURI, c.directoryURL())
		}
		return nil
	}
	d, err := c.GetDirectory(ctx)
	if err != nil {
		return err
	}
	if d.Meta.AccountHashPrefix == "" {
		return fmt.Errorf("%s has no accountHashPrefix, which the record begins the account with", c.directoryURL())
	}
	thumbprint, err := c.Thumbprint()
	if err != nil {
		return err
	}
	if n := len(p.Identifier.Value); n > 255 {
		return fmt.Errorf("the domain has %d bytes, at most 255 are possible", n)
	}
	hashed := func(domain string) string {
		digest := sha256.Sum256([]byte(string([]byte{byte(len(domain))}) + domain + thumbprint + p.AccountURL))
		return d.Meta.AccountHashPrefix + "sha-256/" + base64.RawURLEncoding.EncodeToString(digest[:])
	}
	p.AccountURI, p.AnyDomainAccountURI = hashed(p.Identifier.Value), hashed("*")
	return nil
}

// sameHost reports whether both URLs have the same host, without regard to case.
func sameHost(a, b string) bool {
	first, err := url.Parse(a)
	if err != nil {
		return false
	}
	second, err := url.Parse(b)
	return err == nil && first.Host != "" && strings.EqualFold(first.Host, second.Host)
}
