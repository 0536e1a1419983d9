package acme

import (
	"context"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"errors"
)

// A RevocationReason says why a certificate is revoked (RFC 5280 §5.3.1). CAs accept some of them only.
type RevocationReason int

// The reasons that public CAs accept.
const (
	ReasonUnspecified          RevocationReason = 0
	ReasonKeyCompromise        RevocationReason = 1
	ReasonAffiliationChanged   RevocationReason = 3
	ReasonSuperseded           RevocationReason = 4
	ReasonCessationOfOperation RevocationReason = 5
)

// RevokeCertificate revokes a certificate in DER, signed by the account: the one that it was issued to,
// or one that holds authorizations for all of its names (RFC 8555 §7.6). A certificate that is revoked
// already is ErrAlreadyRevoked.
func (c *Client) RevokeCertificate(ctx context.Context, certificate []byte, reason RevocationReason) error {
	err := c.revoke(ctx, certificate, reason, c.post)
	if err != nil {
		return actionError("revoke certificate", err)
	}
	return nil
}

// RevokeWithKey revokes a certificate in DER, signed by the certificate's own key: whoever holds it can
// do so, without the account (RFC 8555 §7.6). Of the client only DirectoryURL, HTTPClient, UserAgent
// and Observe are used.
func (c *Client) RevokeWithKey(ctx context.Context, certificate []byte, key crypto.Signer, reason RevocationReason) error {
	if key == nil {
		return errors.New("acme: revoke certificate: the certificate's key is missing")
	}
	holder := &Client{DirectoryURL: c.DirectoryURL, Key: key, HTTPClient: c.HTTPClient, UserAgent: c.UserAgent, Observe: c.Observe}
	embedded := func(ctx context.Context, r request) (*response, error) { return holder.postSigned(ctx, r, "") }
	if err := holder.revoke(ctx, certificate, reason, embedded); err != nil {
		return actionError("revoke certificate", err)
	}
	return nil
}

func (c *Client) revoke(ctx context.Context, certificate []byte, reason RevocationReason, post func(context.Context, request) (*response, error)) error {
	target, err := c.resource(ctx, "revokeCert", func(d *Directory) string { return d.RevokeCert })
	if err != nil {
		return err
	}
	body, err := json.Marshal(struct {
		Certificate string           `json:"certificate"`
		Reason      RevocationReason `json:"reason,omitempty"`
	}{base64.RawURLEncoding.EncodeToString(certificate), reason})
	if err != nil {
		return err
	}
	lost := false
	_, err = post(ctx, request{action: "revokeCert", url: target, body: body, lost: &lost})
	if lost && errors.Is(err, ErrAlreadyRevoked) {
		return nil // by a try whose answer did not come
	}
	return c.unsupported("revokeCert", err)
}
