package acme

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
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

	// PreferredChain is the common name of a root or intermediate. If the CA offers several chains,
	// the first that leads to it is taken, or else the one that the CA offers first.
	PreferredChain string

	// OrderURL is an order to resume, whatever state it is in, instead of making one.
	OrderURL string
	// FinalizedAt is when an earlier attempt at the order was told ActionFinalize; zero: none was. An order that
	// the CA processes for more than 45 minutes after that is given up, and one that is valid but whose
	// certificate can't be had after a day.
	FinalizedAt time.Time
	// Presented are the proofs that an earlier attempt at the order told Before of, each once or more: answers
	// that may still be published and are taken away with the others.
	Presented []Proof

	// Before, if set, is told each step before it is taken, one at a time; an error stops Issue
	// with that error. Who writes down what it is told can resume the order after a crash at any point.
	Before func(ctx context.Context, s Step) error

	// Explain, if set, is given the error when a validation failed, in which errors.As finds an
	// *AuthorizationError, with the proofs while their answers are still published. What it returns takes
	// the error's place, and must wrap it; nil leaves the error as it is.
	Explain func(ctx context.Context, err error, proofs []Proof) error

	// CleanUpFailed, if set, is told of answers that could not be taken away, once all were tried.
	CleanUpFailed func(p Proof, err error)
}

// An Action is what a [Step] is about to do.
type Action string

// The actions of Issue in their order. Those that an order needs no more are left out.
const (
	ActionOrder     Action = "order"     // make an order; told once more if the CA does not take what it replaces
	ActionAuthorize Action = "authorize" // resume the order that Step.OrderURL names, or begin with it
	ActionPresent   Action = "present"   // publish Step.Proofs
	ActionAccept    Action = "accept"    // tell the CA that Step.Proofs, which can be expected to be seen, are published
	ActionFinalize  Action = "finalize"  // ask for the certificate
	ActionDownload  Action = "download"  // fetch the certificate
)

// A Step is what Issue is about to do.
type Step struct {
	Action   Action
	OrderURL string  // empty before ActionOrder
	Proofs   []Proof // with ActionPresent and ActionAccept
}

// Issue obtains a certificate, the whole way: it makes the order (or resumes the one given),
// proves control of all identifiers side by side, finalizes, downloads, and verifies that what came
// is for the key and the names. An order is never finalized before its URL was told to r.Before.
//
// If the order is beyond help, the error is an [*OrderError]; after any other error the same order
// may be resumed.
func (c *Client) Issue(ctx context.Context, r Request) (*Certificate, error) {
	if err := r.check(c); err != nil {
		return nil, err
	}
	r.Presented = distinctProofs(r.Presented)
	defer func() { r.cleanUp(ctx, r.Presented, r.able) }()
	i := &issuance{request: &r}
	i.client, i.finalizedAt, i.maxKnown = c, r.FinalizedAt, maxAuthorizationsFor(len(r.Identifiers))
	for _, p := range r.Presented {
		i.earlier = append(i.earlier, p.AuthorizationURL)
	}
	order, err := i.open(ctx)
	if err != nil {
		return nil, err
	}
	fulfilled, err := i.fulfil(ctx, order)
	if err != nil {
		return nil, judged(order.URL, err)
	}
	if i.finalizedAt.IsZero() {
		i.finalizedAt = time.Now() // not known: it may be given up a while after this
	}
	return i.download(ctx, fulfilled)
}

// distinctProofs returns the proofs, each once: two steps tell of them.
func distinctProofs(proofs []Proof) []Proof {
	var distinct []Proof
	for _, p := range proofs {
		if !slices.ContainsFunc(distinct, func(q Proof) bool { return p.URL == q.URL && p.Token == q.Token }) {
			distinct = append(distinct, p)
		}
	}
	return distinct
}

// judged returns the error of a step of an order: what the CA will refuse again is the order's end.
func judged(orderURL string, err error) error {
	var problem *Problem
	var failed *OrderError
	var hindered *AuthorizationError // the order is good still
	if errors.As(err, &problem) && problem.final() && !errors.As(err, &failed) && !errors.As(err, &hindered) {
		return &OrderError{URL: orderURL, Err: err}
	}
	return err
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
		return actionError("issue", err)
	}
	for _, id := range r.Identifiers {
		if err := id.check(); err != nil {
			return actionError("issue", err)
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
	const maxLength = 64 // bytes of a common name (RFC 5280, ub-common-name)
	fits := func(name string) bool { return len(name) <= maxLength }
	if i := slices.IndexFunc(template.DNSNames, fits); r.CommonName && i >= 0 {
		template.Subject.CommonName = template.DNSNames[i]
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, template, r.Key)
	if err != nil {
		return nil, fmt.Errorf("acme: certificate request: a key of type %T: %w", r.Key.Public(), err)
	}
	return csr, nil
}
