package certmanager

import (
	"crypto/tls"
	"errors"
)

// A certificateSource is what tls.Config.GetCertificate is.
type certificateSource = func(*tls.ClientHelloInfo) (*tls.Certificate, error)

// errFellBack comes with a certificate that is not the manager's.
var errFellBack = errors.New("this is what there is to fall back to")

// fallBack returns what Config.Fallback, or the server that Serve was given, has for a client for which the manager has
// nothing, or nil. They may lead back to GetCertificate, as the one of [Manager.TLSConfig] does: then there is nothing to fall
// back to, and again is true.
func (m *Manager) fallBack(hello *tls.ClientHelloInfo) (c *tls.Certificate, again bool) {
	own := m.ownCertificates.Load()
	if m.config.Fallback == nil && own == nil {
		return nil, false
	}
	if _, asked := m.fallingBack.LoadOrStore(hello, true); asked {
		return nil, true
	}
	defer m.fallingBack.Delete(hello)
	if fallback := m.config.Fallback; fallback != nil {
		if c, err := fallback(hello); err == nil && c != nil {
			return c, false
		}
	}
	if own != nil {
		if c, err := (*own)(hello); err == nil {
			return c, false
		}
	}
	return nil, false
}

// certificatesOf returns what a configuration serves by itself: what its GetCertificate returns, or else the first of its
// Certificates that is right for the client. Nil: it has none.
func certificatesOf(config *tls.Config) *certificateSource {
	if config == nil || config.GetCertificate == nil && len(config.Certificates) == 0 {
		return nil
	}
	get, certificates := config.GetCertificate, config.Certificates
	source := func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if get != nil {
			if certificate, err := get(hello); err == nil && certificate != nil {
				return certificate, nil
			}
		}
		for i := range certificates {
			if hello.SupportsCertificate(&certificates[i]) == nil {
				return &certificates[i], nil
			}
		}
		return nil, nil
	}
	return &source
}
