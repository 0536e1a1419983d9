package acme

import (
	"context"
	"encoding/json"
	"time"
)

// Challenge types (RFC 8555 §8, RFC 8737, draft-ietf-acme-dns-account-label, draft-ietf-acme-dns-persist,
// draft-ietf-acme-device-attest, RFC 9799).
const (
	TypeHTTP01         = "http-01"
	TypeTLSALPN01      = "tls-alpn-01"
	TypeDNS01          = "dns-01"
	TypeDNSAccount01   = "dns-account-01"
	TypeDNSPersist01   = "dns-persist-01"
	TypeDeviceAttest01 = "device-attest-01"
	TypeOnionCSR01     = "onion-csr-01"
)

// A Challenge is one way the CA offers to prove control of an identifier (RFC 8555 §7.1.5).
type Challenge struct {
	Type      string    `json:"type"`
	URL       string    `json:"url"`
	Token     string    `json:"token,omitempty"` // empty for types that have none
	Status    string    `json:"status"`
	Validated time.Time `json:"validated,omitzero"`
	Error     *Problem  `json:"error,omitempty"` // why validation failed, or has failed so far

	// With dns-persist-01, the names that the CA goes by, and the account as its record has it, which is
	// empty in a challenge if it is to be found out (NewProof does). The drafts differ in the names'
	// field: HashedIssuers comes from CAs whose records have the account hashed, -02 and later.
	Issuers       []string `json:"issuer-domain-names,omitempty"`
	HashedIssuers []string `json:"issuerDomainNames,omitempty"`
	AccountURI    string   `json:"accounturi,omitempty"`

	// With onion-csr-01, what the request has to hold (RFC 9799 §3.2).
	Nonce   string          `json:"nonce,omitempty"`
	AuthKey json.RawMessage `json:"authKey,omitempty"`

	RetryAfter time.Duration `json:"-"` // when to poll for the outcome, as AcceptChallenge was answered; zero: the CA did not say
}

// AcceptChallenge tells the CA that the answer to the challenge is published and may be validated. With
// most types payload is nil, which sends an empty object; others are answered by the payload itself, such
// as {"attObj":…} for device-attest-01 and {"csr":…} for onion-csr-01. It returns the challenge as the CA
// sees it then; the outcome shows in the authorization or the order (RFC 8555 §7.5.1).
func (c *Client) AcceptChallenge(ctx context.Context, url string, payload json.RawMessage) (*Challenge, error) {
	if len(payload) == 0 {
		payload = json.RawMessage("{}")
	}
	body, err := json.Marshal(payload) // which it may not be
	if err != nil {
		return nil, actionError("accept challenge", err)
	}
	var resource challengeResource
	resp, err := c.post(ctx, request{action: "challenge", url: url, body: body, named: true})
	if err == nil {
		err = resp.decode(&resource)
	}
	if err != nil {
		return nil, actionError("accept challenge", err)
	}
	challenge := resource.challenge()
	challenge.URL, challenge.RetryAfter = url, resp.retryAfter()
	return &challenge, nil
}

// A challengeResource is a challenge as it comes.
type challengeResource struct {
	Challenge
	Validated     looseTime                 `json:"validated"`
	Error         looseProblem              `json:"error"`
	Issuers       optional[[]string]        `json:"issuer-domain-names"`
	HashedIssuers optional[[]string]        `json:"issuerDomainNames"`
	AccountURI    optional[string]          `json:"accounturi"`
	Nonce         optional[string]          `json:"nonce"`
	AuthKey       optional[json.RawMessage] `json:"authKey"`
}

// challenge returns what could be read.
func (r *challengeResource) challenge() Challenge {
	c := r.Challenge
	c.Validated, c.Error = r.Validated.Time, r.Error.Problem
	c.Issuers, c.HashedIssuers, c.AccountURI = r.Issuers.value, r.HashedIssuers.value, r.AccountURI.value
	c.Nonce, c.AuthKey = r.Nonce.value, r.AuthKey.value
	return c
}
