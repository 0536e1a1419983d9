package chromium

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/certmanager/statuspage"
	"github.com/everseal/everseal/storage"
)

// An issuer is a local CA that refuses names, and keeps some waiting.
type issuer struct {
	certmanager.Issuer

	mu   sync.Mutex // guards what follows
	held []string
	asks func() // is called when one of them is asked for
}

func (i *issuer) Unwrap() certmanager.Issuer { return i.Issuer }

// Issue refuses all names below refused.example, and answers for those that are held only when it is called off.
func (i *issuer) Issue(ctx context.Context, r certmanager.Request) (*acme.Certificate, error) {
	name := r.Identifiers[0].Value
	if strings.HasSuffix(name, ".refused.example") {
		return nil, &acme.OrderError{Problem: &acme.Problem{Type: acme.ErrRejectedIdentifier, Status: http.StatusForbidden, RetryAfter: time.Hour,
			Detail: name + " is on a list of names that it does not issue for"}}
	}
	if i.holds(name) {
		i.asks()
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return i.Issuer.Issue(ctx, r)
}

func (i *issuer) holds(name string) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Contains(i.held, name)
}

func (i *issuer) hold(name string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.held = append(i.held, name)
}

// A site is a manager at work and its status page.
type site struct {
	t       testing.TB
	manager *certmanager.Manager
	issuer  *issuer
	changed chan struct{} // has something when something may have changed
	url     string
}

// newSite starts a manager with the names, and one more that is held: its certificate never comes.
func newSite(t testing.TB, held string, names ...string) *site {
	t.Helper()
	s := &site{t: t, changed: make(chan struct{}, 1)}
	change := func() {
		select {
		case s.changed <- struct{}{}:
		default:
		}
	}
	s.issuer = &issuer{Issuer: new(certmanager.LocalCA), held: []string{held}, asks: change}
	var err error
	s.manager, err = certmanager.New(certmanager.Config{Names: append(names, held), Issuers: []certmanager.Issuer{s.issuer}, Storage: new(storage.Memory),
		Logger: slog.New(slog.DiscardHandler), OnEvent: func(certmanager.Event) { change() }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.manager.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	server := httptest.NewServer(statuspage.Handler(s.manager))
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

// customers returns names of so many customers, seven of each.
func customers(n int) (names []string) {
	for i := range n {
		for _, host := range []string{"www", "mail", "shop", "api", "static", "intranet", "status"} {
			names = append(names, fmt.Sprintf("%s.customer-%05d.example", host, i))
		}
	}
	return names
}

// manage adds a certificate for all the names.
func (s *site) manage(names ...string) {
	s.t.Helper()
	if err := s.manager.Manage(certmanager.Subject{Names: names}); err != nil {
		s.t.Fatal(err)
	}
}

// await waits until the manager is as it is wanted.
func (s *site) await(what string, done func() bool) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	for !done() {
		select {
		case <-s.changed:
		case <-ctx.Done():
			s.t.Fatalf("it was not seen in %v that %s: %+v", patience, what, s.manager.Stats())
		}
	}
}

// settle waits until there is nothing more to obtain, but for what is held and what was refused.
func (s *site) settle(refused int) {
	s.t.Helper()
	s.await("all is settled", func() bool {
		n := s.manager.Stats()
		total := 0
		for _, count := range n.States {
			total += count
		}
		return n.Failing == refused && n.States[certmanager.StateObtaining] == 1 && n.States[certmanager.StateValid] == total-1-refused
	})
}

func (s *site) state(name string) certmanager.State {
	status, _ := s.manager.Status(name)
	return status.State
}
