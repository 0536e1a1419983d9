package acme

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"unicode/utf8"
)

// Statuses of accounts, orders, authorizations and challenges (RFC 8555 §7.1.6).
const (
	StatusPending     = "pending"
	StatusReady       = "ready"
	StatusProcessing  = "processing"
	StatusValid       = "valid"
	StatusInvalid     = "invalid"
	StatusDeactivated = "deactivated"
	StatusExpired     = "expired"
	StatusRevoked     = "revoked"
)

// An Account is what the CA knows of the client's account (RFC 8555 §7.1.2).
type Account struct {
	URL     string   `json:"-"` // identifies the account in every later request
	Status  string   `json:"status"`
	Contact []string `json:"contact,omitempty"` // URLs, such as "mailto:admin@example.com"
	Orders  string   `json:"orders,omitempty"`  // URL of the list of its orders, if the CA has one
}

// A Registration is what a new account is made with.
type Registration struct {
	Contact         []string         // URLs, such as "mailto:admin@example.com"; may be empty
	AgreeToTerms    bool             // that the terms at DirectoryMeta.TermsOfService were read and are agreed to
	ExternalAccount *ExternalAccount // required by some CAs; see DirectoryMeta.ExternalAccountRequired
}

// An ExternalAccount binds a new ACME account to one that the CA knows by other means
// (RFC 8555 §7.3.4). The CA hands out both the key and its identifier.
type ExternalAccount struct {
	KeyID     string // ASCII, without spaces
	MACKey    []byte `json:"-"` // see ParseMACKey; at least as long as the algorithm's hash; never shown
	Algorithm string // HS256, HS384 or HS512; zero: HS256
}

// String names the external account without its key.
func (e ExternalAccount) String() string { return e.KeyID }

// GoString names the external account without its key.
func (e ExternalAccount) GoString() string {
	return fmt.Sprintf("acme.ExternalAccount{KeyID:%q}", e.KeyID)
}

func (e *ExternalAccount) algorithm() string { return cmp.Or(e.Algorithm, "HS256") }

// check reports what keeps the external account from being bound to; none is fine.
func (e *ExternalAccount) check() error {
	if e == nil {
		return nil
	}
	if e.KeyID == "" {
		return errors.New("acme: external account: the key identifier given by the CA is missing")
	}
	isOdd := func(r rune) bool { return r <= ' ' || r >= 0x7f }
	if i := strings.IndexFunc(e.KeyID, isOdd); i >= 0 {
		r, _ := utf8.DecodeRuneInString(e.KeyID[i:])
		return fmt.Errorf("acme: external account %.100q: the key identifier holds %q, and only ASCII without spaces is possible: copy it alone, without its line end", e.KeyID, r)
	}
	needed := map[string]int{"HS256": 32, "HS384": 48, "HS512": 64}[e.algorithm()] // RFC 7518 §3.2
	switch {
	case needed == 0:
		return fmt.Errorf("acme: external account %.100q: algorithm %.40q is none of HS256, HS384, HS512", e.KeyID, e.Algorithm)
	case len(e.MACKey) == 0:
		return fmt.Errorf("acme: external account %.100q: the MAC key given by the CA is missing", e.KeyID)
	case len(e.MACKey) < needed:
		return fmt.Errorf("acme: external account %.100q: the MAC key has %d bytes, %s needs %d: copy it whole, and decode it with ParseMACKey", e.KeyID, len(e.MACKey), e.algorithm(), needed)
	}
	return nil
}

// ParseMACKey decodes a MAC key from the base64 that CAs show it in, of either alphabet, padded or not.
func ParseMACKey(s string) ([]byte, error) {
	s = strings.NewReplacer("+", "-", "/", "_").Replace(strings.TrimRight(strings.TrimSpace(s), "="))
	key, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(key) == 0 {
		return nil, errors.New("acme: the external account's MAC key is not base64url: copy it as the CA shows it")
	}
	return key, nil
}

// Register makes an account for the client's key, or returns the one that exists
// (RFC 8555 §7.3). It refuses to call if the CA has terms that r does not agree to.
func (c *Client) Register(ctx context.Context, r Registration) (*Account, error) {
	if c.Key == nil {
		return nil, errNoKey
	}
	if err := r.ExternalAccount.check(); err != nil {
		return nil, err
	}
	d, err := c.GetDirectory(ctx)
	if err != nil {
		return nil, err
	}
	if d.Meta.TermsOfService != "" && !r.AgreeToTerms {
		return nil, &TermsError{URL: d.Meta.TermsOfService}
	}
	if d.Meta.ExternalAccountRequired && r.ExternalAccount == nil {
		return nil, fmt.Errorf("acme: register: %s makes accounts only for those it knows: set ExternalAccount to the key that it hands out: %w", c.directoryURL(), ErrExternalAccountRequired)
	}
	request := accountRequest{Contact: r.Contact, TermsOfServiceAgreed: r.AgreeToTerms}
	if r.ExternalAccount != nil {
		request.ExternalAccountBinding, err = externalAccountBinding(r.ExternalAccount, c.Key, d.NewAccount)
		if err != nil {
			return nil, err
		}
	}
	if err := c.registering.take(ctx); err != nil {
		return nil, actionError("register", err)
	}
	defer c.registering.giveBack()
	account, err := c.newAccount(ctx, d.NewAccount, request)
	if err != nil && r.ExternalAccount != nil && IsOutage(err) {
		return nil, fmt.Errorf("acme: register: %w (some CAs answer so when they don't know the external account %q, or have bound it already)", inner{err}, r.ExternalAccount.KeyID)
	}
	if err != nil {
		return nil, actionError("register", err)
	}
	return account, nil
}

// FindAccount returns the account that has the client's key (RFC 8555 §7.3.1). If there is none,
// the error is ErrAccountDoesNotExist.
func (c *Client) FindAccount(ctx context.Context) (*Account, error) {
	if err := c.registering.take(ctx); err != nil {
		return nil, actionError("find account", err)
	}
	defer c.registering.giveBack()
	return c.findAccount(ctx)
}

// findAccount is FindAccount for whoever has the turn.
func (c *Client) findAccount(ctx context.Context) (*Account, error) {
	d, err := c.GetDirectory(ctx)
	if err != nil {
		return nil, err
	}
	account, err := c.newAccount(ctx, d.NewAccount, accountRequest{OnlyReturnExisting: true})
	if err != nil {
		return nil, actionError("find account", err)
	}
	return account, nil
}

type accountRequest struct {
	Contact                []string        `json:"contact,omitempty"`
	TermsOfServiceAgreed   bool            `json:"termsOfServiceAgreed,omitempty"`
	OnlyReturnExisting     bool            `json:"onlyReturnExisting,omitempty"`
	ExternalAccountBinding json.RawMessage `json:"externalAccountBinding,omitempty"`
}

func (c *Client) newAccount(ctx context.Context, url string, wanted accountRequest) (*Account, error) {
	payload, err := json.Marshal(wanted)
	if err != nil {
		return nil, err
	}
	account, err := c.postAccount(ctx, request{action: "newAccount", url: url, body: payload})
	if errors.Is(err, ErrUnauthorized) && wanted.ExternalAccountBinding == nil {
		err = fmt.Errorf("%w (the account of Client.Key can't be used, as when it was deactivated: register a new key)", err)
	}
	return account, err
}

func (c *Client) postAccount(ctx context.Context, r request) (*Account, error) {
	resp, err := c.postSigned(ctx, r, "")
	if err != nil {
		return nil, err
	}
	if resp.status != http.StatusCreated && resp.status != http.StatusOK {
		return nil, resp.unexpected()
	}
	account, err := readAccount(resp)
	if err != nil {
		return nil, err
	}
	if account.URL, err = c.location(resp); err != nil {
		return nil, err
	}
	if account.Status != StatusValid && account.Status != "" {
		return nil, fmt.Errorf("the account %s is %s: %w", account.URL, printable(account.Status, 20), ErrUnauthorized)
	}
	c.rememberAccountURL(account.URL)
	return account, nil
}

// readAccount reads an account, its URL apart, from an answer.
func readAccount(resp *response) (*Account, error) {
	var resource struct {
		Status  string             `json:"status"`
		Contact optional[[]string] `json:"contact"`
		Orders  optional[string]   `json:"orders"`
	}
	if err := resp.decode(&resource); err != nil {
		return nil, err
	}
	switch resource.Status {
	case StatusValid, StatusDeactivated, StatusRevoked, "":
	default:
		return nil, fmt.Errorf("the account has the unknown status %.40q", resource.Status)
	}
	account := &Account{Status: resource.Status, Contact: resource.Contact.value}
	if orders := resource.Orders.value; orders != "" {
		account.Orders, _ = resp.resolve(orders) // the account is there in any case
	}
	return account, nil
}

// A TermsError reports that the CA's terms of service were not agreed to.
type TermsError struct {
	URL string // of the terms
}

// Error names the terms.
func (e *TermsError) Error() string {
	return "acme: the CA's terms of service were not agreed to: read " + cmp.Or(printable(e.URL, 300), "them") + " and say so (AgreeToTerms)"
}
