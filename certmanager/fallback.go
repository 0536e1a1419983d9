package certmanager

import (
	"crypto/tls"
	"errors"
	"sync"
	"sync/atomic"
)

// A certificateSource is what tls.Config.GetCertificate is.
type certificateSource = func(*tls.ClientHelloInfo) (*tls.Certificate, error)

// errFellBack comes with a certificate that is not the manager's.
var errFellBack = errors.New("this is what there is to fall back to")

// A fallback is what there is for clients for which the manager has nothing.
type fallback struct {
	config certificateSource                 // Config.Fallback, which is asked first; nil: there is none
	own    atomic.Pointer[certificateSource] // of the server that Serve was given; nil: none
	asked  sync.Map                          // the *tls.ClientHelloInfo that these are asked for at the moment
}

// certificateFor returns what Config.Fallback, or the server that Serve was given, has for a client, or nil. They may lead back to GetCertificate, as the one of [Manager.TLSConfig] does: then there is nothing to fall
// back to, and again is true.
func (f *fallback) certificateFor(hello *tls.ClientHelloInfo) (c *tls.Certificate, again bool) {
	own := f.own.Load()
	if f.config == nil && own == nil {
		return nil, false
	}
	if _, asked := f.asked.LoadOrStore(hello, true); asked {
		return nil, true
	}
	defer f.asked.Delete(hello)
	if f.config != nil {
		if c, err := f.config(hello); err == nil && c != nil {
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
