package acmetest

import (
	"net/http"
	"time"
)

// An orderRequest is the payload of newOrder (RFC 8555 §7.4, RFC 9773 §5).
type orderRequest struct {
	Identifiers []askedIdentifier `json:"identifiers"`
	NotBefore   time.Time         `json:"notBefore"`
	NotAfter    time.Time         `json:"notAfter"`
	Profile     *string           `json:"profile"`
	Replaces    *string           `json:"replaces"`
}

// newOrder creates an order with an authorization for each of its identifiers (RFC 8555 §7.4).
func (s *Server) newOrder(w http.ResponseWriter, r *http.Request, signed *signedRequest) error {
	var request orderRequest
	if err := signed.decode(&request); err != nil {
		return err
	}
	o, err := s.makeOrder(&request, signed.account)
	if err != nil {
		return err
	}
	resource, err := s.addOrder(o, request.Replaces)
	if err != nil {
		return err
	}
	s.log.InfoContext(r.Context(), "order created", "order", o.id, "names", o.identifiers)
	w.Header().Set("Location", s.urlOf("order", o.id))
	writeJSON(w, http.StatusCreated, resource)
	return nil
}

// makeOrder checks what newOrder asks for, as far as it does not depend on what there is.
func (s *Server) makeOrder(request *orderRequest, a *account) (*order, error) {
	asked, err := s.checkIdentifiers(request.Identifiers)
	if err != nil {
		return nil, err
	}
	profile, err := s.checkProfile(request.Profile)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	o := &order{
		id:        randomID(),
		account:   a,
		created:   now,
		expires:   expiry(now),
		asked:     asked,
		notBefore: request.NotBefore,
		notAfter:  request.NotAfter,
		profile:   profile,
		status:    statusPending,
	}
	for _, one := range asked {
		o.identifiers = append(o.identifiers, one.identifier)
	}
	_, _, err = s.validity(o, now)
	return o, err
}

// addOrder gives the order its authorizations, and makes it the replacement of the certificate that
// replaces identifies, unless that is nil. The order ends with the first of its authorizations.
func (s *Server) addOrder(o *order, replaces *string) (orderResource, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var replaced *certificate
	if replaces != nil {
		var err error
		if replaced, err = s.replaceable(*replaces, o); err != nil {
			return orderResource{}, err
		}
		o.replaces = *replaces
	}
	if err := s.admitOrder(o); err != nil {
		return orderResource{}, err
	}
	if replaced != nil {
		replaced.replacement = o
	}
	expires := o.expires
	added := make(map[holding]*authorization) // for several identifiers if one is a domain above them
	for _, asked := range o.asked {
		a := s.heldAuthorization(sufficient(o.account, asked.identifier)...)
		if a == nil {
			held := s.needed(o.account, asked)
			if added[held] == nil {
				added[held] = s.addAuthorization(held, expires)
			}
			a = added[held]
		}
		o.authorizations = append(o.authorizations, a)
		o.expires = earlier(o.expires, a.expires)
	}
	s.orders[o.id] = o
	s.orderSequence = append(s.orderSequence, o)
	return s.orderResource(o), nil
}

// expiry returns when an order or an authorization that is made now expires.
func expiry(now time.Time) time.Time { return now.Add(orderLifetime).UTC().Truncate(time.Second) }

// validity returns the dates of a certificate that is issued at the time now. The error is a malformed
// problem about the dates that the order asks for.
func (s *Server) validity(o *order, now time.Time) (notBefore, notAfter time.Time, err error) {
	lifetime := s.lifetime(o.profile)
	backdate := max(s.Backdate, 0)
	notBefore = now.Add(-backdate)
	if !o.notBefore.IsZero() {
		notBefore = o.notBefore
		if notBefore.Before(o.created.Add(-backdate - time.Minute)) { // a minute for clocks that differ
			return notBefore, notAfter, problemf(malformed, "notBefore is %s, which is in the past", rfc3339(notBefore))
		}
	}
	notBefore = notBefore.UTC().Truncate(time.Second)
	latest := earlier(notBefore.Add(lifetime), s.authority.intermediates[0].NotAfter)
	notAfter = latest
	if !o.notAfter.IsZero() {
		notAfter = o.notAfter.UTC().Truncate(time.Second)
	}
	if notAfter.After(latest) {
		err = problemf(malformed, "notAfter is %s; a certificate from %s on can last until %s", rfc3339(notAfter), rfc3339(notBefore), rfc3339(latest))
	} else if !notAfter.After(notBefore) || !notAfter.After(now) {
		err = problemf(malformed, "the certificate would end at %s, in the past or before it begins at %s", rfc3339(notAfter), rfc3339(notBefore))
	}
	return notBefore, notAfter, err
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
