package certmanager

import (
	"crypto/tls"
	"errors"
	"fmt"

	"github.com/everseal/everseal/acme"
)

// GetClientCertificate is for tls.Config.GetClientCertificate of a client that shows a certificate of the manager's: that
// for Config.DefaultName, or else for the first of Config.Names and Config.Subjects, with the first kind of key that the
// server takes. If the server takes none of them it returns one that is empty, as crypto/tls wants it for a client that
// shows none. Before the certificate has come it returns an error that says why.
//
// Public CAs issue for servers alone (extended key usage serverAuth); a CA of one's own may do otherwise.
func (m *Manager) GetClientCertificate(request *tls.CertificateRequestInfo) (*tls.Certificate, error) {
	switch {
	case m.store == nil:
		return nil, errNotMade
	case request == nil:
		return nil, errors.New("certmanager: GetClientCertificate was called without a CertificateRequestInfo")
	}
	name := m.clientName()
	if name == "" {
		return nil, errors.New("certmanager: there is no name whose certificate a client could show: set Config.DefaultName")
	}
	e := m.catalogue.serving(name)
	for a := range familyOf(e).all() {
		s := a.served.Load()
		a.roles.set(used)
		if s == nil && a.held() != nil {
			s, _ = m.recalls.await(request.Context(), a, recallTimeout) // it was evicted from memory: without it, there is none
		}
		if s != nil && request.SupportsCertificate(&s.Certificate) == nil {
			return &s.Certificate, nil
		}
	}
	if familyOf(e).ready() != nil {
		return new(tls.Certificate), nil
	}
	if why := m.waiting.why(name); why != nil {
		return nil, fmt.Errorf("certmanager: %s has no certificate yet: %w", name, why)
	}
	return nil, fmt.Errorf("certmanager: %s has no certificate yet", name)
}

// clientName returns the name whose certificate a client shows; empty: there is none.
func (m *Manager) clientName() string {
	first := m.config.DefaultName
	for _, s := range m.config.Subjects {
		if first == "" && len(m.config.Names) == 0 && len(s.Names) > 0 {
			first = s.Names[0]
		}
	}
	if first == "" && len(m.config.Names) > 0 {
		first = m.config.Names[0]
	}
	id, err := acme.ParseIdentifier(first)
	if err != nil {
		return ""
	}
	return id.Value
}
