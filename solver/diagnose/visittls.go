package diagnose

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
	"net/netip"
	"slices"
	"strings"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/solver/internal/challenge"
	"github.com/everseal/everseal/solver/internal/escape"
)

// visitTLS asks for the answer to a tls-alpn-01 challenge as a CA does, by a handshake with port 443
// (RFC 8737 §3, RFC 8738 §6). It takes ten seconds at most.
func visitTLS(ctx context.Context, p acme.Proof, connect connectFunc) visit {
	limited, cancel := context.WithTimeout(ctx, visitTimeout)
	defer cancel()
	v := visit{host: p.Identifier.Value, port: "443"}
	v.shakeHands(limited, p, connect)
	v.interrupt(ctx)
	return v
}

func (v *visit) shakeHands(ctx context.Context, p acme.Proof, connect connectFunc) {
	v.Hops = []Hop{{URL: "https://" + urlHost(p.Identifier) + "/"}}
	hop := &v.Hops[0]
	raw, addr, err := connect(ctx, v.host, v.port, netip.Addr{})
	if err != nil {
		v.fail(connectOutcome(err), err)
		return
	}
	defer raw.Close()
	hop.open(addr)
	conn := tls.Client(raw, &tls.Config{
		ServerName:         challenge.ServerName(p.Identifier),
		NextProtos:         []string{solver.ALPNProto},
		InsecureSkipVerify: true, // the certificate wanted is self-signed; checkCertificate judges it

		GetClientCertificate: noClientCertificate(&v.asksClient),
	})
	err = conn.HandshakeContext(ctx)
	state := conn.ConnectionState()
	hop.Protocol, hop.Certificate = protocolOf(state), certificateText(state.PeerCertificates)
	switch {
	case refusesALPN(err) || err == nil && state.NegotiatedProtocol != solver.ALPNProto:
		v.fail(outcomeNoALPN, errors.New("the server does not offer the protocol \"acme-tls/1\""))
	case err != nil:
		v.failAnswer(err)
	default:
		if err := checkCertificate(state.PeerCertificates[0], p); err != nil {
			v.fail(outcomeWrong, err)
			break
		}
		v.Right = true
	}
}

// refusesALPN reports whether a handshake ended with the server's alert no_application_protocol (RFC
// 7301 §3.2). Of alerts on TCP, crypto/tls exports no type, only the text.
func refusesALPN(err error) bool {
	alert, ok := errors.AsType[*net.OpError](err)
	return ok && alert.Op == "remote error" && alert.Err.Error() == tls.AlertError(120).Error()
}

func protocolOf(state tls.ConnectionState) string { return escape.Text(state.NegotiatedProtocol, 40) }

// certificateText says for what the first of the certificates is, and by whom.
func certificateText(certs []*x509.Certificate) string {
	if len(certs) == 0 {
		return ""
	}
	names := slices.Clone(certs[0].DNSNames)
	for _, addr := range certs[0].IPAddresses {
		names = append(names, addr.String())
	}
	words := "for no name"
	if len(names) > 0 {
		words = "for " + escape.Text(strings.Join(names, ", "), 150)
	}
	if issuer := certs[0].Issuer.String(); issuer != "" {
		words += " by " + escape.Text(issuer, 100)
	}
	return words
}

// checkCertificate returns nil if cert is the answer to p (RFC 8737 §3), or how it differs.
func checkCertificate(cert *x509.Certificate, p acme.Proof) error {
	want, err := challenge.SubjectAltName(p.Identifier)
	if err != nil {
		return err
	}
	if names := extension(cert, want.Id); names == nil || !bytes.Equal(names.Value, want.Value) {
		return fmt.Errorf("it is for %.200q, issued by %.100q", fmt.Sprint(cert.DNSNames, cert.IPAddresses), cert.Issuer)
	}
	want = challenge.ACMEIdentifier(p.KeyAuthorization)
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
