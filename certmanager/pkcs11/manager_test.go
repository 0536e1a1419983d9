package pkcs11_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/tls"
	"log/slog"
	"regexp"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme/acmetest"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/certmanager/pkcs11"
	"github.com/everseal/everseal/storage"
)

// A world is a CA, a storage and a network in memory, and a token.
type world struct {
	t       *testing.T
	ca      *acmetest.Server
	network *acmetest.Network
	store   storage.Store
	keys    *recorder
}

// A recorder is a token that knows which keys were ever to be made.
type recorder struct {
	*pkcs11.Keys
	mu   sync.Mutex
	refs []string
	die  func() // is called, if set, when the next key was made
}

func (r *recorder) Create(ctx context.Context, ref string, t certmanager.KeyType) (crypto.Signer, error) {
	r.mu.Lock()
	r.refs = append(r.refs, ref)
	die := r.die
	r.die = nil
	r.mu.Unlock()
	key, err := r.Keys.Create(ctx, ref, t)
	if die != nil {
		die()
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return key, err
}

// left returns the keys that are on the token.
func (r *recorder) left(t *testing.T) (left []string) {
	t.Helper()
	for _, ref := range r.refs {
		if _, err := r.Open(t.Context(), ref); err == nil && !slices.Contains(left, ref) {
			left = append(left, ref)
		}
	}
	return left
}

func newWorld(t *testing.T, token pkcs11.Config) *world {
	t.Helper()
	keys, err := pkcs11.Connect(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { keys.Close() })
	w := &world{t: t, ca: acmetest.NewUnstartedServer(), network: new(acmetest.Network), store: new(storage.Memory), keys: &recorder{Keys: keys}}
	w.ca.Dial = w.network.DialContext
	w.ca.StartInMemory()
	t.Cleanup(w.ca.Close)
	w.ca.SetHost("*", "192.0.2.1")
	return w
}

// start has a manager run, and serve the network, until stop is called.
func (w *world) start(kind certmanager.KeyType, names ...string) (m *certmanager.Manager, stop func()) {
	w.t.Helper()
	var kinds []certmanager.KeyType
	if kind != "" {
		kinds = append(kinds, kind)
	}
	m, err := certmanager.New(certmanager.Config{
		Names: names, KeyTypes: kinds, AgreeToTerms: true, Storage: w.store, Keys: w.keys, Preflight: certmanager.PreflightOff,
		Issuers: []certmanager.Issuer{&certmanager.ACME{DirectoryURL: w.ca.URL, HTTPClient: w.ca.Client()}}, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	listener, err := w.network.Listen("tcp", "192.0.2.1:443")
	if err != nil {
		w.t.Fatal(err)
	}
	secure := m.Listener(listener)
	ctx, cancel := context.WithCancel(w.t.Context())
	var group sync.WaitGroup
	group.Go(func() {
		if err := m.Run(ctx); err != nil {
			w.t.Error(err)
		}
	})
	group.Go(func() {
		for {
			conn, err := secure.Accept()
			if err != nil {
				return
			}
			group.Go(func() {
				defer conn.Close()
				if conn.(*tls.Conn).Handshake() == nil {
					_, _ = conn.Read(make([]byte, 1)) // until the client hangs up
				}
			})
		}
	})
	return m, func() {
		cancel()
		listener.Close()
		group.Wait()
	}
}

func (w *world) handshake(name string, version uint16) error {
	conn, err := w.network.DialContext(w.t.Context(), "tcp", "192.0.2.1:443")
	if err != nil {
		return err
	}
	defer conn.Close()
	return tls.Client(conn, &tls.Config{ServerName: name, RootCAs: w.ca.Roots(), Time: time.Now, MinVersion: version, MaxVersion: version}).HandshakeContext(w.t.Context())
}

// checkServed checks handshakes that are signed on the token.
func (w *world) checkServed(name string) {
	w.t.Helper()
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		if err := w.handshake(name, version); err != nil {
			w.t.Errorf("%s with %s: %v", name, tls.VersionName(version), err)
		}
	}
}

var reference = regexp.MustCompile(`everseal-(certificate|account)-[a-z0-9]{26}`)

// checkNoLeak checks that each key on the token is one that the storage refers to, and that no private key is in the storage.
func (w *world) checkNoLeak() (left []string) {
	w.t.Helper()
	var known []string
	for _, prefix := range []string{"accounts", "certificates", "work"} {
		for key, err := range w.store.List(w.t.Context(), prefix) {
			if err != nil {
				w.t.Fatal(err)
			}
			item, err := w.store.Load(w.t.Context(), key)
			if err != nil {
				w.t.Fatal(err)
			}
			if bytes.Contains(item.Value, []byte("PRIVATE KEY")) {
				w.t.Errorf("%s has a private key", key)
			}
			known = append(known, reference.FindAllString(string(item.Value), -1)...)
		}
	}
	left = w.keys.left(w.t)
	for _, ref := range left {
		if !slices.Contains(known, ref) {
			w.t.Errorf("the key %s is leaked", ref)
		}
	}
	return left
}

// TestYear has a manager obtain and renew certificates with keys on a token through a year, with restarts: every handshake is
// signed there, and at the end the token has the keys in use, and those of certificates that are valid still.
func TestYear(t *testing.T) {
	token := newToken(t)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, token)
		names := []string{"example.com", "example.net"}
		for range 12 {
			m, stop := w.start("", names...)
			if err := m.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(31 * 24 * time.Hour)
			for _, name := range names {
				w.checkServed(name)
			}
			stop()
		}
		left := w.checkNoLeak()
		made, issued := len(w.keys.refs), len(w.ca.Certificates())
		t.Logf("%d certificates, %d keys made, %d left", issued, made, len(left))
		if made != issued+1 || issued < 2*5 || len(left) > 1+3*len(names) || len(left) < 1+len(names) {
			t.Errorf("%d keys were made for %d certificates and an account; %d are left", made, issued, len(left))
		}
	})
}

// TestKilledAfterCreate ends the process when the token has made a key and nobody knows.
func TestKilledAfterCreate(t *testing.T) {
	token := newToken(t)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, token)
		for range 2 { // the account's key, and that of the certificate
			dead := make(chan struct{})
			w.keys.die = func() { close(dead) }
			_, stop := w.start("", "example.com")
			<-dead
			stop()
		}
		m, stop := w.start("", "example.com")
		defer stop()
		if err := m.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		w.checkServed("example.com")
		if left := w.checkNoLeak(); len(left) != 2 {
			t.Errorf("%d keys are on the token, want those of the account and the certificate", len(left))
		}
	})
}

// TestServedFromToken obtains and serves certificates of the other kinds of key, and serves them after a restart.
func TestServedFromToken(t *testing.T) {
	for _, kind := range []certmanager.KeyType{certmanager.ECDSAP384, certmanager.RSA2048} {
		token := newToken(t)
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, token)
			for range 2 {
				m, stop := w.start(kind, "example.com")
				if err := m.Wait(t.Context()); err != nil {
					t.Fatal(err)
				}
				w.checkServed("example.com")
				stop()
			}
			if issued := len(w.ca.Certificates()); issued != 1 {
				t.Errorf("%s: %d certificates were issued", kind, issued)
			}
			w.checkNoLeak()
		})
	}
}
