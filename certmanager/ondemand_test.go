package certmanager_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/certmanager"
)

// A policy answers for Config.OnDemand, and keeps the names it was asked for.
type policy struct {
	mu     sync.Mutex
	answer error
	asked  []string
	probes []certmanager.Question
}

func (p *policy) ask(_ context.Context, q certmanager.Question) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if isProbe(q.Name) {
		p.probes = append(p.probes, q)
		return p.answer
	}
	p.asked = append(p.asked, q.Name)
	return p.answer
}

// isProbe reports whether the name is such as the manager makes up to see whether all names are allowed.
func isProbe(name string) bool {
	return len(name) == len("abcdefghijklmnopqrstuvwxyz.com") && strings.HasSuffix(name, ".com")
}

func (p *policy) set(answer error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = answer
}

func (p *policy) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.asked)
}

// turnsAway checks that a handshake for the name gets neither a certificate nor an error.
func turnsAway(t *testing.T, m *certmanager.Manager, name string) {
	t.Helper()
	if certificate, err := ask(t, m, name); certificate != nil || err != nil {
		t.Errorf("%s: a certificate is %t, %v; want nil, nil", name, certificate != nil, err)
	}
}

var (
	errForbidden   = fmt.Errorf("%w: it is not one of our customers'", certmanager.ErrDenied)
	errUnreachable = errors.New("the customer database can't be reached")
)

// onDemand returns a configuration without names and with the policy.
func (w *world) onDemand(p *policy) certmanager.Config {
	config := w.config()
	config.OnDemand = p.ask
	return config
}

func TestOnDemandFiftyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		front, release := w.front(), make(chan struct{})
		front.answerWith(untilReleased("newOrder", release))
		var allowed policy
		config := w.onDemand(&allowed)
		acmeOf(config).HTTPClient = front.client()
		_, stop := w.running(config)
		defer stop()

		impatient, hangUp := context.WithCancel(t.Context())
		var group sync.WaitGroup
		group.Go(func() {
			if _, err := w.handshake(impatient, "example.com"); !errors.Is(err, context.Canceled) {
				t.Errorf("the client that hung up: %v", err)
			}
		})
		synctest.Wait()
		hangUp()
		group.Wait()
		leaves := make([]*x509.Certificate, 50)
		for i := range leaves {
			group.Go(func() {
				var err error
				if leaves[i], err = w.handshake(t.Context(), "example.com"); err != nil {
					t.Errorf("handshake %d: %v", i, err)
				}
			})
		}
		synctest.Wait()
		close(release)
		group.Wait()
		for i, leaf := range leaves {
			if leaf == nil || !leaf.Equal(leaves[0]) {
				t.Fatalf("handshake %d was served another certificate than the first", i)
			}
		}
		if orders, asked := w.newOrders(), allowed.count(); orders != 1 || asked != 1 {
			t.Errorf("%d orders, the policy asked %d times; want 1 and 1", orders, asked)
		}
	})
}

func TestOnDemandDenialIsRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		denying := policy{answer: errForbidden}
		config, logged := w.onDemand(&denying), new(bytes.Buffer)
		config.Logger = slog.New(slog.NewTextHandler(logged, nil))
		m, stop := w.running(config)
		defer stop()
		for range 20 {
			turnsAway(t, m, "example.com")
			time.Sleep(time.Second)
		}
		if n := denying.count(); n != 1 {
			t.Errorf("the policy was asked %d times in 20 s, want once", n)
		}
		if text := logged.String(); strings.Count(text, "customers") != 1 || !strings.Contains(text, "name=example.com") {
			t.Errorf("the log does not say once which name was denied and why:\n%s", text)
		}
		denying.set(nil)
		time.Sleep(time.Minute)
		if _, err := w.handshake(t.Context(), "example.com"); err != nil {
			t.Errorf("the denial is remembered for ever: %v", err)
		}
		if n := denying.count(); n != 2 {
			t.Errorf("the policy was asked %d times, want twice", n)
		}
		if n := w.newOrders(); n != 1 {
			t.Errorf("%d orders, want 1", n)
		}
	})
}

func TestOnDemandPolicyUnreachable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		p := policy{answer: errUnreachable}
		m, stop := w.running(w.onDemand(&p))
		defer stop()
		for range 3 {
			if _, err := ask(t, m, "example.com"); !errors.Is(err, errUnreachable) {
				t.Fatalf("the error does not say what failed: %v", err)
			}
		}
		if n := p.count(); n != 3 {
			t.Errorf("the policy was asked %d times, want each time", n)
		}
		p.set(nil)
		if _, err := w.handshake(t.Context(), "example.com"); err != nil {
			t.Error(err)
		}
	})
}

// TestOnDemandRestart shows that a certificate obtained before is served after a restart without an
// order, also while the policy can't be reached; but not where it now denies.
func TestOnDemandRestart(t *testing.T) {
	for _, test := range []struct {
		name   string
		answer error
		served bool
	}{
		{"allowed", nil, true},
		{"policy unreachable", errUnreachable, true},
		{"denied", errForbidden, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				var p policy
				_, stop := w.running(w.onDemand(&p))
				first, err := w.handshake(t.Context(), "example.com")
				if err != nil {
					t.Fatal(err)
				}
				stop()
				p.set(test.answer)
				m, stop := w.running(w.onDemand(&p))
				defer stop()
				second, err := w.handshake(t.Context(), "example.com")
				if test.answer == errForbidden && !strings.Contains(fmt.Sprint(err), "unrecognized name") {
					t.Errorf("the client of a denied name is told %v", err)
				}
				if (err == nil) != test.served || err == nil && !first.Equal(second) {
					t.Errorf("served: %t, %v", err == nil, err)
				}
				if n := w.newOrders(); n != 1 {
					t.Errorf("%d orders, want 1", n)
				}
				if status := statuses(m); test.served && (len(status) != 1 || !status[0].OnDemand || status[0].State != certmanager.StateValid) {
					t.Errorf("status: %+v", status)
				}
			})
		})
	}
}

func TestUnknownNamesWithoutPolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		m, stop := w.running(w.config("example.com"))
		defer stop()
		w.await(certmanager.EventObtained, "example.com", 1)
		for _, name := range append(impossibleNames(), "www.example.com", "example.net") {
			if certificate, err := ask(t, m, name); certificate != nil || err != nil {
				t.Errorf("%.40q: %v, %v; want nil, nil", name, certificate, err)
			}
		}
		_, err := w.handshake(t.Context(), "example.net")
		if !strings.Contains(fmt.Sprint(err), "unrecognized name") {
			t.Errorf("the client is told %v, want the alert unrecognized_name", err)
		}
		if n := w.newOrders(); n != 1 {
			t.Errorf("%d orders, want that for example.com", n)
		}
	})
}

// impossibleNames are such that no certificate may be obtained for them on demand.
func impossibleNames() []string {
	return []string{
		"localhost", "com", "192.0.2.7", "2001:db8::1", "[2001:db8::1]", "1.2.3.4.5",
		"a..b", ".example.com", "example.com.", "-a.example.com", "a_b.example.com",
		"*.example.com", "*", "bücher.example", "ex ample.com", "example.com/..", "../../etc/passwd",
		strings.Repeat("a", 64) + ".example.com", strings.Repeat("abc.", 75), strings.Repeat("a.", 126) + "com",
		"\x00.example.com", "\xff.example.com", "a\nb.example.com", "\u212a.example.com",
	}
}

// TestOnDemandImpossibleNames shows that what can't have a certificate costs neither a question nor
// an order. The wildcard can be proved here, but a client is not to have one made.
func TestOnDemandImpossibleNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var allowing policy
		config := w.onDemand(&allowing)
		config.Solvers = append(config.Solvers, newDNS01(w.ca))
		m, stop := w.running(config)
		defer stop()
		for _, name := range impossibleNames() {
			certificate, err := ask(t, m, name)
			if certificate != nil || err != nil {
				t.Errorf("%.40q: a certificate is %t, error %v; want nil, nil", name, certificate != nil, err)
			}
		}
		if len(allowing.asked) > 0 || w.newOrders() > 0 {
			t.Errorf("the policy was asked for %q, and %d orders were made", allowing.asked, w.newOrders())
		}
		if certificate, err := ask(t, m, ""); certificate != nil || err != nil {
			t.Errorf("without a name: %v, %v; want nil, nil", certificate, err)
		}
		if _, err := ask(t, m, "WWW.Example.COM"); err != nil {
			t.Errorf("upper case: %v", err)
		}
		if _, err := w.handshake(t.Context(), "www.example.com"); err != nil || w.newOrders() != 1 {
			t.Errorf("lower case after upper case: %d orders, %v", w.newOrders(), err)
		}
	})
}

// TestOnDemandWithoutContext calls GetCertificate with a hello that does not come from crypto/tls.
func TestOnDemandWithoutContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		m, stop := w.running(w.onDemand(new(policy)))
		defer stop()
		defer func() {
			if r := recover(); r != nil {
				t.Errorf("GetCertificate panics: %v", r)
			}
		}()
		if certificate, err := m.GetCertificate(&tls.ClientHelloInfo{ServerName: "example.com"}); certificate == nil && err == nil {
			t.Error("neither a certificate nor an error")
		}
	})
}

// TestOnDemandFailureIsRemembered shows that after a refusal by the CA handshakes fail with its reason
// and without another order until the next attempt is due, also after a restart. Then it is forgotten, unless a client asks.
func TestOnDemandFailureIsRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.ca.Refuse("example.com")
		m, stop := w.running(w.onDemand(new(policy)))
		began := time.Now()
		for range 5 {
			if _, err := ask(t, m, "example.com"); err == nil || !strings.Contains(err.Error(), "rejectedIdentifier") {
				t.Fatalf("the error does not have the CA's words: %v", err)
			}
			time.Sleep(5 * time.Second)
		}
		stop()
		m, stop = w.running(w.onDemand(new(policy)))
		defer stop()
		if _, err := ask(t, m, "example.com"); err == nil || !strings.Contains(err.Error(), "rejectedIdentifier") {
			t.Fatalf("after a restart the error does not have the CA's words: %v", err)
		}
		if n := w.newOrders(); n != 1 || time.Since(began) > time.Minute {
			t.Errorf("%d orders after %v, want 1", n, time.Since(began))
		}
		time.Sleep(time.Minute)
		if _, err := ask(t, m, "example.com"); err == nil {
			t.Error("a certificate for a name that the CA refuses")
		}
		if n := w.newOrders(); n != 2 {
			t.Errorf("%d orders when the next attempt was due, want 2", n)
		}
		status, known := m.Status("example.com")
		if !known || !status.OnDemand || status.State != certmanager.StateWaiting || status.Failure == nil || !status.Next.After(time.Now()) {
			t.Errorf("status of a name that failed on demand: %+v", status)
		}
		if s := m.Stats(); s.Failing != 1 || s.Overdue != 1 || len(statuses(m)) != 1 {
			t.Errorf("%+v", s)
		}
		time.Sleep(time.Until(status.Next))
		_, known = m.Status("example.com")
		if s := m.Stats(); s.Failing != 0 || s.Overdue != 0 || len(statuses(m)) != 0 || known {
			t.Errorf("a name that no client asks for any more is failing: %+v", s)
		}
	})
}

// A name that a managed wildcard covers is served by that, also when clients want it: none is ordered for it. A configured
// name has one of its own.
func TestManagedWildcardServesOnDemand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		p := new(policy)
		config := w.onDemandFrom(newLocalCA(t, "local"))
		config.OnDemand = p.ask
		config.Names = []string{"*.example.com", "www.example.com"}
		m, stop := w.running(config)
		defer stop()
		if err := m.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]string{"shop.example.com": "*.example.com", "www.example.com": "www.example.com", "example.net": "example.net"} {
			c, err := ask(t, m, name)
			if err != nil {
				t.Fatal(err)
			}
			if got := leafOf(t, c).DNSNames[0]; got != want {
				t.Errorf("%s is served by the certificate for %s", name, got)
			}
		}
		if !slices.Equal(p.asked, []string{"example.net"}) {
			t.Errorf("the policy was asked for %q", p.asked)
		}
	})
}
