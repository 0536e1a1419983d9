package acme

import (
	"context"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// A RenewalInfo is the CA's word on when to renew a certificate (RFC 9773 §4.2).
type RenewalInfo struct {
	SuggestedWindow Window `json:"suggestedWindow"`
	// ExplanationURL may lead to the reason of an unusual window, for people to read; https or http.
	ExplanationURL string `json:"explanationURL,omitempty"`
	// RetryAfter is when to ask again: from a minute to a day; six hours if the CA does not say.
	RetryAfter time.Duration `json:"-"`
}

// A Window is a span of time.
type Window struct {
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
}

// At returns an instant of the window: r in [0,1) chooses uniformly. A client keeps what was chosen, for
// a choice made anew at each poll would tend to the window's beginning.
func (w Window) At(r float64) time.Time {
	if r >= 1 {
		return w.End // the span as a number may be rounded to more than a Duration holds
	}
	return w.Start.Add(time.Duration(max(r, 0) * float64(w.End.Sub(w.Start))))
}

// How often a CA is asked again (RFC 9773 §4.3.2, §4.3.3).
const (
	minRenewalInfoInterval   = time.Minute
	maxRenewalInfoInterval   = 24 * time.Hour
	usualRenewalInfoInterval = 6 * time.Hour
)

// GetRenewalInfo returns when the CA suggests to renew the certificate. It needs no account. If the
// CA has no such service the error wraps errors.ErrUnsupported. A window that ends before it begins is
// an error.
func (c *Client) GetRenewalInfo(ctx context.Context, leaf *x509.Certificate) (*RenewalInfo, error) {
	info, err := c.getRenewalInfo(ctx, leaf)
	if err != nil {
		return nil, actionError("get renewal info", err)
	}
	return info, nil
}

func (c *Client) getRenewalInfo(ctx context.Context, leaf *x509.Certificate) (*RenewalInfo, error) {
	base, err := c.resource(ctx, "renewalInfo", func(d *Directory) string { return d.RenewalInfo })
	if err != nil {
		return nil, err
	}
	id, err := CertificateID(leaf)
	if err != nil {
		return nil, inner{err}
	}
	resp, err := c.fetch(ctx, "renewalInfo", base+"/"+id)
	if err != nil {
		return nil, c.unsupported("renewalInfo", err)
	}
	var read struct {
		SuggestedWindow struct{ Start, End json.RawMessage }
		ExplanationURL  json.RawMessage
	}
	if err := resp.decode(&read); err != nil {
		return nil, err
	}
	info := &RenewalInfo{
		SuggestedWindow: Window{Start: readTime(read.SuggestedWindow.Start), End: readTime(read.SuggestedWindow.End)},
		ExplanationURL:  readPageURL(read.ExplanationURL),
	}
	if w := info.SuggestedWindow; w.Start.IsZero() || !w.End.After(w.Start) {
		return nil, fmt.Errorf("the suggested window from %s to %s is none", w.Start.Format(time.RFC3339), w.End.Format(time.RFC3339))
	}
	info.RetryAfter = usualRenewalInfoInterval
	if asked := resp.retryAfter(); asked > 0 {
		info.RetryAfter = min(max(asked, minRenewalInfoInterval), maxRenewalInfoInterval)
	}
	return info, nil
}

// CertificateID returns the name by which CAs know a certificate in renewal information and in
// OrderRequest.Replaces: the authority's key identifier and the serial number, in base64url (RFC 9773
// §4.1).
func CertificateID(leaf *x509.Certificate) (string, error) {
	if leaf == nil || len(leaf.AuthorityKeyId) == 0 || leaf.SerialNumber == nil {
		return "", errors.New("acme: the certificate has no authority key identifier or no serial number, by which CAs know it")
	}
	serial, err := serialBytes(leaf.SerialNumber)
	if err != nil {
		return "", err
	}
	encode := base64.RawURLEncoding.EncodeToString
	return encode(leaf.AuthorityKeyId) + "." + encode(serial), nil
}

// serialBytes returns the content of the serial number's DER, which has a leading zero if the first
// bit would be taken for a sign.
func serialBytes(serial *big.Int) ([]byte, error) {
	der, err := asn1.Marshal(serial)
	if err != nil {
		return nil, actionError("the certificate's serial number", err)
	}
	var raw asn1.RawValue
	if _, err := asn1.Unmarshal(der, &raw); err != nil {
		return nil, actionError("the certificate's serial number", err)
	}
	return raw.Bytes, nil
}
