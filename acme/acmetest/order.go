package acmetest

import (
	"net/http"
	"slices"
	"time"
)

// The statuses of resources (RFC 8555 §7.1.6).
const (
	statusPending     = "pending"
	statusReady       = "ready"
	statusProcessing  = "processing"
	statusValid       = "valid"
	statusInvalid     = "invalid"
	statusExpired     = "expired"
	statusDeactivated = "deactivated"
)

// orderLifetime is how long an order and its authorizations can be worked on.
const orderLifetime = 7 * 24 * time.Hour

// An Order tells of a request for a certificate (RFC 8555 §7.1.3).
type Order struct {
	URL     string
	Status  string    // "pending", "ready", "processing", "valid" or "invalid"
	Names   []string  // values of the identifiers
	Created time.Time // by newOrder

	Profile  string // that the order asks for; empty: none
	Replaces string // identifier of the certificate that the order is to replace (RFC 9773 §5); empty: none
}

// An order is an Order at work. Server.mu guards what changes.
type order struct {
	id             string
	account        *account
	created        time.Time
	expires        time.Time
	asked          []askedIdentifier
	identifiers    []identifier     // those asked for
	notBefore      time.Time        // zero: not asked for
	notAfter       time.Time        // zero: not asked for
	profile        string           // empty: none asked for
	replaces       string           // a certificate's identifier (RFC 9773 §4.1); empty: none
	authorizations []*authorization // one for each identifier, in their sequence; some may be the same

	status      string
	err         *problem // why it is invalid; nil: its authorizations say
	failure     *problem // why its certificate will not be issued; nil: it will
	certificate *certificate
}

// Orders returns all orders so far, in the sequence of their creation.
func (s *Server) Orders() []Order {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	orders := make([]Order, len(s.orderSequence))
	for i, o := range s.orderSequence {
		orders[i] = Order{URL: s.urlOf("order", o.id), Status: o.update(now), Created: o.created, Profile: o.profile, Replaces: o.replaces}
		for _, id := range o.identifiers {
			orders[i].Names = append(orders[i].Names, id.Value)
		}
	}
	return orders
}

// update lets the order follow its authorizations and the time, and returns its status (RFC 8555
// §7.1.6).
func (o *order) update(now time.Time) string {
	if o.status != statusPending && o.status != statusReady {
		return o.status
	}
	ready := true
	for _, a := range o.authorizations {
		switch a.update(now) {
		case statusValid:
		case statusPending:
			ready = false
		default:
			o.status = statusInvalid
		}
	}
	switch {
	case !now.Before(o.expires):
		o.status = statusInvalid
		o.err = problemf(malformed, "the order was not finalized before it expired at %s", rfc3339(o.expires))
	case o.status == statusPending && ready:
		o.status = statusReady
	}
	return o.status
}

// problem returns why the order is invalid, nil if it is not.
func (o *order) problem() *problem {
	if o.status != statusInvalid || o.err != nil {
		return o.err
	}
	var subs []*problem
	for i, a := range o.authorizations {
		if p := a.problem(); p != nil {
			subs = append(subs, p.about(o.identifiers[i]))
		}
	}
	if len(subs) == 0 {
		return problemf(malformed, "an authorization of the order was deactivated or has expired")
	}
	return join(subs, http.StatusForbidden, "not all identifiers could be validated: "+subs[0].Detail)
}

// An orderResource is an order as the client sees it.
type orderResource struct {
	Status         string            `json:"status"`
	Expires        time.Time         `json:"expires"`
	Identifiers    []askedIdentifier `json:"identifiers"`
	NotBefore      time.Time         `json:"notBefore,omitzero"`
	NotAfter       time.Time         `json:"notAfter,omitzero"`
	Profile        string            `json:"profile,omitempty"`
	Replaces       string            `json:"replaces,omitempty"`
	Error          *problem          `json:"error,omitempty"`
	Authorizations []string          `json:"authorizations"`
	Finalize       string            `json:"finalize"`
	Certificate    string            `json:"certificate,omitempty"`
}

// orderResource is called with s.mu held.
func (s *Server) orderResource(o *order) orderResource {
	o.update(time.Now())
	resource := orderResource{
		Status:      o.status,
		Expires:     o.expires,
		Identifiers: o.asked,
		NotBefore:   o.notBefore,
		NotAfter:    o.notAfter,
		Profile:     o.profile,
		Replaces:    o.replaces,
		Error:       o.problem(),
		Finalize:    s.urlOf("finalize", o.id),
	}
	for _, a := range o.authorizations {
		if url := s.urlOf("authorization", a.id); !slices.Contains(resource.Authorizations, url) {
			resource.Authorizations = append(resource.Authorizations, url)
		}
	}
	if o.certificate != nil {
		resource.Certificate = s.urlOf("certificate", o.certificate.id)
	}
	return resource
}

// order answers with an order (RFC 8555 §7.4).
func (s *Server) order(w http.ResponseWriter, r *http.Request, signed *signedRequest) error {
	if err := signed.asGet(); err != nil {
		return err
	}
	s.mu.Lock()
	o, err := s.ownOrder(r, signed)
	var resource orderResource
	if err == nil {
		resource = s.orderResource(o)
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	s.answerOrder(w, o, resource)
	return nil
}

// answerOrder answers with an order and, as RFC 8555 does not ask for but Boulder does, with its URL.
func (s *Server) answerOrder(w http.ResponseWriter, o *order, resource orderResource) {
	w.Header().Set("Location", s.urlOf("order", o.id))
	if resource.Status == statusPending || resource.Status == statusProcessing {
		s.askLater(w)
	}
	writeJSON(w, http.StatusOK, resource)
}

// ownOrder returns the order that the request's path names, if it is the account's. It is called with
// s.mu held.
func (s *Server) ownOrder(r *http.Request, signed *signedRequest) (*order, error) {
	o := s.orders[r.PathValue("id")]
	if o == nil {
		return nil, errNotFound(r)
	}
	return o, checkOwner(o.account, signed)
}

func errNotFound(r *http.Request) error {
	return statusProblemf(http.StatusNotFound, malformed, "there is no %s %s", resourceOf(r), quote(r.PathValue("id")))
}

func checkOwner(owner *account, signed *signedRequest) error {
	if owner != signed.account {
		return problemf(unauthorized, "the resource belongs to another account")
	}
	return nil
}

func rfc3339(t time.Time) string { return t.UTC().Format(time.RFC3339) }
