package acmetest_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme/acmetest"
)

// poll asks until the order is neither pending nor processing.
func (c *client) poll(url string) *order {
	c.t.Helper()
	for c.t.Context().Err() == nil {
		if o := c.getOrder(url); o.Status != "pending" && o.Status != "processing" {
			return o
		}
	}
	c.t.Fatal("the test ended before the order")
	return nil
}

// On a socket the same holds as in memory; and many orders at once do not get in each other's way.
func TestOnASocket(t *testing.T) {
	ca := acmetest.NewServer()
	defer ca.Close()
	var mu sync.Mutex
	answers := make(map[string]string)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprint(w, answers[r.URL.Path])
	}))
	defer web.Close()
	ca.SetHost("*", web.Listener.Addr().String())

	const many = 50
	var running sync.WaitGroup
	for i := range many {
		c := newAccount(t, ca)
		name := fmt.Sprintf("host-%d.example.com", i)
		running.Go(func() {
			o := c.newOrder(name)
			challenge := c.authorization(o.Authorizations[0]).challenge(t, "http-01")
			mu.Lock()
			answers["/.well-known/acme-challenge/"+challenge.Token] = c.keyAuthorization(challenge.Token)
			mu.Unlock()
			c.post(challenge.URL, map[string]any{}).want(http.StatusOK, "")
			if o = c.poll(o.URL); o.Status != "ready" {
				t.Errorf("order %+v, want it ready", o)
				return
			}
			csr := newCSR(t, &x509.CertificateRequest{DNSNames: []string{name}}, newKey(t, elliptic.P256()))
			c.post(o.Finalize, csr).want(http.StatusOK, "")
			if o = c.poll(o.URL); o.Status != "valid" {
				t.Errorf("order %+v, want it valid", o)
				return
			}
			if err := c.chain(o.Certificate)[0].VerifyHostname(name); err != nil {
				t.Error(err)
			}
		})
	}
	running.Wait()
	if got := len(ca.Certificates()); got != many {
		t.Errorf("%d certificates, want %d", got, many)
	}
	counts := ca.Requests()
	for _, resource := range []string{"directory", "newAccount", "newOrder", "authorization", "challenge", "finalize", "certificate"} {
		if counts[resource] != many {
			t.Errorf("%d requests for %s, want %d", counts[resource], resource, many)
		}
	}
	if counts["order"] < 2*many {
		t.Errorf("%d requests for order, want at least %d", counts["order"], 2*many)
	}
}

func TestSocketIsTrustedByClientOnly(t *testing.T) {
	ca := acmetest.NewServer()
	defer ca.Close()
	if !strings.HasPrefix(ca.URL, "https://127.0.0.1:") {
		t.Errorf("URL %s", ca.URL)
	}
	newClient(t, ca)
	if _, err := new(http.Client).Get(ca.URL); err == nil {
		t.Error("a client without the CA's root trusts it")
	}
	ca.Close()
	ca.Close() // twice is no harm
	if _, err := ca.Client().Get(ca.URL); err == nil {
		t.Error("the server answers after Close")
	}
}

// A connection that nobody uses does not hold Close up, and is closed by it.
func TestCloseClosesConnections(t *testing.T) {
	ca := acmetest.NewServer()
	address := strings.TrimSuffix(strings.TrimPrefix(ca.URL, "https://"), "/directory")
	conn, err := tls.Dial("tcp", address, &tls.Config{RootCAs: ca.Roots()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	ca.Close()
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("the connection is open after Close")
	}
}

// A certificate from before verifies with the root of a later server that was given the same.
func TestRootOutlivesItsServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		first := n.newCA(t, nil)
		c := newAccount(t, first)
		chain := c.chain(n.obtain(c, "example.com").Certificate)
		intermediates := x509.NewCertPool()
		intermediates.AddCert(chain[1])

		second := n.newCA(t, func(ca *acmetest.Server) { ca.Root = first.Root })
		third := n.newCA(t, nil)
		if _, err := chain[0].Verify(x509.VerifyOptions{Roots: second.Roots(), Intermediates: intermediates}); err != nil {
			t.Error(err)
		}
		if _, err := chain[0].Verify(x509.VerifyOptions{Roots: third.Roots(), Intermediates: intermediates}); err == nil {
			t.Error("a server that was given no root has the same")
		}
		c = newAccount(t, second)
		n.ca = second
		leaf := c.chain(n.obtain(c, "example.com").Certificate)[0]
		if leaf.Issuer.String() == chain[0].Issuer.String() {
			t.Errorf("two intermediates with the name %s", leaf.Issuer)
		}
	})
}

// A certificate never outlasts the root that it depends on.
func TestRootThatEndsSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		ends := time.Now().Add(48 * time.Hour)
		ca := n.newCA(t, func(ca *acmetest.Server) { ca.Root = newRoot(t, true, ends) })
		c := newAccount(t, ca)
		if leaf := c.chain(n.obtain(c, "example.com").Certificate)[0]; !leaf.NotAfter.Equal(ends) {
			t.Errorf("the certificate ends at %v, the root at %v", leaf.NotAfter, ends)
		}
	})
}

func newRoot(t *testing.T, isCA bool, notAfter time.Time) tls.Certificate {
	t.Helper()
	key := newKey(t, elliptic.P256())
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: notAfter, BasicConstraintsValid: true, IsCA: isCA, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestStartPanics(t *testing.T) {
	good := newRoot(t, true, time.Now().Add(time.Hour))
	for _, test := range []struct {
		name, want string
		change     func(*acmetest.Server)
	}{
		{"no key", "private key", func(ca *acmetest.Server) { ca.Root = tls.Certificate{Certificate: good.Certificate} }},
		{"no certificate", "read the certificate", func(ca *acmetest.Server) {
			ca.Root = tls.Certificate{Certificate: [][]byte{[]byte("nonsense")}, PrivateKey: good.PrivateKey}
		}},
		{"no CA", "not that of a CA", func(ca *acmetest.Server) { ca.Root = newRoot(t, false, time.Now()) }},
		{"another key", "sign an intermediate", func(ca *acmetest.Server) {
			ca.Root = tls.Certificate{Certificate: good.Certificate, PrivateKey: newKey(t, elliptic.P256())}
		}},
		{"account without a key", `"kept-1"`, func(ca *acmetest.Server) {
			ca.Accounts = []acmetest.Account{{ID: "kept-1", Key: json.RawMessage("{}"), Status: "valid"}}
		}},
		{"twice", "before", func(ca *acmetest.Server) { ca.StartInMemory() }},
	} {
		t.Run(test.name, func(t *testing.T) {
			ca := acmetest.NewUnstartedServer()
			defer ca.Close()
			test.change(ca)
			defer func() {
				if got := fmt.Sprint(recover()); !strings.Contains(got, "acmetest: ") || !strings.Contains(got, test.want) {
					t.Errorf("panic %q, want one with %q", got, test.want)
				}
			}()
			ca.StartInMemory()
		})
	}
}

// Close ends what is under way, a validation that would take long too, and waits for it: if it did not,
// synctest would find goroutines left.
func TestCloseEndsGoroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		var ended time.Time
		ca := acmetest.NewUnstartedServer()
		ca.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			time.Sleep(time.Second) // which Close waits for
			ended = time.Now()
			return nil, ctx.Err()
		}
		ca.SetHost("*", "192.0.2.1")
		ca.StartInMemory()
		n.ca = ca
		c := newAccount(t, ca)
		o := c.newOrder("example.com")
		n.prove(c, o, "http-01")
		began := time.Now()
		ca.Close()
		if took := time.Since(began); took != time.Second || !ended.Equal(time.Now()) {
			t.Errorf("Close took %v; the validation ended at %v", took, ended)
		}
		if _, err := ca.Client().Get(ca.URL); err == nil {
			t.Error("the server answers after Close")
		}
	})
}

// A client in memory goes by the request's context, as one on a socket does.
func TestInMemoryClientObeysContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := acmetest.NewUnstartedServer()
		release := make(chan struct{})
		ca.OnAccount = func(acmetest.Account) { <-release } // holds the answer back
		ca.StartInMemory()
		c := newClient(t, ca)
		url := c.resource("newAccount")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		body := c.sign(url, map[string]any{"termsOfServiceAgreed": true}, nil)
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(string(body)))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", "application/jose+json")
		began := time.Now()
		if _, err = ca.Client().Do(request); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v, want that the deadline is exceeded", err)
		}
		if took := time.Since(began); took != time.Minute {
			t.Errorf("the request took %v", took)
		}
		close(release)
		ca.Close()
	})
}

func TestInMemoryClientReachesNothingElse(t *testing.T) {
	ca := inMemory(t)
	if ca.URL != "https://acmetest.invalid/directory" {
		t.Errorf("URL %s", ca.URL)
	}
	for _, url := range []string{"https://example.com/directory", "http://acmetest.invalid/directory", "https://acmetest.invalid:444/directory"} {
		if _, err := ca.Client().Get(url); err == nil {
			t.Errorf("%s was answered", url)
		}
	}
}

// Nobody's key authorization, MAC key or body may end up in the log.
func TestLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		var log strings.Builder
		ca := n.newCA(t, func(ca *acmetest.Server) {
			ca.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		})
		c := newAccount(t, ca)
		n.obtain(c, "example.com")
		c.post(c.resource("newOrder"), map[string]any{"identifiers": identify("a\nb")}).want(http.StatusBadRequest, "malformed")
		ca.Close()
		for _, want := range []string{"account created", "order created", "challenge validated", "certificate issued", "request refused", "example.com"} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("the log lacks %q:\n%s", want, &log)
			}
		}
		key, _ := c.key.(*ecdsa.PrivateKey)
		if d, err := key.Bytes(); err != nil || strings.Contains(log.String(), fmt.Sprintf("%x", d)) || strings.Contains(log.String(), "a\nb") {
			t.Errorf("the log holds what it should not (%v):\n%s", err, &log)
		}
	})
}
