package acme_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"io"
	"math/big"
	"net"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/acme/acmetest"
)

// A solver answers challenges of one type by what it keeps in memory, and notes what it was asked.
type solver struct {
	kind    string
	server  *acmetest.Server                              // whose TXT records it sets
	present func(ctx context.Context, p acme.Proof) error // instead of Present's success

	mu        sync.Mutex
	answers   map[string]acme.Proof // by token
	presented []acme.Proof
	cleaned   []acme.Proof
	expired   bool // a clean-up was asked for with a context that has ended
}

func newSolver(kind string, server *acmetest.Server) *solver {
	return &solver{kind: kind, server: server, answers: make(map[string]acme.Proof)}
}

func (s *solver) Type() string { return s.kind }

func (s *solver) Present(ctx context.Context, p acme.Proof) error {
	s.mu.Lock()
	s.presented = append(s.presented, p)
	s.answers[p.Token] = p
	s.setTXT(p)
	s.mu.Unlock()
	if s.present != nil {
		return s.present(ctx, p)
	}
	return nil
}

func (s *solver) CleanUp(ctx context.Context, p acme.Proof) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cleaned = append(s.cleaned, p)
	s.expired = s.expired || ctx.Err() != nil
	delete(s.answers, p.Token)
	s.setTXT(p)
	return nil
}

// setTXT publishes the records of all answers for the proof's name.
func (s *solver) setTXT(p acme.Proof) {
	if s.kind != acme.TypeDNS01 {
		return
	}
	var values []string
	for _, kept := range s.answers {
		if kept.Identifier == p.Identifier {
			sum := sha256.Sum256([]byte(kept.KeyAuthorization))
			values = append(values, base64.RawURLEncoding.EncodeToString(sum[:]))
		}
	}
	s.server.SetTXT("_acme-challenge."+p.Identifier.Value, values...)
}

// left returns how many answers are still published.
func (s *solver) left() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.answers)
}

// cleanedTokens returns the tokens of the proofs that were taken away, sorted, each once.
func (s *solver) cleanedTokens() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return tokens(s.cleaned)
}

func tokens(proofs []acme.Proof) []string {
	var tokens []string
	for _, p := range proofs {
		tokens = append(tokens, p.Token)
	}
	slices.Sort(tokens)
	return slices.Compact(tokens)
}

// dial connects the CA to the server that answers challenges at ports 80 and 443 of all addresses.
func (s *solver) dial(_ context.Context, _, address string) (net.Conn, error) {
	client, server := net.Pipe()
	if strings.HasSuffix(address, ":443") {
		go s.serveTLS(server)
	} else {
		go s.serveHTTP(server)
	}
	return client, nil
}

func (s *solver) serveHTTP(conn net.Conn) {
	defer conn.Close()
	r, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		return
	}
	s.mu.Lock()
	p, ok := s.answers[path.Base(r.URL.Path)]
	s.mu.Unlock()
	body, status := p.KeyAuthorization, http.StatusOK
	if !ok {
		body, status = "", http.StatusNotFound
	}
	resp := &http.Response{StatusCode: status, ProtoMajor: 1, ProtoMinor: 1, ContentLength: int64(len(body)), Body: io.NopCloser(strings.NewReader(body)), Close: true}
	_ = resp.Write(conn)
}

func (s *solver) serveTLS(conn net.Conn) {
	defer conn.Close()
	server := tls.Server(conn, &tls.Config{NextProtos: []string{"acme-tls/1"}, GetCertificate: s.challengeCertificate})
	if server.Handshake() == nil {
		_, _ = io.Copy(io.Discard, server)
	}
}

// challengeCertificate returns the certificate of RFC 8737 for the name asked for.
func (s *solver) challengeCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	s.mu.Lock()
	var answer acme.Proof
	for _, p := range s.answers {
		if p.Identifier.Type == acme.TypeIP || p.Identifier.Value == hello.ServerName {
			answer = p
		}
	}
	s.mu.Unlock()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(answer.KeyAuthorization))
	value, err := asn1.Marshal(sum[:])
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:    big.NewInt(1),
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 31}, Critical: true, Value: value}},
	}
	if answer.Identifier.Type == acme.TypeIP {
		template.IPAddresses = []net.IP{net.ParseIP(answer.Identifier.Value)}
	} else {
		template.DNSNames = []string{answer.Identifier.Value}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// A waitingSolver is a solver with the optional methods.
type waitingSolver struct {
	*solver
	wait     func(ctx context.Context, p acme.Proof) error
	supports func(id acme.Identifier, wildcard bool) bool
}

func (s waitingSolver) Wait(ctx context.Context, p acme.Proof) error { return s.wait(ctx, p) }

func (s waitingSolver) Supports(id acme.Identifier, wildcard bool) bool {
	return s.supports(id, wildcard)
}
