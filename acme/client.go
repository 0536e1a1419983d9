package acme

import (
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Directories of Let's Encrypt. Staging issues certificates that no client trusts, within wide limits.
const (
	LetsEncrypt        = "https://acme-v02.api.letsencrypt.org/directory"
	LetsEncryptStaging = "https://acme-staging-v02.api.letsencrypt.org/directory"
)

// Directories of other public CAs, all of which make accounts only for those who have one with them already
// (Registration.ExternalAccount). Buypass is not among them: it ended its free service in October 2025.
const (
	ZeroSSL = "https://acme.zerossl.com/v2/DV90"
	// What Google hands out for an external account is good for one ACME account, within seven days, and not in its
	// test environment, which has its own.
	GoogleTrustServices        = "https://dv.acme-v02.api.pki.goog/directory"
	GoogleTrustServicesStaging = "https://dv.acme-v02.test-api.pki.goog/directory"
	// SSL.com has a directory for each kind of key of certificates. It charges accounts that have funds, and refuses
	// certificates to accounts without an address for mail.
	SSLcomRSA = "https://acme.ssl.com/sslcom-dv-rsa"
	SSLcomECC = "https://acme.ssl.com/sslcom-dv-ecc"
	Actalis   = "https://acme-api.actalis.com/acme/directory"
)

// A Client speaks ACME to one CA for one account. Its fields are not changed after the first call;
// its methods are safe for concurrent use and return with their context.
//
// A refusal by the CA is, wrapped, a [*Problem].
type Client struct {
	DirectoryURL string // zero: LetsEncrypt
	// Key is the account's, ECDSA or RSA; the only required field. Use it at no other CA (RFC 8555 §11.1).
	Key        crypto.Signer `json:"-"`
	AccountURL string        // zero, or refused by the CA: looked up by Key when needed
	HTTPClient *http.Client  // zero: http.DefaultClient
	UserAgent  string        // put before the package's own (RFC 8555 §6.1)
	// Observe, if set, is told of each request to the CA once its answer was read, such as to count it: also of one that
	// got no answer, and of each further try. It is called concurrently, and holds up what the request was for.
	Observe func(Exchange) `json:"-"`

	nonces      noncePool
	fetching    turn // to fetch the directory
	registering turn // to make or look up the account

	mu          sync.Mutex // guards what follows; not held over the network
	directory   *Directory
	directoryAt time.Time // when directory was fetched
	account     accountState
}

// oldestDirectory is how long a fetched directory is used: CAs add resources and change their terms.
const oldestDirectory = 24 * time.Hour

// A Directory is a CA's list of its resources (RFC 8555 §7.1.1).
type Directory struct {
	NewNonce    string        `json:"newNonce"`
	NewAccount  string        `json:"newAccount"`
	NewOrder    string        `json:"newOrder"`
	NewAuthz    string        `json:"newAuthz,omitempty"` // this and the following are not every CA's
	RevokeCert  string        `json:"revokeCert,omitempty"`
	KeyChange   string        `json:"keyChange,omitempty"`
	RenewalInfo string        `json:"renewalInfo,omitempty"` // RFC 9773
	Meta        DirectoryMeta `json:"meta,omitzero"`
}

// DirectoryMeta is what a CA says of itself.
type DirectoryMeta struct {
	TermsOfService          string   `json:"termsOfService,omitempty"` // URL of the terms to agree to
	Website                 string   `json:"website,omitempty"`
	CAAIdentities           []string `json:"caaIdentities,omitempty"` // for CAA records (RFC 8659)
	ExternalAccountRequired bool     `json:"externalAccountRequired,omitempty"`
	// Profiles describes, by name, the kinds of certificate that OrderRequest.Profile can ask for
	// (draft-ietf-acme-profiles).
	Profiles map[string]string `json:"profiles,omitempty"`
	// SubdomainAuthAllowed says that control of a domain can stand for its subdomains (RFC 9444).
	SubdomainAuthAllowed bool `json:"subdomainAuthAllowed,omitempty"`
	// AccountHashPrefix is what the account in a record for dns-persist-01 begins with
	// (draft-ietf-acme-dns-persist, from -02 on).
	AccountHashPrefix string `json:"accountHashPrefix,omitempty"`
}

// UnmarshalJSON reads what is known here. Members of another form, which drafts may give them, are passed
// over: nothing that every CA needs depends on them.
func (m *DirectoryMeta) UnmarshalJSON(data []byte) error {
	var members map[string]json.RawMessage
	if json.Unmarshal(data, &members) != nil {
		return nil
	}
	readMember(members["termsOfService"], &m.TermsOfService)
	readMember(members["website"], &m.Website)
	readMember(members["caaIdentities"], &m.CAAIdentities)
	readMember(members["externalAccountRequired"], &m.ExternalAccountRequired)
	readMember(members["profiles"], &m.Profiles)
	readMember(members["subdomainAuthAllowed"], &m.SubdomainAuthAllowed)
	readMember(members["accountHashPrefix"], &m.AccountHashPrefix)
	return nil
}

// GetDirectory returns the CA's directory, at most a day old. That the answer lacks a resource
// that every CA has is an error.
func (c *Client) GetDirectory(ctx context.Context) (*Directory, error) {
	if directory := c.freshDirectory(); directory != nil {
		return directory, nil
	}
	if err := c.fetching.take(ctx); err != nil {
		return nil, actionError("directory", err)
	}
	defer c.fetching.giveBack()
	if directory := c.freshDirectory(); directory != nil {
		return directory, nil // another call has fetched it
	}
	directory, err := c.fetchDirectory(ctx)
	if err != nil {
		return nil, actionError("directory", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.directory, c.directoryAt = directory, time.Now()
	return directory.clone(), nil
}

// freshDirectory returns a copy of the directory as it was fetched, or nil if that is too long ago.
func (c *Client) freshDirectory() *Directory {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.directory == nil || time.Since(c.directoryAt) > oldestDirectory {
		return nil
	}
	return c.directory.clone()
}

// clone returns a copy for a caller to do with as it likes.
func (d *Directory) clone() *Directory {
	clone := *d
	clone.Meta.CAAIdentities = slices.Clone(d.Meta.CAAIdentities)
	clone.Meta.Profiles = maps.Clone(d.Meta.Profiles)
	return &clone
}

func (c *Client) fetchDirectory(ctx context.Context) (*Directory, error) {
	resp, err := c.fetch(ctx, "directory", c.directoryURL())
	if problem, refused := errors.AsType[*Problem](err); refused && problem.foreign() {
		return nil, directoryError{err}
	}
	if err != nil {
		return nil, err
	}
	directory, err := readDirectory(resp)
	if err != nil {
		return nil, directoryError{err}
	}
	return directory, nil
}

// readDirectory reads a directory from an answer.
func readDirectory(resp *response) (*Directory, error) {
	directory := new(Directory)
	err := resp.decode(directory)
	if err != nil {
		return nil, err
	}
	for _, r := range []struct {
		name     string
		url      *string
		optional bool
	}{
		{"newNonce", &directory.NewNonce, false}, {"newAccount", &directory.NewAccount, false}, {"newOrder", &directory.NewOrder, false},
		{"newAuthz", &directory.NewAuthz, true}, {"revokeCert", &directory.RevokeCert, true},
		{"keyChange", &directory.KeyChange, true}, {"renewalInfo", &directory.RenewalInfo, true},
	} {
		if *r.url == "" && r.optional {
			continue
		}
		if *r.url == "" {
			return nil, fmt.Errorf("%s offers no %s: is it the directory of an ACME CA?", resp.url, r.name)
		}
		if *r.url, err = resp.resolve(*r.url); err != nil {
			return nil, fmt.Errorf("%s: %w", r.name, err)
		}
	}
	return directory, nil
}

// ErrNoDirectory says that what answers at [Client].DirectoryURL is no CA: another server, such as a login page of the network or
// a proxy, or another path of the CA's.
var ErrNoDirectory = errors.New("acme: what answers is no CA")

// A directoryError is one of an answer in which no directory is.
type directoryError struct{ error }

func (e directoryError) Unwrap() error        { return e.error }
func (e directoryError) Is(target error) bool { return target == ErrNoDirectory }

func (c *Client) directoryURL() string {
	if c.DirectoryURL == "" {
		return LetsEncrypt
	}
	return c.DirectoryURL
}
