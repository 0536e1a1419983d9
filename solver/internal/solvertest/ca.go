package solvertest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/everseal/everseal/acme"
)

// What proofs are made of.
const (
	Token      = "DGyRejmCefe7v4NfDGDKfA_tokenOfACa-0123456789" // of the CA
	Thumbprint = "nP1qzpXGymHBrUEepNY9HCsQk7K8KhOypzEt62jcerQ"  // of the account
)

// NewProof returns a proof as package acme makes them.
func NewProof(challengeType, identifier string) acme.Proof {
	id := acme.Identifier{Type: acme.TypeDNS, Value: identifier}
	if _, err := netip.ParseAddr(identifier); err == nil {
		id.Type = acme.TypeIP
	}
	return acme.Proof{
		Challenge:        acme.Challenge{Type: challengeType, URL: "https://ca.example/challenge/1", Token: Token, Status: "pending"},
		Identifier:       id,
		KeyAuthorization: Token + "." + Thumbprint,
		AccountURL:       "https://ca.example/account/1",
		DirectoryURL:     "https://ca.example/directory",
	}
}

// WithToken returns p as another order's proof.
func WithToken(p acme.Proof, token string) acme.Proof {
	p.Token, p.KeyAuthorization = token, token+"."+Thumbprint
	return p
}

// DialTo stands in for the DNS: it returns a Dial that reaches address whatever is dialled.
func DialTo(address string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, address)
	}
}

// ValidateHTTP01 looks at an HTTP server as a CA does (RFC 8555 §8.3).
func ValidateHTTP01(t *testing.T, server string, p acme.Proof) error {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DialContext: DialTo(server), DisableKeepAlives: true}}
	host := p.Identifier.Value
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+host+"/.well-known/acme-challenge/"+p.Token, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK || string(body) != p.KeyAuthorization {
		return fmt.Errorf("%s with body %q", response.Status, body)
	}
	return nil
}

// ValidateTLSALPN01 looks at a TLS server as a CA does, and takes nothing that RFC 8737 or RFC 8738
// does not allow.
func ValidateTLSALPN01(t *testing.T, server, sni string, p acme.Proof) error {
	t.Helper()
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		dialer := tls.Dialer{Config: &tls.Config{
			ServerName:         sni,
			NextProtos:         []string{"acme-tls/1"},
			MinVersion:         version,
			MaxVersion:         version,
			InsecureSkipVerify: true,
		}}
		conn, err := dialer.DialContext(t.Context(), "tcp", server)
		if err != nil {
			return err
		}
		defer conn.Close()
		state := conn.(*tls.Conn).ConnectionState()
		if state.NegotiatedProtocol != "acme-tls/1" {
			return fmt.Errorf("protocol %q was negotiated", state.NegotiatedProtocol)
		}
		if len(state.PeerCertificates) != 1 {
			return fmt.Errorf("%d certificates came", len(state.PeerCertificates))
		}
		if err := judgeCertificate(state.PeerCertificates[0], p); err != nil {
			return err
		}
	}
	return nil
}

func judgeCertificate(cert *x509.Certificate, p acme.Proof) error {
	if err := cert.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature); err != nil {
		return fmt.Errorf("not self-signed: %w", err)
	}
	if !bytes.Equal(cert.RawIssuer, cert.RawSubject) || cert.Version != 3 || cert.IsCA || cert.Subject.CommonName != "" {
		return errors.New("not a self-signed leaf without a common name")
	}
	digest := sha256.Sum256([]byte(p.KeyAuthorization))
	seen := make(map[string]int)
	for _, extension := range cert.Extensions {
		id := extension.Id.String()
		seen[id]++
		switch id {
		case "2.5.29.17":
			if want := sanBytes(p.Identifier); !bytes.Equal(extension.Value, want) {
				return fmt.Errorf("alternative name %x, want %x", extension.Value, want)
			}
		case "1.3.6.1.5.5.7.1.31":
			if !extension.Critical {
				return errors.New("acmeIdentifier is not critical")
			}
			if want := "0420" + hex.EncodeToString(digest[:]); hex.EncodeToString(extension.Value) != want {
				return fmt.Errorf("acmeIdentifier %x, want %s", extension.Value, want)
			}
		}
	}
	if seen["2.5.29.17"] != 1 || seen["1.3.6.1.5.5.7.1.31"] != 1 {
		return fmt.Errorf("extensions %v", seen)
	}
	return nil
}

// sanBytes writes the DER of an alternative name by hand: SEQUENCE of one [2] dNSName or [7] iPAddress.
func sanBytes(id acme.Identifier) []byte {
	element := func(tag byte, content []byte) []byte {
		length := []byte{byte(len(content))}
		switch {
		case len(content) > 255:
			length = []byte{0x82, byte(len(content) >> 8), byte(len(content))}
		case len(content) > 127:
			length = []byte{0x81, byte(len(content))}
		}
		return slices.Concat([]byte{tag}, length, content)
	}
	if id.Type == acme.TypeIP {
		return element(0x30, element(0x87, netip.MustParseAddr(id.Value).AsSlice()))
	}
	return element(0x30, element(0x82, []byte(id.Value)))
}

// ValueOf returns the text of the TXT record that answers p.
func ValueOf(p acme.Proof) string {
	_, value, err := p.TXTRecord()
	if err != nil {
		panic(err)
	}
	return value
}

// Persistent returns a proof for dns-persist-01.
func Persistent(wildcard bool) acme.Proof {
	return acme.Proof{
		Challenge:  acme.Challenge{Type: acme.TypeDNSPersist01, Issuers: []string{"ca.example"}, AccountURI: "https://ca.example/account/1"},
		Identifier: acme.Identifier{Type: acme.TypeDNS, Value: "example.com"},
		Wildcard:   wildcard,
		AccountURL: "https://ca.example/account/1",
	}
}
