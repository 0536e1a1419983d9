package solver

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"net"

	"github.com/everseal/everseal/acme"
)

// Check looks once whether the answer to p can be seen from here, as a CA does: by a handshake with
// port 443 of the identifier. It gives up after ten seconds or when ctx ends. The error says what was
// seen instead of the answer; it wraps [ErrNoALPN] if the server does not offer the protocol.
//
// A failed check is no proof that the CA fails too: a network may show its own machines other
// addresses than the outside.
func (t *TLSALPN01) Check(ctx context.Context, p acme.Proof) error {
	a, err := newAnswer(p, acme.TypeTLSALPN01)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	raw, err := dialer(t.Dial)(ctx, "tcp", net.JoinHostPort(a.Identifier.Value, "443"))
	if err != nil {
		return fmt.Errorf("solver: tls-alpn-01 for %q cannot be seen from here: %w", a.Identifier, err)
	}
	defer raw.Close()
	conn := tls.Client(raw, &tls.Config{
		ServerName:         serverName(a.Identifier),
		NextProtos:         []string{ALPNProto},
		InsecureSkipVerify: true, // the certificate looked for is self-signed; checkCertificate judges it
	})
	err = conn.HandshakeContext(ctx)
	if refusesALPN(err) || err == nil && conn.ConnectionState().NegotiatedProtocol != ALPNProto {
		return fmt.Errorf(`solver: tls-alpn-01 for %q at %v: %w: put solver.ALPNProto into its tls.Config.NextProtos, `+
			`or use the TLSConfig of a certmanager.Manager`, a.Identifier, raw.RemoteAddr(), ErrNoALPN)
	}
	if err != nil {
		return fmt.Errorf("solver: tls-alpn-01 for %q: the handshake with %v failed: %w", a.Identifier, raw.RemoteAddr(), peerError{err})
	}
	if err := checkCertificate(conn.ConnectionState().PeerCertificates[0], a); err != nil {
		return fmt.Errorf("solver: tls-alpn-01 for %q: %v answered with another certificate than the challenge's: %w",
			a.Identifier, raw.RemoteAddr(), err)
	}
	return nil
}

// refusesALPN reports whether a handshake ended with the server's alert no_application_protocol (RFC
// 7301 §3.2). Of alerts on TCP, crypto/tls exports no type, only the text.
func refusesALPN(err error) bool {
	alert, ok := errors.AsType[*net.OpError](err)
	return ok && alert.Op == "remote error" && alert.Err.Error() == tls.AlertError(120).Error()
}

// checkCertificate returns nil if cert is the answer a (RFC 8737 §3), or how it differs.
func checkCertificate(cert *x509.Certificate, a answer) error {
	want, err := subjectAltName(a.Identifier)
	if err != nil {
		return err
	}
	if names := extension(cert, want.Id); names == nil || !bytes.Equal(names.Value, want.Value) {
		return fmt.Errorf("it is for %.200q, issued by %.100q", fmt.Sprint(cert.DNSNames, cert.IPAddresses), cert.Issuer)
	}
	want = acmeIdentifier(a.KeyAuthorization)
	switch got := extension(cert, want.Id); {
	case got == nil:
		return fmt.Errorf("it has no acmeIdentifier extension, and was issued by %.100q: does the server call TLSALPN01.GetCertificate first?", cert.Issuer)
	case !got.Critical:
		return errors.New("its acmeIdentifier extension is not critical")
	case !bytes.Equal(got.Value, want.Value):
		return errors.New("its acmeIdentifier extension is of another order or account: does another machine answer for this name?")
	}
	return nil
}

// extension returns the only extension of cert with the given id, or nil.
func extension(cert *x509.Certificate, id asn1.ObjectIdentifier) *pkix.Extension {
	for i := range cert.Extensions {
		if cert.Extensions[i].Id.Equal(id) {
			return &cert.Extensions[i] // crypto/x509 refuses certificates that repeat an extension
		}
	}
	return nil
}
