package solver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/storage"
)

// ALPNProto is the application protocol by which a CA asks for the answer to a tls-alpn-01 challenge
// (RFC 8737 §6.2). It must be among the NextProtos of a server's [tls.Config]: crypto/tls refuses the
// connection before it asks for a certificate otherwise.
const ALPNProto = "acme-tls/1"

// ErrNoALPN reports that a server does not offer the protocol [ALPNProto].
var ErrNoALPN = errors.New(`solver: the server does not offer the protocol "acme-tls/1"`)

// TLSALPN01 proves control of a domain name or an IP address by answering a TLS handshake on its
// port 443 (RFC 8737, RFC 8738). It needs no port of its own: its GetCertificate is called for the
// handshakes of the server that owns the port.
//
// The zero value is useful. A TLSALPN01 is safe for concurrent use and must not be copied; its fields
// must not be changed after its first use.
type TLSALPN01 struct {
	// Storage keeps the answers, so that every process on the same storage can give them. Nil: they
	// are kept in this TLSALPN01 alone.
	Storage storage.Store

	// Dial opens the connections of Check. Nil: a [net.Dialer] does.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	memory storage.Memory
}

// Type returns "tls-alpn-01".
func (t *TLSALPN01) Type() string { return acme.TypeTLSALPN01 }

// Supports reports whether the identifier is a domain name or an IP address (RFC 8738) and no
// wildcard, for which tls-alpn-01 is no proof.
func (t *TLSALPN01) Supports(id acme.Identifier, wildcard bool) bool { return supports(id, wildcard) }

// Present stores the answer. An identifier has one at a time: it takes the place of another order's.
func (t *TLSALPN01) Present(ctx context.Context, p acme.Proof) error {
	a, err := newAnswer(p, acme.TypeTLSALPN01)
	if err != nil {
		return err
	}
	return a.save(ctx, t.store(), tlsALPN01Key(a.Identifier))
}

// CleanUp deletes the answer, unless another has taken its place.
func (t *TLSALPN01) CleanUp(ctx context.Context, p acme.Proof) error {
	a, err := newAnswer(p, acme.TypeTLSALPN01)
	if err != nil {
		return err
	}
	return a.remove(ctx, t.store(), tlsALPN01Key(a.Identifier))
}

// IsChallenge reports whether a handshake is a CA's validation: ALPNProto is the one protocol that its
// client offers (RFC 8737 §3). It allocates nothing.
func IsChallenge(hello *tls.ClientHelloInfo) bool {
	return len(hello.SupportedProtos) == 1 && hello.SupportedProtos[0] == ALPNProto
}

// GetCertificate returns the certificate that answers a CA's validation, made for this handshake. For
// all other handshakes it returns neither a certificate nor an error. It is for
// [tls.Config.GetCertificate], called first there.
//
// The error wraps [fs.ErrNotExist] where no challenge is pending for the name asked for.
func (t *TLSALPN01) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if !IsChallenge(hello) {
		return nil, nil
	}
	id, ok := parseServerName(hello.ServerName)
	if !ok {
		return nil, fmt.Errorf("solver: tls-alpn-01 was asked for the server name %.80q, which no CA asks for: %w", hello.ServerName, fs.ErrNotExist)
	}
	ctx := hello.Context()
	if ctx == nil {
		return nil, fmt.Errorf("solver: tls-alpn-01 for %q: the ClientHelloInfo has no context; those of crypto/tls do", id)
	}
	a, err := load(ctx, t.store(), tlsALPN01Key(id))
	if err != nil {
		return nil, fmt.Errorf("solver: tls-alpn-01 for %q: %w", id, err)
	}
	return newChallengeCertificate(id, a.KeyAuthorization)
}

func (t *TLSALPN01) store() storage.Store {
	if t.Storage == nil {
		return &t.memory
	}
	return t.Storage
}
