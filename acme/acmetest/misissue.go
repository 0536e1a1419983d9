package acmetest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"net/http"
)

// Misissue makes requests for "certificate" get another certificate than the one that was issued: change
// gets a template that has its names, dates, key and all else, and what it leaves there is signed. It
// may set PublicKey to certify another key. With another Issuer or AuthorityKeyId the certificate is signed
// by a key that is not the CA's. The chain after it is unchanged, and so is what the CA keeps of the certificate.
//
//	ca.SetFaults(ca.Misissue(func(template *x509.Certificate) {
//		template.NotAfter = time.Now().Add(-time.Hour)
//	}))
func (s *Server) Misissue(change func(template *x509.Certificate)) Fault {
	return On("certificate", Edit(func(response *Response) {
		block, chain := pem.Decode(response.Body)
		if response.Status != http.StatusOK || block == nil {
			return
		}
		changed, err := s.reissue(block.Bytes, change)
		if err != nil {
			*response = Response{Status: http.StatusInternalServerError, Header: response.Header, Body: []byte(err.Error())}
			return
		}
		response.Body = append(encodePEM(changed), chain...)
	}))
}

func (s *Server) reissue(der []byte, change func(template *x509.Certificate)) ([]byte, error) {
	if s.authority == nil {
		return nil, errNotStarted
	}
	return s.authority.reissue(der, change)
}

// reissue signs a changed copy of a certificate that the authority has issued.
func (a *authority) reissue(der []byte, change func(template *x509.Certificate)) ([]byte, error) {
	template, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	issuer := template.Issuer.String()
	if change != nil {
		change(template)
	}
	// What was parsed would be signed instead of what was changed.
	template.ExtraExtensions, template.SignatureAlgorithm, template.RawSubject = nil, x509.UnknownSignatureAlgorithm, nil
	template.SubjectKeyId = subjectKeyID(template.PublicKey)
	key := a.intermediateKey
	if template.Issuer.String() != issuer || !bytes.Equal(template.AuthorityKeyId, a.intermediates[0].SubjectKeyId) {
		if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			return nil, err
		}
	}
	parent := &x509.Certificate{Subject: template.Issuer, SubjectKeyId: template.AuthorityKeyId}
	return x509.CreateCertificate(rand.Reader, template, parent, template.PublicKey, key)
}
