package acmetest

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// finalize takes the CSR for an order that is ready, and has the certificate issued (RFC 8555 §7.4).
func (s *Server) finalize(w http.ResponseWriter, r *http.Request, signed *signedRequest) error {
	var request struct {
		CSR string `json:"csr"`
	}
	if err := signed.decode(&request); err != nil {
		return err
	}
	o, csr, resource, err := s.takeCSR(r, signed, request.CSR)
	if err != nil {
		return err
	}
	s.inBackground(r.Context(), func(ctx context.Context) { s.issue(ctx, o, csr) })
	s.answerOrder(w, o, resource)
	return nil
}

// takeCSR makes the order "processing" if it is ready and the CSR is good; with a bad one it stays ready.
func (s *Server) takeCSR(r *http.Request, signed *signedRequest, encoded string) (*order, *x509.CertificateRequest, orderResource, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, err := s.ownOrder(r, signed)
	if err == nil {
		err = o.checkReady()
	}
	if err != nil {
		return nil, nil, orderResource{}, err
	}
	csr, err := s.checkCSR(encoded, o)
	if err != nil {
		o.failure = nil // it was meant for this CSR
		return nil, nil, orderResource{}, err
	}
	o.status = statusProcessing
	return o, csr, s.orderResource(o), nil
}

// checkReady is called with Server.mu held.
func (o *order) checkReady() error {
	o.update(time.Now())
	if o.status != statusReady {
		return problemf(orderNotReady, "the order is %s; it can be finalized once it is ready", o.status)
	}
	return nil
}

// csrAlgorithms are those that CSRs may be signed with.
func csrAlgorithms() []x509.SignatureAlgorithm {
	return []x509.SignatureAlgorithm{
		x509.SHA256WithRSA, x509.SHA384WithRSA, x509.SHA512WithRSA, x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512,
	}
}

// maxCommonName is the most bytes of a common name (RFC 5280 appendix A.1, ub-common-name).
const maxCommonName = 64

// checkCSR returns the CSR if the order's certificate can be issued from it. The error is a problem of
// type malformed, badCSR or, for what the CA does not put into certificates, unauthorized. It is called with s.mu held.
func (s *Server) checkCSR(encoded string, o *order) (*x509.CertificateRequest, error) {
	der, err := decodeBase64URL("csr", encoded)
	if err != nil {
		return nil, err
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, problemf(badCSR, "the CSR cannot be read: %s", quote(err.Error()))
	}
	if !slices.Contains(csrAlgorithms(), csr.SignatureAlgorithm) {
		return nil, problemf(badCSR, "the CSR is signed with %v; %v are possible", csr.SignatureAlgorithm, csrAlgorithms())
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, problemf(badCSR, "the CSR's signature is not by the key in it: %s", quote(err.Error()))
	}
	if err := s.checkCSRKey(csr); err != nil {
		return nil, err
	}
	for _, e := range csr.Extensions {
		if e.Id.Equal(asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 24}) {
			return nil, problemf(unauthorized, "the CSR asks for must-staple (RFC 7633): certificates of this CA have no OCSP")
		}
	}
	return csr, checkCSRNames(csr, o.identifiers)
}

// checkCSRKey checks that the CSR's key is strong enough, and is no account's (RFC 8555 §11.1). It is
// called with s.mu held.
func (s *Server) checkCSRKey(csr *x509.CertificateRequest) error {
	if err := checkKey(csr.PublicKey, badCSR); err != nil {
		return err
	}
	keyPrint, err := thumbprint(&jose.JSONWebKey{Key: crypto.PublicKey(csr.PublicKey)})
	if err != nil {
		return err
	}
	if s.accountsByKey[keyPrint] != nil {
		return problemf(badCSR, "the CSR's key is that of an account (RFC 8555 §11.1)")
	}
	return s.checkCompromised(keyPrint, badCSR)
}

// checkCSRNames checks that the CSR is for exactly the order's identifiers.
func checkCSRNames(csr *x509.CertificateRequest, identifiers []identifier) error {
	if len(csr.EmailAddresses) > 0 || len(csr.URIs) > 0 {
		return problemf(badCSR, "the CSR asks for e-mail addresses or URIs")
	}
	asked := make(map[identifier]bool)
	for _, name := range csr.DNSNames {
		asked[identifier{typeDNS, strings.ToLower(name)}] = true
	}
	for _, address := range csr.IPAddresses {
		asked[identifier{typeIP, address.String()}] = true
	}
	if name := csr.Subject.CommonName; name != "" {
		if len(name) > maxCommonName {
			return problemf(badCSR, "the CSR's common name %s has %d bytes; %d are possible (RFC 5280), and none is needed", quote(name), len(name), maxCommonName)
		}
		if _, err := netip.ParseAddr(name); err == nil {
			return problemf(badCSR, "the CSR's common name %s is an IP address, which belongs into its subjectAltName alone", quote(name))
		}
		asked[identifier{typeDNS, strings.ToLower(name)}] = true
	}
	for _, id := range identifiers {
		if !asked[id] {
			return problemf(badCSR, "the CSR lacks %s, which is in the order", quote(id.Value))
		}
	}
	for id := range asked {
		if !slices.Contains(identifiers, id) {
			return problemf(badCSR, "the CSR has %s of type %s, which is not in the order", quote(id.Value), id.Type)
		}
	}
	return nil
}

// issue makes the certificate and the order valid.
func (s *Server) issue(ctx context.Context, o *order, csr *x509.CertificateRequest) {
	issued, err := s.makeCertificate(o, csr)
	if err != nil {
		s.log.ErrorContext(ctx, "certificate not issued", "order", o.id, "error", err)
		s.mu.Lock()
		o.status, o.err = statusInvalid, asProblem(err)
		s.mu.Unlock()
		return
	}
	s.log.InfoContext(ctx, "certificate issued", "order", o.id, "serial", issued.leaf.SerialNumber, "notAfter", issued.leaf.NotAfter)
	s.mu.Lock()
	defer s.mu.Unlock()
	o.status, o.certificate = statusValid, issued
	s.certificates[issued.id] = issued
	s.certificatesBySerial[issued.leaf.SerialNumber.String()] = issued
	s.certificateList = append(s.certificateList, issued.leaf)
	s.countIssued(o)
}

func (s *Server) makeCertificate(o *order, csr *x509.CertificateRequest) (*certificate, error) {
	if o.failure != nil { // which does not change once the order is processing
		return nil, o.failure
	}
	notBefore, notAfter, err := s.validity(o, time.Now())
	if err != nil {
		return nil, err
	}
	leaf, err := s.authority.issue(leafTemplate(o.identifiers, csr.Subject.CommonName, notBefore, notAfter), csr.PublicKey)
	if err != nil {
		return nil, err
	}
	return &certificate{id: randomID(), account: o.account, leaf: leaf}, nil
}
