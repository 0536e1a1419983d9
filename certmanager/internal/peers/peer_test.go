package peers

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver"
)

// A peer is an ACME client, ours or another library's, with an account at one CA. Its methods ask the library for
// exactly what they are named after.
type peer interface {
	// obtain obtains a certificate for a new key. The predecessor is the one that it replaces, or nil; libraries that
	// don't know of RFC 9773 pass over it.
	obtain(ctx context.Context, names []string, predecessor *issued) (*issued, error)
	// revoke revokes as the account, because the certificate was superseded.
	revoke(ctx context.Context, certificate *issued) error
	// changeKey changes the account's key and goes on with the new one.
	changeKey(ctx context.Context, key *ecdsa.PrivateKey) error
	deactivate(ctx context.Context) error
}

// A keyRevoker is a peer that can revoke with the certificate's own key, because it was compromised.
type keyRevoker interface {
	revokeWithKey(ctx context.Context, certificate *issued) error
}

// A renewalAdvisor is a peer that knows of RFC 9773: it fetches the window in which to renew, and tells the CA what a
// certificate replaces.
type renewalAdvisor interface {
	renewalWindow(ctx context.Context, certificate *issued) (acme.Window, error)
}

// A site is a CA together with what a client needs to have an account there.
type site struct {
	directory string // URL
	client    *http.Client
	challenge string // the type to prove control by
	answers   *answers
	external  *acme.ExternalAccount // nil: none
}

// A peerLibrary makes peers. open registers an account with a new key.
type peerLibrary struct {
	name string
	open func(ctx context.Context, s site) (peer, error)
}

func peerLibraries() []peerLibrary {
	return []peerLibrary{{"everseal", openEverseal}, {"acmez", openAcmez}, {"lego", openLego}, {"xcrypto", openXCrypto}}
}

// An issued certificate, with its key.
type issued struct {
	chain [][]byte // DER, leaf first
	leaf  *x509.Certificate
	key   *ecdsa.PrivateKey
}

func newIssued(chain [][]byte, key *ecdsa.PrivateKey) (*issued, error) {
	if len(chain) == 0 {
		return nil, errors.New("the library returned no certificate")
	}
	leaf, err := x509.ParseCertificate(chain[0])
	return &issued{chain, leaf, key}, err
}

// decodeChain returns the certificates of a text in PEM.
func decodeChain(text []byte) (chain [][]byte) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		chain = append(chain, block.Bytes)
	}
	return chain
}

func generateKey() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

// answers are what the CA looks for, put in place in the way that costs the least, so that only the clients differ.
type answers struct {
	delay  time.Duration                       // of each answer by HTTP, which makes the CA's validation take as long
	setTXT func(name string, values ...string) // has the CA's DNS answer so; nil: dns-01 is not used

	tokens       sync.Map         // key authorization by token
	certificates sync.Map         // *tls.Certificate by name
	tlsALPN01    solver.TLSALPN01 // asked for what certificates has not
	mu           sync.Mutex
	records      map[string][]string // values by name
}

// ServeHTTP answers http-01 challenges.
func (a *answers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	select {
	case <-time.After(a.delay):
	case <-r.Context().Done():
		return
	}
	const prefix = "/.well-known/acme-challenge/"
	if answer, ok := a.tokens.Load(r.URL.Path[min(len(prefix), len(r.URL.Path)):]); ok {
		_, _ = w.Write([]byte(answer.(string)))
		return
	}
	http.NotFound(w, r)
}

// getCertificate answers tls-alpn-01 challenges.
func (a *answers) getCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if certificate, ok := a.certificates.Load(hello.ServerName); ok {
		return certificate.(*tls.Certificate), nil
	}
	return a.tlsALPN01.GetCertificate(hello)
}

// addRecord adds a TXT record.
func (a *answers) addRecord(name, value string) {
	a.changeRecords(name, func(values []string) []string { return append(values, value) })
}

// removeRecord takes one away, and leaves others of the name.
func (a *answers) removeRecord(name, value string) {
	a.changeRecords(name, func(values []string) []string {
		return slices.DeleteFunc(values, func(v string) bool { return v == value })
	})
}

func (a *answers) changeRecords(name string, change func([]string) []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.records == nil {
		a.records = make(map[string][]string)
	}
	a.records[name] = change(a.records[name])
	a.setTXT(name, slices.Clone(a.records[name])...)
}

// serve answers at two ports, that for http-01 and that for tls-alpn-01, whose addresses it returns.
func (a *answers) serve(t testing.TB) (plain, secure string) {
	t.Helper()
	plainListener, secureListener := listen(t), listen(t)
	startWeb(t, plainListener, a)
	startWeb(t, tls.NewListener(secureListener, &tls.Config{
		GetCertificate: a.getCertificate,
		NextProtos:     []string{solver.ALPNProto},
	}), http.NotFoundHandler())
	return plainListener.Addr().String(), secureListener.Addr().String()
}
