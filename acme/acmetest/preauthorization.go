package acmetest

import (
	"net/http"
	"strings"
	"time"
)

// newAuthorization makes an authorization before there is an order that needs it, or finds the one that
// there is (RFC 8555 §7.4.1).
func (s *Server) newAuthorization(w http.ResponseWriter, _ *http.Request, signed *signedRequest) error {
	var request struct {
		Identifier identifier `json:"identifier"`
	}
	if err := signed.decode(&request); err != nil {
		return err
	}
	id, err := s.checkPreauthorized(request.Identifier)
	if err != nil {
		return err
	}
	status := http.StatusOK
	s.mu.Lock()
	held := holding{signed.account, id}
	a := s.heldAuthorization(held)
	if pending := s.preauthorized[held]; a == nil && pending != nil && pending.update(time.Now()) == statusPending {
		a = pending
	}
	if a == nil {
		status = http.StatusCreated
		a = s.addAuthorization(held, expiry(time.Now()))
		s.preauthorized[held] = a
	}
	resource := s.authorizationResource(a)
	s.mu.Unlock()
	w.Header().Set("Location", s.urlOf("authorization", a.id))
	writeJSON(w, status, resource)
	return nil
}

// checkPreauthorized returns the identifier, a name in lower case, or a problem if it cannot be had.
func (s *Server) checkPreauthorized(id identifier) (identifier, error) {
	if id.Type == typeDNS {
		id.Value = strings.ToLower(id.Value)
	}
	if strings.HasPrefix(id.Value, "*.") {
		return id, problemf(malformed, "%s is a wildcard, for which there is no authorization in advance (RFC 8555 §7.4.1)", quote(id.Value))
	}
	p := checkIdentifier(id)
	if p == nil && s.isRefused(id.Value) {
		p = problemf(rejectedIdentifier, "this CA issues no certificates for %s", quote(id.Value))
	}
	if p == nil {
		return id, nil
	}
	if p.is(rejectedIdentifier) || p.is(unsupportedIdentifier) {
		p.Status = http.StatusForbidden
	}
	return id, p
}

// heldAuthorization returns a valid authorization that an order can do with, nil if there is none. It is
// called with s.mu held.
func (s *Server) heldAuthorization(held holding) *authorization {
	candidates := []*authorization{s.preauthorized[held]}
	if s.ReuseAuthorizations {
		candidates = append(candidates, s.proven[held])
	}
	for _, a := range candidates {
		if a != nil && a.update(time.Now()) == statusValid {
			return a
		}
	}
	return nil
}
