package acmetest

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"strconv"
)

// A certificate is one that was issued. Server.mu guards what changes.
type certificate struct {
	id      string
	account *account
	leaf    *x509.Certificate

	revoked bool
	reason  int // of the revocation (RFC 5280 §5.3.1)

	replacement *order // the last order to replace this one (RFC 9773 §5), nil if there was none
}

// certificate answers with a certificate and a chain up to a root, without it, and links to the other
// chains (RFC 8555 §7.4.2). The first chain has the certificate's URL, the others have numbers.
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
	chosen := -1
	var links []string
	for i := range s.authority.intermediates {
		path, url := "", s.urlOf("certificate", c.id)
		if i > 0 {
			path = strconv.Itoa(i)
			url += "/" + path
		}
		if r.PathValue("chain") == path {
			chosen = i
		} else {
			links = append(links, fmt.Sprintf(`<%s>;rel="alternate"`, url))
		}
	}
	if chosen < 0 {
		return statusProblemf(http.StatusNotFound, malformed, "the certificate has no chain %s", quote(r.PathValue("chain")))
	}
	for _, link := range links {
		w.Header().Add("Link", link)
	}
	w.Header().Set("Content-Type", "application/pem-certificate-chain")
	_, _ = w.Write(append(encodePEM(c.leaf.Raw), encodePEM(s.authority.intermediates[chosen].Raw)...))
	return nil
}

// encodePEM returns a certificate in PEM.
func encodePEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
