package acme

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// An Order is a request for one certificate (RFC 8555 §7.1.3).
type Order struct {
	URL            string        `json:"-"` // as newOrder answered it
	Status         string        `json:"status"`
	Expires        time.Time     `json:"expires,omitzero"`
	Identifiers    []Identifier  `json:"identifiers"`
	NotBefore      time.Time     `json:"notBefore,omitzero"`
	NotAfter       time.Time     `json:"notAfter,omitzero"`
	Error          *Problem      `json:"error,omitempty"` // why the order is invalid
	Authorizations []string      `json:"authorizations"`  // URLs, in no particular order
	Finalize       string        `json:"finalize"`        // URL
	Certificate    string        `json:"certificate,omitempty"`
	Profile        string        `json:"profile,omitempty"`  // the kind of certificate, where the CA has several
	Replaces       string        `json:"replaces,omitempty"` // CertificateID of the predecessor (RFC 9773 §5)
	RetryAfter     time.Duration `json:"-"`                  // when the CA wants to be asked again; zero: it did not say
}

// An OrderRequest is what a new order is made with.
type OrderRequest struct {
	Identifiers []Identifier `json:"identifiers"`
	NotBefore   time.Time    `json:"notBefore,omitzero"` // zero: the CA's choice; many CAs allow no other
	NotAfter    time.Time    `json:"notAfter,omitzero"`
	Profile     string       `json:"profile,omitempty"`  // one of DirectoryMeta.Profiles; zero: the CA's choice
	Replaces    string       `json:"replaces,omitempty"` // CertificateID of the predecessor; only for CAs with renewal info
}

// mostAuthorizations bounds the authorizations of an order: the largest published limit on names is 100.
const mostAuthorizations = 1000

// NewOrder makes an order (RFC 8555 §7.4). The CA may answer with a pending one that it has already.
func (c *Client) NewOrder(ctx context.Context, r OrderRequest) (*Order, error) {
	d, err := c.GetDirectory(ctx)
	if err != nil {
		return nil, err
	}
	if err := r.check(d); err != nil {
		return nil, fmt.Errorf("acme: new order: %s %w", c.directoryURL(), err)
	}
	order := new(Order)
	resp, err := c.postJSON(ctx, d.NewOrder, r, order)
	if err != nil {
		return nil, fmt.Errorf("acme: new order: %w", err)
	}
	if order.URL, err = c.location(resp); err != nil {
		return nil, fmt.Errorf("acme: new order: %w", err)
	}
	if err := order.complete(resp); err != nil {
		return nil, fmt.Errorf("acme: new order: %w", err)
	}
	return order, nil
}

// check refuses what the CA does not offer, and would pass over or answer with less.
func (r *OrderRequest) check(d *Directory) error {
	named := func(id Identifier) bool { return id.AncestorDomain != "" }
	if !d.Meta.SubdomainAuthAllowed && slices.ContainsFunc(r.Identifiers, named) {
		return fmt.Errorf("takes no domain for its subdomains (Identifier.AncestorDomain): %w", errors.ErrUnsupported)
	}
	if _, ok := d.Meta.Profiles[r.Profile]; !ok && r.Profile != "" {
		offered := strings.Join(slices.Sorted(maps.Keys(d.Meta.Profiles)), ", ")
		return fmt.Errorf("has no profile %.100q; it has: %s: %w", r.Profile, printable(cmp.Or(offered, "none"), 300), ErrInvalidProfile)
	}
	return nil
}

// GetOrder returns the order as it stands.
func (c *Client) GetOrder(ctx context.Context, url string) (*Order, error) {
	order := &Order{URL: url}
	resp, err := c.postJSON(ctx, url, nil, order)
	if err == nil {
		err = order.complete(resp)
	}
	if err != nil {
		return nil, fmt.Errorf("acme: get order: %w", err)
	}
	return order, nil
}

// FinalizeOrder asks for the certificate of an order that is ready, with a certificate request in DER
// (RFC 8555 §7.4). The order that it returns may be processing still: see WaitOrder.
func (c *Client) FinalizeOrder(ctx context.Context, order *Order, csr []byte) (*Order, error) {
	finalized := &Order{URL: order.URL} // the answer may come without a Location header
	payload := struct {
		CSR string `json:"csr"`
	}{base64.RawURLEncoding.EncodeToString(csr)}
	resp, err := c.postJSON(ctx, order.Finalize, payload, finalized)
	if err == nil {
		err = finalized.complete(resp)
	}
	if err != nil {
		return nil, fmt.Errorf("acme: finalize: %w", err)
	}
	return finalized, nil
}

// complete resolves the URLs in an order's answer and checks what later steps rely on.
func (o *Order) complete(resp *response) error {
	if len(o.Authorizations) > mostAuthorizations {
		return fmt.Errorf("the order has %d authorizations, more than %d", len(o.Authorizations), mostAuthorizations)
	}
	urls := []*string{&o.Finalize, &o.Certificate}
	for i := range o.Authorizations {
		urls = append(urls, &o.Authorizations[i])
	}
	for _, url := range urls {
		if *url == "" {
			continue
		}
		var err error
		if *url, err = resp.resolve(*url); err != nil {
			return err
		}
	}
	switch o.Status {
	case StatusPending, StatusReady, StatusProcessing, StatusValid, StatusInvalid:
	default:
		return fmt.Errorf("the order has the unknown status %.40q", o.Status)
	}
	o.RetryAfter = resp.retryAfter()
	return nil
}

// WaitOrder polls the order until its status is no longer the one it has in order, and returns it
// then; a valid one at once. It asks as often as the CA wants (Retry-After), or else after 100 ms and then
// ever less often, to every 5 s; where the CA wants to be asked only after the context's deadline it
// returns at once.
//
// An order that becomes invalid, or stays pending though a challenge of it has failed, is an
// [*OrderError] that says which identifiers failed and why.
func (c *Client) WaitOrder(ctx context.Context, order *Order) (*Order, error) {
	const patience = 5 // polls of a pending order before its challenges are looked at
	switch order.Status {
	case StatusValid:
		return order, nil
	case StatusInvalid:
		return nil, c.invalidOrder(ctx, order)
	}
	asked := order.RetryAfter
	for poll, failures := 0, 0; ; poll++ {
		if err := pausePoll(ctx, poll, asked); err != nil {
			return nil, fmt.Errorf("acme: wait for the order, which is %s: %w", order.Status, err)
		}
		current, err := c.GetOrder(ctx, order.URL)
		if err != nil {
			if failures++; !passing(ctx, err) || failures > mostTries {
				return nil, err
			}
			asked = askedBy(err)
			continue
		}
		failures, asked = 0, current.RetryAfter
		if current.Status == StatusInvalid {
			return nil, c.invalidOrder(ctx, current)
		}
		if isLater(current.Status, order.Status) || current.Status != order.Status && poll >= patience {
			return current, nil
		}
		if current.Status == StatusPending && poll > 0 && poll%patience == 0 {
			if err := c.stuck(ctx, current); err != nil {
				return nil, err
			}
		}
	}
}

// isLater reports whether an order goes on from the earlier status to the other. Where it does not, a
// replica of the CA may have answered that lags behind.
func isLater(status, earlier string) bool {
	course := []string{StatusPending, StatusReady, StatusProcessing, StatusValid}
	return slices.Index(course, status) > slices.Index(course, earlier)
}

// stuck returns why a pending order will stay so, or nil where that does not show: challenges have failed,
// or wait to be accepted once more.
func (c *Client) stuck(ctx context.Context, order *Order) error {
	failed, hindered := c.unprovedAuthorizations(ctx, order)
	if len(failed) > 0 {
		return &OrderError{URL: order.URL, Problem: order.Error, Authorizations: failed}
	}
	if len(hindered) == 0 {
		return nil
	}
	return fmt.Errorf("acme: wait for the order, which is pending: accept again: %w", authorizationErrors(hindered))
}

// passing reports whether a poll that failed may do better when repeated.
func passing(ctx context.Context, err error) bool {
	problem, refused := errors.AsType[*Problem](err)
	return ctx.Err() == nil && !(refused && problem.final())
}

// askedBy returns the wait that the CA asks for where it refused a poll, or zero.
func askedBy(err error) time.Duration {
	if problem, ok := errors.AsType[*Problem](err); ok {
		return problem.RetryAfter
	}
	return 0
}

// pausePoll waits before the n-th poll.
func pausePoll(ctx context.Context, n int, asked time.Duration) error {
	err := pause(ctx, pollInterval(n, asked))
	if _, late := errors.AsType[*RetryAfterError](err); late && asked == 0 {
		return context.DeadlineExceeded // the interval was not the CA's wish
	}
	return err
}

// pollInterval returns how long to wait before the n-th poll, counted from 0, when the CA asked for a
// certain wait or, with zero, did not.
func pollInterval(n int, asked time.Duration) time.Duration {
	const shortest, longest = 100 * time.Millisecond, 5 * time.Second
	if asked > 0 {
		return max(asked, shortest)
	}
	d := min(shortest<<min(n, 10), longest)
	return d - d/10 + rand.N(d/5)
}

// An OrderError reports that an order cannot be gone on with: a new one has to be made.
type OrderError struct {
	URL            string                // of the order
	Problem        *Problem              // the CA's reason for the whole order; may be nil
	Authorizations []*AuthorizationError // the identifiers that failed
	Err            error                 // what else made it unusable; may be nil
}

// Error names each identifier that failed and says why.
func (e *OrderError) Error() string {
	return "acme: the order failed: " + cmp.Or(joined(e.Unwrap()), "for no known reason")
}

// Unwrap returns the reasons: those of the identifiers, or else those of the whole order.
func (e *OrderError) Unwrap() []error {
	var errs []error
	for _, a := range e.Authorizations {
		errs = append(errs, a)
	}
	if e.Problem != nil && len(errs) == 0 {
		errs = append(errs, e.Problem)
	}
	if e.Err != nil {
		errs = append(errs, e.Err)
	}
	return errs
}

// invalidOrder returns the error for an order that the CA calls invalid.
func (c *Client) invalidOrder(ctx context.Context, order *Order) error {
	failed := &OrderError{URL: order.URL, Problem: order.Error}
	failed.Authorizations, _ = c.unprovedAuthorizations(ctx, order)
	if failed.Problem == nil && len(failed.Authorizations) == 0 {
		failed.Err = errors.New("it is invalid, and the CA does not tell why")
	}
	return failed
}
