package acme

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// maxDownload is how long after its order was finalized a certificate may be missing. Giving it up costs
	// another one.
	maxDownload = 24 * time.Hour
	// alternatesTimeout bounds the search for a preferred chain: the certificate is there already.
	alternatesTimeout = time.Minute
)

// download fetches the certificate of a valid order and verifies it.
func (i *issuance) download(ctx context.Context, order *Order) (*Certificate, error) {
	if err := i.request.before(ctx, Step{Action: ActionDownload, OrderURL: order.URL}); err != nil {
		return nil, err
	}
	certificate, err := i.fetch(ctx, order)
	if err != nil {
		if ctx.Err() == nil && time.Since(i.finalizedAt) > maxDownload {
			err = &OrderError{URL: order.URL, Err: fmt.Errorf("its certificate is given up, %v after it was asked for: %w", maxDownload, inner{err})}
		}
		return nil, err
	}
	public, err := i.request.public()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	err = certificate.Verify(public, i.request.Identifiers, now)
	if err == nil {
		return certificate, nil
	}
	name := i.request.Identifiers[0].Value
	if errors.Is(err, errExpired) || errors.Is(err, errNotYetValid) {
		if clock := i.clockError(certificate, now); clock != nil {
			// It will do once the clock is right: a new order would give the same.
			return nil, fmt.Errorf("acme: %s: %w: %w", name, clock, err)
		}
	}
	return nil, &OrderError{URL: order.URL, Err: fmt.Errorf("%s: %w", name, err)}
}

// fetch downloads the certificate. A replica of the CA that knows the order as valid may not know yet what its
// certificate is.
func (i *issuance) fetch(ctx context.Context, order *Order) (*Certificate, error) {
	for n := 0; order.Certificate == "" && n < maxMisses; n++ {
		if err := pause(ctx, missPause(n)); err != nil {
			return nil, actionError("wait for the certificate's URL", err)
		}
		current, err := i.client.GetOrder(ctx, order.URL)
		if err != nil {
			return nil, err
		}
		if current.Status == StatusValid {
			order = current
		}
	}
	if order.Certificate == "" {
		return nil, fmt.Errorf("acme: the order %s is valid but names no certificate", order.URL)
	}
	return i.client.preferredCertificate(ctx, order.Certificate, i.request.PreferredChain)
}

// preferredCertificate downloads the certificate, with the chain that leads to the name if there is one.
// The certificate has come: an alternate that can't be had is passed over.
func (c *Client) preferredCertificate(ctx context.Context, url, name string) (*Certificate, error) {
	certificate, err := c.GetCertificate(ctx, url)
	if err != nil || name == "" || certificate.chainsTo(name) {
		return certificate, err
	}
	ctx, cancel := context.WithTimeout(ctx, alternatesTimeout)
	defer cancel()
	for _, alternate := range certificate.Alternates {
		other, err := c.GetCertificate(ctx, alternate)
		if err == nil && other.chainsTo(name) && other.Leaf.Equal(certificate.Leaf) {
			other.URL, other.Alternates = certificate.URL, certificate.Alternates
			return other, nil
		}
	}
	return certificate, nil
}

// clockError says which clock is wrong if the certificate is over or has not begun at the time now. It is nil
// if the certificate is over by the CA's clock, too.
func (i *issuance) clockError(certificate *Certificate, now time.Time) error {
	leaf, date := certificate.Leaf, certificate.date
	ended := func(t time.Time) bool { return t.After(leaf.NotAfter) }
	switch {
	case date.IsZero() && ended(now) && !i.finalized:
		return nil // it may have waited for its download as long as that
	case date.IsZero():
		return errors.New("the CA does not tell its time")
	case ended(date), ended(now) && now.Sub(date).Abs() < clockSkew:
		return nil
	case !leaf.NotBefore.After(date.Add(clockSkew)):
		return fmt.Errorf("this machine's clock is wrong by %v: set it right, by the CA's it is %s", now.Sub(date).Abs().Round(time.Second), date.UTC().Format(time.RFC3339))
	}
	return fmt.Errorf("the CA's clock, at %s, is behind its own certificate", date.UTC().Format(time.RFC3339))
}
