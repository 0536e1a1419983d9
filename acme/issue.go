package acme

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// A Request is what [Client.Issue] needs to obtain a certificate.
type Request struct {
	Identifiers []Identifier // see ParseIdentifier
	NotBefore   time.Time    // zero: the CA's choice
	NotAfter    time.Time
	Profile     string            // see OrderRequest
	Replaces    *x509.Certificate // the predecessor, for CAs with renewal info (RFC 9773 §5); nil: none
	Key         crypto.Signer     `json:"-"` // the certificate's key; not the account's
	Solvers     []Solver          // the first that supports an identifier and whose challenge is offered answers for it

	// CSR is a certificate request in DER that was made elsewhere, for a key that is not here or with what a
	// CA wants besides the names, such as an organization in its subject or an address for mail. Its names
	// are the Identifiers. zero: one is made with Key, which is not needed with a CSR.
	CSR []byte

	// CommonName, for CAs that want one, has the request made with Key name in its subject, too, the first
	// DNS name that fits: a common name has at most 64 bytes. An address is never one. Other wishes for the
	// subject take a CSR.
	CommonName bool

	// PreferredChain is the common name of a root or intermediate. Where the CA offers several chains,
	// the first that leads to it is taken, or else the one that the CA offers first.
	PreferredChain string

	// OrderURL is an order to go on with, whatever state it is in, instead of making one.
	OrderURL string
	// Presented are the proofs that an earlier attempt at the order told Before of: answers that may
	// still be in place and are taken away with the others.
	Presented []Proof

	// Before, if set, is told each step before it is taken, one at a time; an error stops Issue
	// with that error. Who writes down what it is told can go on after a crash at any point.
	Before func(ctx context.Context, s Step) error

	// Explain, if set, is given the error where a validation failed, in which errors.As finds an
	// *AuthorizationError, with the proofs while their answers are in place still. What it returns takes
	// the error's place, and must wrap it; nil leaves the error as it is.
	Explain func(ctx context.Context, err error, proofs []Proof) error

	// CleanUpFailed, if set, is told of answers that could not be taken away. Called concurrently.
	CleanUpFailed func(p Proof, err error)
}

// An Action is what a [Step] is about to do.
type Action string

// The actions of Issue in their order. Those that an order needs no more are left out.
const (
	ActionOrder     Action = "order"     // make an order
	ActionAuthorize Action = "authorize" // go on with the order that Step.OrderURL names
	ActionPresent   Action = "present"   // put Step.Proofs in place and tell the CA
	ActionFinalize  Action = "finalize"  // ask for the certificate
	ActionDownload  Action = "download"  // fetch the certificate
)

// A Step is what Issue is about to do.
type Step struct {
	Action   Action
	OrderURL string  // empty before ActionOrder
	Proofs   []Proof // with ActionPresent
}

// Issue obtains a certificate, the whole way: it makes the order (or goes on with the one given),
// proves control of all identifiers side by side, finalizes, downloads, and verifies that what came
// is for the key and the names. An order is never finalized before its URL was told to r.Before.
//
// Where the order is beyond help, the error is an [*OrderError]; after any other error the same order
// may be gone on with.
func (c *Client) Issue(ctx context.Context, r Request) (*Certificate, error) {
	if err := r.check(c); err != nil {
		return nil, err
	}
	defer func() { r.cleanUp(ctx, r.Presented, r.able) }()
	order, err := c.openOrder(ctx, &r)
	if err != nil {
		return nil, err
	}
	certificate, err := c.fulfil(ctx, &r, order)
	var problem *Problem
	var failed *OrderError
	var hindered *AuthorizationError // the order is good still
	if errors.As(err, &problem) && problem.final() && !errors.As(err, &failed) && !errors.As(err, &hindered) {
		return nil, &OrderError{URL: order.URL, Err: err}
	}
	return certificate, err
}

func (r *Request) check(c *Client) error {
	switch {
	case len(r.Identifiers) == 0:
		return errors.New("acme: issue: Request.Identifiers is empty")
	case r.Key == nil && r.CSR == nil:
		return errors.New("acme: issue: Request.Key is nil: a certificate needs a key, or a CSR made with one")
	case c.Key == nil:
		return errNoKey
	}
	public, err := r.public()
	if err != nil {
		return fmt.Errorf("acme: issue: %w", err)
	}
	for _, id := range r.Identifiers {
		if err := id.check(); err != nil {
			return fmt.Errorf("acme: issue: %w", err)
		}
	}
	if key, ok := public.(interface{ Equal(crypto.PublicKey) bool }); ok && key.Equal(c.Key.Public()) {
		return errors.New("acme: issue: Request.Key is the account's key, which no certificate may have (RFC 8555 §11.1)")
	}
	return nil
}

// public returns the key that the certificate is for.
func (r *Request) public() (crypto.PublicKey, error) {
	if r.CSR == nil {
		return r.Key.Public(), nil
	}
	csr, err := x509.ParseCertificateRequest(r.CSR)
	if err == nil {
		err = csr.CheckSignature()
	}
	if err != nil {
		return nil, fmt.Errorf("Request.CSR: %w", err)
	}
	var named []Identifier
	for _, name := range csr.DNSNames {
		named = append(named, Identifier{Type: TypeDNS, Value: name})
	}
	for _, ip := range csr.IPAddresses {
		named = append(named, Identifier{Type: TypeIP, Value: ip.String()})
	}
	// A name may stand in the subject alone (RFC 8555 §7.4).
	if id := (Identifier{Type: TypeDNS, Value: strings.ToLower(csr.Subject.CommonName)}); slices.Contains(r.Identifiers, id) {
		named = append(named, id)
	}
	if !sameIdentifiers(named, r.Identifiers) {
		return nil, fmt.Errorf("Request.CSR is for %v, Request.Identifiers are %v", named, r.Identifiers)
	}
	return csr.PublicKey, nil
}

func (r *Request) before(ctx context.Context, s Step) error {
	if r.Before == nil {
		return nil
	}
	return r.Before(ctx, s)
}

// openOrder makes an order, or fetches the one to go on with.
func (c *Client) openOrder(ctx context.Context, r *Request) (*Order, error) {
	if r.OrderURL == "" {
		if err := r.before(ctx, Step{Action: ActionOrder}); err != nil {
			return nil, err
		}
		return c.newOrder(ctx, r)
	}
	order, err := c.GetOrder(ctx, r.OrderURL)
	var problem *Problem
	if errors.As(err, &problem) && problem.final() {
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

// newOrder makes the order. What it replaces is a wish: a CA that does not accept the predecessor, which
// may have been replaced already, is asked again without.
func (c *Client) newOrder(ctx context.Context, r *Request) (*Order, error) {
	wanted := OrderRequest{Identifiers: r.Identifiers, NotBefore: r.NotBefore, NotAfter: r.NotAfter, Profile: r.Profile}
	d, err := c.GetDirectory(ctx)
	if err != nil {
		return nil, err
	}
	if r.Replaces != nil && d.RenewalInfo != "" {
		// One that has no such name is none that the CA knows.
		wanted.Replaces, _ = CertificateID(r.Replaces)
	}
	order, err := c.NewOrder(ctx, wanted)
	if wanted.Replaces == "" || !refusesPredecessor(err) {
		return order, err
	}
	wanted.Replaces = ""
	return c.NewOrder(ctx, wanted)
}

// refusesPredecessor reports whether an order may have been refused for what it replaces. RFC 9773 names
// alreadyReplaced only; CAs answer otherwise too where they don't know the certificate or it is another
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

// sameIdentifiers reports whether a and b are equal but for their order.
func sameIdentifiers(a, b []Identifier) bool {
	sorted := func(ids []Identifier) []string {
		var values []string
		for _, id := range ids {
			values = append(values, id.Type+":"+strings.ToLower(id.Value))
		}
		slices.Sort(values)
		return slices.Compact(values)
	}
	return slices.Equal(sorted(a), sorted(b))
}

// fulfil takes the order from the state it is in to the certificate.
func (c *Client) fulfil(ctx context.Context, r *Request, order *Order) (*Certificate, error) {
	if err := r.before(ctx, Step{Action: ActionAuthorize, OrderURL: order.URL}); err != nil {
		return nil, err
	}
	var err error
	if order.Status == StatusPending {
		if order, err = c.authorize(ctx, r, order); err != nil {
			return nil, err
		}
	}
	if order.Status == StatusReady {
		if order, err = c.finalize(ctx, r, order); err != nil {
			return nil, err
		}
	}
	if order.Status == StatusProcessing {
		// Many CAs have issued a moment later, whatever they ask for: one poll comes at once, and the others
		// when it says.
		order.RetryAfter = 0
		if order, err = c.WaitOrder(ctx, order); err != nil {
			return nil, err
		}
	}
	switch order.Status {
	case StatusValid:
		return c.download(ctx, r, order)
	case StatusInvalid:
		return nil, c.invalidOrder(ctx, order)
	}
	return nil, fmt.Errorf("acme: the order is %s, though it was further before", order.Status)
}

// finalize sends the certificate request. Where no answer came, the order's own state tells whether
// the CA acted.
func (c *Client) finalize(ctx context.Context, r *Request, order *Order) (*Order, error) {
	csr, err := r.certificateRequest()
	if err != nil {
		return nil, err
	}
	if err := r.before(ctx, Step{Action: ActionFinalize, OrderURL: order.URL}); err != nil {
		return nil, err
	}
	unfinished := func(o *Order) bool { return o.Status == StatusReady || o.Status == StatusPending }
	finalized, err := c.FinalizeOrder(ctx, order, csr)
	if err == nil && unfinished(finalized) {
		err = fmt.Errorf("acme: finalize: the order is %s still", finalized.Status)
	}
	if err == nil {
		return finalized, nil
	}
	current, getErr := c.GetOrder(ctx, order.URL)
	if getErr != nil || unfinished(current) {
		return nil, err
	}
	return current, nil
}

// certificateRequest returns a request for the identifiers, in DER. Most CAs take the names from the
// extension and want no subject.
func (r *Request) certificateRequest() ([]byte, error) {
	if r.CSR != nil {
		return r.CSR, nil
	}
	template := new(x509.CertificateRequest)
	for _, id := range r.Identifiers {
		if id.Type == TypeIP {
			template.IPAddresses = append(template.IPAddresses, net.ParseIP(id.Value))
		} else {
			template.DNSNames = append(template.DNSNames, id.Value)
		}
	}
	const longest = 64 // bytes of a common name (RFC 5280, ub-common-name)
	fits := func(name string) bool { return len(name) <= longest }
	if i := slices.IndexFunc(template.DNSNames, fits); r.CommonName && i >= 0 {
		template.Subject.CommonName = template.DNSNames[i]
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, template, r.Key)
	if err != nil {
		return nil, fmt.Errorf("acme: certificate request: a key of type %T: %w", r.Key.Public(), err)
	}
	return csr, nil
}

// download fetches the certificate of a valid order and verifies it.
func (c *Client) download(ctx context.Context, r *Request, order *Order) (*Certificate, error) {
	if order.Certificate == "" {
		return nil, &OrderError{URL: order.URL, Err: errors.New("it is valid but names no certificate")}
	}
	if err := r.before(ctx, Step{Action: ActionDownload, OrderURL: order.URL}); err != nil {
		return nil, err
	}
	certificate, err := c.preferredCertificate(ctx, order.Certificate, r.PreferredChain)
	if err != nil {
		return nil, err
	}
	public, err := r.public()
	if err != nil {
		return nil, err
	}
	if err := certificate.Verify(public, r.Identifiers, time.Now()); err != nil {
		err = fmt.Errorf("%s: %w", r.Identifiers[0].Value, err)
		if errors.Is(err, errNotYetValid) {
			return nil, fmt.Errorf("acme: %w", err) // it will do once the clock is right: a new order would give the same
		}
		return nil, &OrderError{URL: order.URL, Err: err}
	}
	return certificate, nil
}

// alternatesTime bounds the search for a preferred chain: the certificate is there already.
const alternatesTime = time.Minute

// preferredCertificate downloads the certificate, with the chain that leads to the name if there is one.
// The certificate has come: an alternate that can't be had is passed over.
func (c *Client) preferredCertificate(ctx context.Context, url, name string) (*Certificate, error) {
	certificate, err := c.GetCertificate(ctx, url)
	if err != nil || name == "" || certificate.chainsTo(name) {
		return certificate, err
	}
	ctx, cancel := context.WithTimeout(ctx, alternatesTime)
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
