package solver_test

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/solver/internal/solvertest"
	"github.com/everseal/everseal/storage"
)

// Three members of a fleet on one storage: whichever presents, any of them answers, with several CAs
// asking at once, and none does when the answer is cleaned up.
func TestFleetAnswers(t *testing.T) {
	store := storage.Dir(t.TempDir())
	var web, tlsServers []string
	var http01 []*solver.HTTP01
	var tlsALPN01 []*solver.TLSALPN01
	for range 3 {
		h, s := &solver.HTTP01{Storage: store}, &solver.TLSALPN01{Storage: store}
		http01, tlsALPN01 = append(http01, h), append(tlsALPN01, s)
		web = append(web, solvertest.ServeHTTP(t, h.Handler(solvertest.Site())))
		server, _ := solvertest.ServeTLS(t, solvertest.NewServerConfig(t, s.GetCertificate))
		tlsServers = append(tlsServers, server)
	}
	var names sync.WaitGroup
	for i := range 4 {
		presenter, cleaner := i%3, (i+i/3)%3
		name := fmt.Sprintf("name%d.example", i)
		names.Go(func() {
			p := solvertest.WithToken(solvertest.NewProof(acme.TypeHTTP01, name), fmt.Sprint("token", i))
			validateAtAll(t, web, func(server string) error { return solvertest.ValidateHTTP01(t, server, p) }, http01[presenter], http01[cleaner], p)
		})
		names.Go(func() {
			p := solvertest.WithToken(solvertest.NewProof(acme.TypeTLSALPN01, name), fmt.Sprint("token", i))
			validateAtAll(t, tlsServers, func(server string) error { return solvertest.ValidateTLSALPN01(t, server, name, p) }, tlsALPN01[presenter], tlsALPN01[cleaner], p)
		})
	}
	names.Wait()
}

// validateAtAll lets a CA ask every server, from two places at once, between Present and CleanUp, and
// somebody ask for it later.
func validateAtAll(t *testing.T, servers []string, validate func(server string) error, presenter, cleaner acme.Solver, p acme.Proof) {
	if err := presenter.Present(t.Context(), p); err != nil {
		t.Error(err)
		return
	}
	var places sync.WaitGroup
	for _, server := range servers {
		for range 2 {
			places.Go(func() {
				if err := validate(server); err != nil {
					t.Errorf("%s for %s: %v", p.Type, p.Identifier, err)
				}
			})
		}
	}
	places.Wait()
	// Where another member cleans up, the presenter keeps the answer in its memory until it does so too.
	for _, s := range []acme.Solver{cleaner, presenter} {
		if err := s.CleanUp(t.Context(), p); err != nil {
			t.Error(err)
		}
	}
	for _, server := range servers {
		places.Go(func() {
			if err := validate(server); err == nil {
				t.Errorf("%s for %s is answered after CleanUp", p.Type, p.Identifier)
			}
		})
	}
	places.Wait()
}

// A request that is none of a CA's costs the storage nothing, and a CA's one load of one key, however
// many CAs have challenges pending. So does a scanner's, until it meets the bound.
func TestOneLoadPerRequest(t *testing.T) {
	store := new(watchedStore)
	elsewhere := solversOn(store)
	for i := range 3 {
		for _, s := range elsewhere {
			p := solvertest.WithToken(solvertest.NewProof(s.Type(), fmt.Sprintf("name%d.example", i)), fmt.Sprint("token", i))
			p.DirectoryURL = fmt.Sprintf("https://ca%d.example/directory", i)
			solvertest.Present(t, s, p)
		}
	}
	web := solvertest.ServeHTTP(t, (&solver.HTTP01{Storage: store}).Handler(solvertest.Site()))
	server, results := solvertest.ServeTLS(t, solvertest.NewServerConfig(t, (&solver.TLSALPN01{Storage: store}).GetCertificate))
	pending := solvertest.WithToken(solvertest.NewProof(acme.TypeHTTP01, "name1.example"), "token1")
	for name, test := range map[string]struct {
		request func() error
		loads   int
	}{
		"another path":     {func() error { _, _ = get(t, http.MethodGet, web, "/.well-known/security.txt"); return nil }, 0},
		"an unknown token": {func() error { _, _ = get(t, http.MethodGet, web, "/.well-known/acme-challenge/unknown"); return nil }, 1},
		"a pending token":  {func() error { return solvertest.ValidateHTTP01(t, web, pending) }, 1},
		"a browser":        {func() error { return browse(server, results) }, 0},
		"an unknown name":  {func() error { _ = handshake(t, server, "unknown.example", results); return nil }, 1},
		"a pending name":   {func() error { return handshake(t, server, "name1.example", results) }, 1},
	} {
		store.asked()
		if err := test.request(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if n := store.asked(); n != test.loads {
			t.Errorf("%s: storage was asked %d times, want %d", name, n, test.loads)
		}
	}
	store.asked()
	begun := time.Now()
	var scanners sync.WaitGroup
	for i := range 300 {
		scanners.Go(func() { _, _ = get(t, http.MethodGet, web, fmt.Sprint("/.well-known/acme-challenge/scan", i)) })
	}
	scanners.Wait()
	if n, allowed := store.asked(), 51+int(time.Since(begun)/(40*time.Millisecond)); n > allowed {
		t.Errorf("storage was asked %d times by a scanner's three hundred requests, %d are allowed", n, allowed)
	}
}

// browse makes the handshake of a client that is no CA, and returns what the server makes of it.
func browse(server string, results <-chan error) error {
	conn, err := tls.Dial("tcp", server, &tls.Config{ServerName: "name1.example", NextProtos: []string{"h2"}, InsecureSkipVerify: true})
	if err == nil {
		conn.Close()
	}
	return <-results
}
