package peers

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/storage"
)

func TestObtain(t *testing.T) {
	several := []string{"example.test", "www.example.test", "api.example.test", "mail.example.org"}
	tests := []struct {
		name   string
		http01 bool // rather than tls-alpn-01
		names  []string
	}{
		{"http-01", true, []string{"plain.example.test"}},
		{"tls-alpn-01", false, []string{"secure.example.test"}},
		{"several names by http-01", true, several},
		{"several names by tls-alpn-01", false, several},
		{"IP address by http-01", true, []string{"127.0.0.1"}},
		{"IP address by tls-alpn-01", false, []string{"127.0.0.1"}},
		{"name and IP address", false, []string{"both.example.test", "127.0.0.1"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := startPebble(t, pebbleSettings{})
			config := certmanager.Config{
				Subjects: []certmanager.Subject{{Names: test.names}},
				Storage:  new(storage.Memory),
			}
			if test.http01 {
				config.Solvers = []acme.Solver{&solver.HTTP01{Storage: config.Storage}}
			}
			s := startServer(t, p, config)
			event := s.events.wait(t, certmanager.EventObtained, test.names[0])
			for _, name := range test.names {
				if got := serial(s.served(t, name)); got != event.Serial {
					t.Errorf("%s is served with serial number %s, want %s, the obtained one", name, got, event.Serial)
				}
			}
			p.wants(t, 1, 1)
			if p.accounts() != 1 {
				t.Errorf("the CA has %d accounts, want 1", p.accounts())
			}
			status := s.settled(t, test.names[0])
			if status.State != certmanager.StateValid || status.Failure != nil || !slices.Equal(slices.Sorted(slices.Values(test.names)), status.Names) {
				t.Errorf("status %+v", status)
			}
			used, unused := p.tls, p.http
			if test.http01 {
				used, unused = unused, used
			}
			if used.connections.Load() == 0 || unused.connections.Load() != 0 {
				t.Errorf("%d connections to port 80 and %d to port 443", p.http.connections.Load(), p.tls.connections.Load())
			}
		})
	}
}

// The CA refuses three of ten good nonces: each costs a request more, and no order or certificate.
func TestObtainBadNonces(t *testing.T) {
	p := startPebble(t, pebbleSettings{badNonces: 30})
	names := []string{"one.example.test", "two.example.test", "three.example.test", "four.example.test", "five.example.test"}
	several := []string{"six.example.test", "seven.example.test", "eight.example.test"}
	s := startServer(t, p, certmanager.Config{Names: names, Subjects: []certmanager.Subject{{Names: several}}})
	for _, name := range append(names, several...) {
		s.events.wait(t, certmanager.EventObtained, name)
		s.served(t, name)
	}
	p.wants(t, len(names)+1, len(names)+1)
	if p.accounts() != 1 {
		t.Errorf("the CA has %d accounts, want 1", p.accounts())
	}
}

// What a CA refuses is reported in its words, and holds up nothing else.
func TestObtainRefused(t *testing.T) {
	p := startPebble(t, pebbleSettings{})
	if err := p.database.AddBlockedDomain("forbidden.test"); err != nil {
		t.Fatal(err)
	}
	good := []string{"first.example.test", "second.example.test", "third.example.test"}
	const policy, resolve = "issuance is forbidden by policy", "Could not resolve"
	refused := []struct{ name, culprit, words string }{
		{"www.forbidden.test", "www.forbidden.test", policy},
		{"www.nowhere.test", "www.nowhere.test", resolve},
		{"a.together.test", "b.forbidden.test", policy},
		{"a.alongside.test", "b.nowhere.test", resolve},
	}
	s := startServer(t, p, certmanager.Config{
		Names: append([]string{refused[0].name, refused[1].name}, good...),
		Subjects: []certmanager.Subject{
			{Names: []string{refused[2].name, refused[2].culprit}},
			{Names: []string{refused[3].name, refused[3].culprit}},
		},
	})
	for _, name := range good {
		s.events.wait(t, certmanager.EventObtained, name)
		s.served(t, name)
	}
	for _, want := range refused {
		event := s.events.wait(t, certmanager.EventFailed, want.name)
		status := s.settled(t, want.name)
		if status.State == certmanager.StateValid || status.Failure == nil || !status.Next.After(status.Failure.Time) {
			t.Fatalf("status of %s: %+v", want.name, status)
		}
		_, err := s.GetCertificate(&tls.ClientHelloInfo{ServerName: want.name})
		for where, err := range map[string]error{"event": event.Err, "status": status.Failure.Err, "handshake": err} {
			if err == nil || !strings.Contains(err.Error(), want.culprit) || !strings.Contains(err.Error(), want.words) {
				t.Errorf("%s of %s says %v; want the name %s and the CA's words %q", where, want.name, err, want.culprit, want.words)
			}
		}
	}
	if n := len(p.certificates("")); n != len(good) {
		t.Errorf("the CA has issued %d certificates, want %d", n, len(good))
	}
}

// An answer that is lost on its way, whichever it is, costs no certificate: neither an issued one nor a second one.
func TestLostAnswer(t *testing.T) {
	const mostRequests = 100
	p := startPebble(t, pebbleSettings{})
	for request, lost := 1, true; lost; request++ {
		if request > mostRequests {
			t.Fatalf("an issuance takes more than %d requests", mostRequests)
		}
		name := fmt.Sprintf("lost-%d.example.test", request)
		var seen atomic.Bool
		p.traffic.divert(func(number int, serve func()) {
			serve()
			if number == request {
				seen.Store(true)
				panic(http.ErrAbortHandler)
			}
		})
		s := startServer(t, p, certmanager.Config{Names: []string{name}})
		s.events.wait(t, certmanager.EventObtained, name)
		s.served(t, name)
		if n := len(p.certificates(name)); n != 1 {
			t.Errorf("with the answer to request %d lost the CA has issued %d certificates, want 1", request, n)
		}
		s.stop()
		lost = seen.Load()
	}
}
