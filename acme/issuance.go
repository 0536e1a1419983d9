package acme

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// An issuance is one call of Issue at work.
type issuance struct {
	orderWait
	request   *Request
	finalized bool // by this call
}

// open makes an order, or fetches the one to resume.
func (i *issuance) open(ctx context.Context) (*Order, error) {
	r := i.request
	if r.OrderURL == "" {
		if err := r.before(ctx, Step{Action: ActionOrder}); err != nil {
			return nil, err
		}
		return i.newOrder(ctx)
	}
	order, err := i.client.GetOrder(ctx, r.OrderURL)
	if r.lost(err) {
		return nil, &OrderError{URL: r.OrderURL, Err: err}
	}
	if err != nil {
		return nil, err
	}
	if !sameIdentifiers(order.Identifiers, r.Identifiers) {
		return nil, &OrderError{URL: r.OrderURL, Err: errors.New("it is for other names")}
	}
	return order, nil
}

// lost reports whether the CA refuses for good to tell of the order to resume. One that may have a certificate is
// given up only when that can't be had.
func (r *Request) lost(err error) bool {
	problem, refused := errors.AsType[*Problem](err)
	switch {
	case !refused:
		return false
	case notFound(err):
		return time.Since(r.FinalizedAt) > maxProcessing
	case problem.outage():
		return !r.FinalizedAt.IsZero() && time.Since(r.FinalizedAt) > maxDownload
	}
	return problem.final()
}

// newOrder makes the order. What it replaces is a wish: a CA that does not accept the predecessor, which
// may have been replaced already, is asked again without.
func (i *issuance) newOrder(ctx context.Context) (*Order, error) {
	r := i.request
	wanted := OrderRequest{Identifiers: r.Identifiers, NotBefore: r.NotBefore, NotAfter: r.NotAfter, Profile: r.Profile}
	d, err := i.client.GetDirectory(ctx)
	if err != nil {
		return nil, err
	}
	if r.Replaces != nil && d.RenewalInfo != "" {
		// One that has no such name is none that the CA knows.
		wanted.Replaces, _ = CertificateID(r.Replaces)
	}
	order, err := i.client.NewOrder(ctx, wanted)
	if wanted.Replaces == "" || !refusesPredecessor(err) {
		return order, err
	}
	wanted.Replaces = ""
	if err := r.before(ctx, Step{Action: ActionOrder}); err != nil {
		return nil, err
	}
	return i.client.NewOrder(ctx, wanted)
}

// refusesPredecessor reports whether an order may have been refused for what it replaces. RFC 9773 names
// alreadyReplaced only; CAs answer otherwise too if they don't know the certificate or it is another
// account's.
func refusesPredecessor(err error) bool {
	var problem *Problem
	if !errors.As(err, &problem) || problem.RetryAfter > 0 || problem.Status == http.StatusServiceUnavailable {
		return false // it refuses any order just now
	}
	switch problem.Type {
	case ErrAlreadyReplaced, ErrMalformed, ErrUnauthorized, ErrServerInternal:
		return true
	}
	return problem.Status == http.StatusNotFound || problem.Status == http.StatusConflict
}

// sameIdentifiers reports whether a and b are equal but for their order and the form they are written in.
func sameIdentifiers(a, b []Identifier) bool {
	sorted := func(ids []Identifier) []string {
		var values []string
		for _, id := range ids {
			values = append(values, id.Type+":"+strings.ToLower(id.canonical().Value))
		}
		slices.Sort(values)
		return slices.Compact(values)
	}
	return slices.Equal(sorted(a), sorted(b))
}

// fulfil takes the order from the state it is in to the one in which there is a certificate.
func (i *issuance) fulfil(ctx context.Context, order *Order) (*Order, error) {
	if err := i.request.before(ctx, Step{Action: ActionAuthorize, OrderURL: order.URL}); err != nil {
		return nil, err
	}
	var err error
	i.know(order.Authorizations)
	if order.Status == StatusPending {
		if order, err = i.authorize(ctx, order); err != nil {
			return nil, err
		}
	}
	if order.Status == StatusReady {
		if order, err = i.finalize(ctx, order); err != nil {
			return nil, err
		}
	}
	if order.Status == StatusProcessing {
		// Many CAs have issued a moment later, whatever they ask for: one poll comes at once, and the others
		// when it says.
		order.RetryAfter = 0
	}
	if order, err = i.until(ctx, order); err != nil {
		return nil, err
	}
	if order.Status != StatusValid {
		return nil, fmt.Errorf("acme: the order is %s, though it was further before", order.Status)
	}
	return order, nil
}

// finalize sends the certificate request. If no answer came, the order's own state tells whether
// the CA acted.
func (i *issuance) finalize(ctx context.Context, order *Order) (*Order, error) {
	csr, err := i.request.certificateRequest()
	if err != nil {
		return nil, err
	}
	if err := i.request.before(ctx, Step{Action: ActionFinalize, OrderURL: order.URL}); err != nil {
		return nil, err
	}
	i.finalized, i.finalizedAt = true, time.Now()
	unfinished := func(o *Order) bool { return o.Status == StatusReady || o.Status == StatusPending }
	finalized, err := i.client.FinalizeOrder(ctx, order, csr)
	if err == nil && unfinished(finalized) {
		err = fmt.Errorf("acme: finalize: the order is %s still", finalized.Status)
	}
	if err == nil {
		return finalized, nil
	}
	current, getErr := i.client.GetOrder(ctx, order.URL)
	if getErr != nil || unfinished(current) {
		return nil, err
	}
	return current, nil
}
