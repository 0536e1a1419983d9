package solver

import (
	"context"
	"crypto/tls"
	"fmt"
	"io/fs"
	"log/slog"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver/internal/challenge"
	"github.com/everseal/everseal/storage"
)

// ALPNProto is the application protocol by which a CA asks for the answer to a tls-alpn-01 challenge
// (RFC 8737 §6.2). It must be among the NextProtos of a server's [tls.Config]: crypto/tls refuses the
// connection before it asks for a certificate otherwise.
const ALPNProto = "acme-tls/1"

// TLSALPN01 proves control of a domain name or an IP address by answering a TLS handshake on its
// port 443 (RFC 8737, RFC 8738). It needs no port of its own: its GetCertificate is called for the
// handshakes of the server that owns the port.
//
// crypto/tls settles the application protocol before it asks for a certificate. So NextProtos must have [ALPNProto]
// beside the server's own protocols, and GetCertificate must ask the solver first:
//
//	GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
//		if solver.IsChallenge(hello) {
//			return tlsALPN01.GetCertificate(hello)
//		}
//		return ownCertificate(hello)
//	},
//
// A server that takes connections from several configurations, by GetConfigForClient, needs both in each of them.
//
// In the Storage, the answer is a JSON object with token, keyAuthorization, identifier, directoryURL and created, the
// time of its creation in UTC.
//
// The zero value is useful. A TLSALPN01 is safe for concurrent use and must not be copied; its fields
// must not be changed after its first use.
type TLSALPN01 struct {
	// Storage keeps the answers, so that every process on the same storage can give them. Nil: they
	// are kept in this TLSALPN01 alone.
	Storage storage.Store

	// Logger is told when an answer has to wait for another order's. Nil: [slog.Default].
	Logger *slog.Logger

	memory storage.Memory
	gate   gate
}

// Type returns "tls-alpn-01".
func (t *TLSALPN01) Type() string { return acme.TypeTLSALPN01 }

// Supports reports whether the identifier is a domain name or an IP address (RFC 8738) and no
// wildcard, for which tls-alpn-01 is no proof.
func (t *TLSALPN01) Supports(id acme.Identifier, wildcard bool) bool { return supports(id, wildcard) }

// Present stores the answer. An identifier has one at a time, as a handshake does not tell which CA makes
// it: while another order's is there, at another CA perhaps, Present waits until it is cleaned up or ctx
// ends. One that a killed process has left is replaced when Present has seen it unchanged for two to
// four minutes. To present the same answer again is no wait.
func (t *TLSALPN01) Present(ctx context.Context, p acme.Proof) error {
	return t.present(ctx, p, await)
}

// present stores the answer by the function that it is given.
func (t *TLSALPN01) present(ctx context.Context, p acme.Proof, store func(context.Context, *turn) (ownAnswer, error)) error {
	a, err := newAnswer(p, acme.TypeTLSALPN01)
	if err != nil {
		return err
	}
	key := tlsALPN01Key(a.Identifier)
	own, err := store(ctx, newTurn(t.store(), key, a, loggerOr(t.Logger)))
	if err != nil {
		return err
	}
	t.gate.present(key, own)
	return nil
}

// Wait makes sure that the answer is still published before the CA is told. If this TLSALPN01 presented
// it within the last minute, Wait returns at once. If not, as when other names of the order had to wait,
// it presents it again: another order may have taken it for left by a killed process.
func (t *TLSALPN01) Wait(ctx context.Context, p acme.Proof) error {
	return t.wait(ctx, p, await)
}

// wait presents the answer again as present does, unless that was done lately.
func (t *TLSALPN01) wait(ctx context.Context, p acme.Proof, store func(context.Context, *turn) (ownAnswer, error)) error {
	a, err := newAnswer(p, acme.TypeTLSALPN01)
	if err != nil {
		return err
	}
	if t.gate.isYoung(tlsALPN01Key(a.Identifier), a) {
		return nil
	}
	return t.present(ctx, p, store)
}

// CleanUp deletes the answer, unless another has taken its place.
func (t *TLSALPN01) CleanUp(ctx context.Context, p acme.Proof) error {
	a, err := newAnswer(p, acme.TypeTLSALPN01)
	if err != nil {
		return err
	}
	key := tlsALPN01Key(a.Identifier)
	return a.remove(ctx, t.store(), key, t.gate.withdraw(key, a))
}

// IsChallenge reports whether a handshake is a CA's validation: ALPNProto is the one protocol that its
// client offers (RFC 8737 §3). It allocates nothing.
func IsChallenge(hello *tls.ClientHelloInfo) bool {
	return hello != nil && len(hello.SupportedProtos) == 1 && hello.SupportedProtos[0] == ALPNProto
}

// GetCertificate returns the certificate that answers a CA's validation, made for this handshake. For
// all other handshakes it returns neither a certificate nor an error. It is for
// [tls.Config.GetCertificate], called first there.
//
// What this TLSALPN01 presented is answered from memory. For another name Storage is asked, for that
// name's record alone, and not twice within a second if there is none. For names that have no
// challenge it is asked 25 times a second at most, after a burst of 50; beyond that a handshake waits for up
// to two seconds. Names that had a challenge a moment ago come first, then those that several networks ask for,
// then those of networks that wait for few; see [HTTP01.Handler], also for what that is no help against.
//
// The error wraps [fs.ErrNotExist] if no challenge is pending for the name. It does not if that
// could not be found out, as Storage failed or was asked for too much. Either way the handshake fails,
// and as a CA does not try again, so has the validation: another order is needed.
func (t *TLSALPN01) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if !IsChallenge(hello) {
		return nil, nil
	}
	id, ok := challenge.ParseServerName(hello.ServerName)
	if hello.ServerName == "" {
		return nil, fmt.Errorf("solver: tls-alpn-01 was asked without a server name, which no CA does: %w", fs.ErrNotExist)
	}
	if !ok {
		return nil, fmt.Errorf("solver: tls-alpn-01 was asked for the server name %.80q, which no CA asks for: %w", hello.ServerName, fs.ErrNotExist)
	}
	ctx := hello.Context()
	if ctx == nil {
		return nil, fmt.Errorf("solver: tls-alpn-01 for %q: the ClientHelloInfo has no context; those of crypto/tls do", id)
	}
	a, err := t.gate.answer(ctx, t.Storage, &t.memory, question{tlsALPN01Key(id), networkOfConn(hello.Conn)})
	if err != nil {
		return nil, fmt.Errorf("solver: tls-alpn-01 for %q: %w", id, err)
	}
	return newChallengeCertificate(id, a.KeyAuthorization)
}

// WithStorage returns a TLSALPN01 with the same fields and that Storage, or t itself if it has one.
func (t *TLSALPN01) WithStorage(s storage.Store) acme.Solver {
	if t.Storage != nil {
		return t
	}
	return &TLSALPN01{Storage: s, Logger: t.Logger}
}

func (t *TLSALPN01) store() storage.Store {
	if t.Storage == nil {
		return &t.memory
	}
	return t.Storage
}
