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
		Identifier askedIdentifier `json:"identifier"`
	}
	if err := signed.decode(&request); err != nil {
		return err
	}
	asked, err := s.checkPreauthorized(request.Identifier)
	if err != nil {
		return err
	}
	resource, created, err := s.preauthorize(holding{signed.account, asked.identifier, asked.SubdomainAuthAllowed})
	if err != nil {
		return err
	}
	status := http.StatusOK
	if created {
		status = http.StatusCreated
	}
	w.Header().Set("Location", resource.url)
	writeJSON(w, status, resource)
	return nil
}

// preauthorize returns an authorization that is valid or pending, and whether it had to be created.
func (s *Server) preauthorize(held holding) (_ authorizationResource, created bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.heldAuthorization(held); a != nil {
		return s.authorizationResource(a), false, nil
	}
	if a := s.preauthorized[held]; a != nil && a.update(time.Now()) == statusPending {
		return s.authorizationResource(a), false, nil
	}
	if err := s.admitAuthorization(held.account, held.identifier.Value); err != nil {
		return authorizationResource{}, false, err
	}
	a := s.addAuthorization(held, expiry(time.Now()))
	s.preauthorized[held] = a
	return s.authorizationResource(a), true, nil
}

// checkPreauthorized returns the identifier, a name in lower case, or a problem if it cannot be had.
func (s *Server) checkPreauthorized(asked askedIdentifier) (askedIdentifier, error) {
	asked = s.lower(asked)
	id := asked.identifier
	if strings.HasPrefix(id.Value, "*.") {
		return asked, problemf(malformed, "%s is a wildcard, for which there is no authorization in advance (RFC 8555 §7.4.1)", quote(id.Value))
	}
	p := checkIdentifier(id)
	if p == nil {
		p = s.checkWanted(id, holding{identifier: id, subdomains: asked.SubdomainAuthAllowed})
	}
	if p == nil {
		return asked, nil
	}
	if p.is(rejectedIdentifier) || p.is(unsupportedIdentifier) {
		p.Status = http.StatusForbidden
	}
	return asked, p
}

// heldAuthorization returns a valid authorization for one of what it is enough to hold, nil if there is
// none. It is called with s.mu held.
func (s *Server) heldAuthorization(enough ...holding) *authorization {
	for _, held := range enough {
		candidates := []*authorization{s.preauthorized[held]}
		if s.ReuseAuthorizations {
			candidates = append(candidates, s.proven[held])
		}
		for _, a := range candidates {
			if a != nil && a.update(time.Now()) == statusValid {
				return a
			}
		}
	}
	return nil
}
