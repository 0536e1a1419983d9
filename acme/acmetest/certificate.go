package acmetest

import (
	"crypto/x509"
	"encoding/pem"
	"net/http"
)

// A certificate is one that was issued. It does not change.
type certificate struct {
	id      string
	account *account
	leaf    *x509.Certificate
}

// certificate answers with a certificate and the chain up to the root, without it (RFC 8555 §7.4.2).
func (s *Server) certificate(w http.ResponseWriter, r *http.Request, signed *signedRequest) error {
	if err := signed.asGet(); err != nil {
		return err
	}
	s.mu.Lock()
	c := s.certificates[r.PathValue("id")]
	s.mu.Unlock()
	if c == nil {
		return errNotFound(r)
	}
	if err := checkOwner(c.account, signed); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/pem-certificate-chain")
	_, _ = w.Write(append(encodePEM(c.leaf.Raw), encodePEM(s.authority.intermediate.Raw)...))
	return nil
}

// encodePEM returns a certificate in PEM.
func encodePEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
