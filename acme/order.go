package acme

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
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
	Profile        string        `json:"profile,omitempty"`  // the kind of certificate, if the CA has several
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

// maxAuthorizations bounds the authorizations of an order: the largest published limit on names is 100.
const maxAuthorizations = 1000

// maxAuthorizationsFor returns the most authorizations that an order for n identifiers may have. There need not be one
// for each, but many more are not what was ordered.
func maxAuthorizationsFor(n int) int { return min(2*n+10, maxAuthorizations) }

// NewOrder makes an order (RFC 8555 §7.4). The CA may answer with a pending one that it has already.
func (c *Client) NewOrder(ctx context.Context, r OrderRequest) (*Order, error) {
	d, err := c.GetDirectory(ctx)
	if err != nil {
		return nil, err
	}
	if err := r.check(d); err != nil {
		return nil, fmt.Errorf("acme: new order: %s %w", c.directoryURL(), err)
	}
	order, err := c.newOrder(ctx, d.NewOrder, r)
	if err != nil {
		return nil, actionError("new order", err)
	}
	return order, nil
}

func (c *Client) newOrder(ctx context.Context, target string, r OrderRequest) (*Order, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	resp, err := c.post(ctx, request{action: "newOrder", url: target, body: body})
	if err != nil {
		return nil, err
	}
	order, err := readOrder(resp)
	if err != nil {
		return nil, err
	}
	order.URL, err = c.location(resp)
	return order, err
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
	resp, err := c.get(ctx, "order", url)
	if err != nil {
		return nil, actionError("get order", err)
	}
	order, err := readOrder(resp)
	if err != nil {
		return nil, actionError("get order", err)
	}
	order.URL = url
	return order, nil
}

// FinalizeOrder asks for the certificate of an order that is ready, with a certificate request in DER
// (RFC 8555 §7.4). The order that it returns may be processing still: see WaitOrder.
func (c *Client) FinalizeOrder(ctx context.Context, order *Order, csr []byte) (*Order, error) {
	body, err := json.Marshal(struct {
		CSR string `json:"csr"`
	}{base64.RawURLEncoding.EncodeToString(csr)})
	if err != nil {
		return nil, actionError("finalize", err)
	}
	resp, err := c.post(ctx, request{action: "finalize", url: order.Finalize, body: body, named: true})
	if err != nil {
		return nil, actionError("finalize", err)
	}
	finalized, err := readOrder(resp)
	if err != nil {
		return nil, actionError("finalize", err)
	}
	finalized.URL = order.URL // the answer may come without a Location header
	return finalized, nil
}

// readOrder reads an order, its URL apart, from an answer.
func readOrder(resp *response) (*Order, error) {
	var resource struct {
		Order
		Identifiers []identifierResource `json:"identifiers"`
		Expires     looseTime            `json:"expires"`
		NotBefore   looseTime            `json:"notBefore"`
		NotAfter    looseTime            `json:"notAfter"`
		Error       looseProblem         `json:"error"`
		Profile     optional[string]     `json:"profile"`
		Replaces    optional[string]     `json:"replaces"`
	}
	if err := resp.decode(&resource); err != nil {
		return nil, err
	}
	order := resource.Order
	for _, id := range resource.Identifiers {
		order.Identifiers = append(order.Identifiers, id.identifier())
	}
	order.Error = resource.Error.Problem
	order.Expires, order.NotBefore, order.NotAfter = resource.Expires.Time, resource.NotBefore.Time, resource.NotAfter.Time
	order.Profile, order.Replaces = resource.Profile.value, resource.Replaces.value
	return &order, order.complete(resp)
}

// complete resolves the URLs in an order's answer and checks what later steps rely on.
func (o *Order) complete(resp *response) error {
	if len(o.Authorizations) > maxAuthorizations {
		return fmt.Errorf("the order has %d authorizations, more than %d", len(o.Authorizations), maxAuthorizations)
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

// An OrderError reports that an order cannot be resumed: a new one has to be made.
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

// Unwrap returns the reasons: those of the identifiers and, if one of these has none, that of the whole order.
func (e *OrderError) Unwrap() []error {
	var errs []error
	told := len(e.Authorizations) > 0
	for _, a := range e.Authorizations {
		errs = append(errs, a)
		told = told && a.Problem != nil
	}
	if e.Problem != nil && !told {
		errs = append(errs, e.Problem)
	}
	if e.Err != nil {
		errs = append(errs, e.Err)
	}
	return errs
}
