package acmetest

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"math/big"
	"net/http"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Revoked reports whether the certificate with the serial number has been revoked, and for which reason
// (RFC 5280 §5.3.1).
func (s *Server) Revoked(serial *big.Int) (reason int, revoked bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.certificatesBySerial[serial.String()]
	if c == nil {
		return 0, false
	}
	return c.reason, c.revoked
}

// revokeCert revokes a certificate (RFC 8555 §7.6).
func (s *Server) revokeCert(w http.ResponseWriter, r *http.Request, signed *signedRequest) error {
	var request struct {
		Certificate string `json:"certificate"`
		Reason      int    `json:"reason"`
	}
	if err := signed.decode(&request); err != nil {
		return err
	}
	der, err := decodeBase64URL("certificate", request.Certificate)
	if err != nil {
		return err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return problemf(malformed, "the certificate cannot be read: %s", quote(err.Error()))
	}
	if err := s.revoke(leaf, request.Reason, signed); err != nil {
		return err
	}
	s.log.InfoContext(r.Context(), "certificate revoked", "serial", leaf.SerialNumber, "reason", request.Reason)
	w.WriteHeader(http.StatusOK)
	return nil
}

func (s *Server) revoke(leaf *x509.Certificate, reason int, signed *signedRequest) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.certificatesBySerial[leaf.SerialNumber.String()]
	if c == nil || !bytes.Equal(c.leaf.Raw, leaf.Raw) {
		return statusProblemf(http.StatusNotFound, malformed, "this CA has not issued the certificate with the serial number %d", leaf.SerialNumber)
	}
	may, err := s.mayRevoke(c, signed)
	switch {
	case err != nil:
		return err
	case !may:
		return problemf(unauthorized, "the request is signed neither by the certificate's account, nor by one with authorizations for all its names, nor by its key")
	case c.revoked:
		return problemf(alreadyRevoked, "the certificate was revoked before")
	case !slices.Contains([]int{0, 1, 4, 5}, reason): // those that Let's Encrypt leaves to subscribers
		return problemf(badRevocationReason, "the reason is %d; 0, 1, 4 and 5 are possible", reason)
	case time.Now().After(leaf.NotAfter):
		return problemf(unauthorized, "the certificate has ended at %s", rfc3339(leaf.NotAfter))
	}
	c.revoked, c.reason = true, reason
	if signed.account != nil {
		return nil
	}
	keyPrint, err := thumbprint(signed.key)
	s.compromised[keyPrint] = true // who has the key may not be its owner any more
	return err
}

// checkCompromised returns a problem of the named type if a certificate was revoked with the key that has
// the thumbprint. It is called with s.mu held.
func (s *Server) checkCompromised(keyPrint, name string) error {
	if s.compromised[keyPrint] {
		return problemf(name, "the key is known to be compromised: a certificate was revoked with it")
	}
	return nil
}

// mayRevoke reports whether who signed has a right to revoke the certificate. It is called with s.mu held.
func (s *Server) mayRevoke(c *certificate, signed *signedRequest) (bool, error) {
	if signed.account != nil {
		return signed.account == c.account || s.authorizedForAll(signed.account, identifiersOf(c.leaf)), nil
	}
	want, err := thumbprint(&jose.JSONWebKey{Key: crypto.PublicKey(c.leaf.PublicKey)})
	if err != nil {
		return false, err
	}
	got, err := thumbprint(signed.key)
	return got == want, err
}

// authorizedForAll reports whether the account holds valid authorizations for all identifiers. It is
// called with s.mu held.
func (s *Server) authorizedForAll(a *account, identifiers []identifier) bool {
	held, now := make(map[holding]bool), time.Now()
	for _, authorization := range s.authorizations {
		if authorization.update(now) == statusValid {
			held[authorization.holding()] = true
		}
	}
	for _, id := range identifiers {
		if !slices.ContainsFunc(sufficient(a, id), func(enough holding) bool { return held[enough] }) {
			return false
		}
	}
	return true
}

// identifiersOf returns the identifiers that the certificate is for.
func identifiersOf(leaf *x509.Certificate) (identifiers []identifier) {
	for _, name := range leaf.DNSNames {
		identifiers = append(identifiers, identifier{typeDNS, name})
	}
	for _, address := range leaf.IPAddresses {
		identifiers = append(identifiers, identifier{typeIP, address.String()})
	}
	return identifiers
}
