package peers

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/everseal/everseal/acme"
)

// What was seen to go wrong with other libraries at this CA; each test would show it here.

// issueRecorded returns a client with an account, its recorder, and a request that the CA will grant.
func issueRecorded(t *testing.T, p *pebble, a *answers) (*acme.Client, *recorder, acme.Request) {
	t.Helper()
	plain, secure := a.serve(t)
	p.http.lead(plain)
	p.tls.lead(secure)
	client := newAccount(t, p)
	way := record(client)
	return client, way, acme.Request{Identifiers: identifiers(t, "example.test"), Key: newKey(t), Solvers: []acme.Solver{tokenSolver{a}}}
}

// A connection is cut at each request in turn, before the CA has seen it or after it has acted. Either way the same call
// ends in the certificate; no second one is issued, no second order made but where the answer to the first is what was
// lost, and no nonce sent twice.
func TestIssueLosesARequest(t *testing.T) {
	for _, answered := range []bool{false, true} {
		p := startPebble(t, pebbleSettings{})
		client, way, r := issueRecorded(t, p, new(answers))
		for number := 1; ; number++ {
			name := fmt.Sprintf("lost-%d.example.test", number)
			r.Identifiers = identifiers(t, name)
			way.forget(loss{number, answered})
			before := p.orders()
			_, err := client.Issue(within(t), r)
			asked := way.asked()
			if len(asked) < number {
				if number < 7 {
					t.Errorf("an issuance took %d requests: %q", len(asked), asked)
				}
				break // it was over before
			}
			lost := asked[number-1]
			if err != nil {
				t.Errorf("request %d lost, of %s (answered: %t): %v", number, lost, answered, err)
			}
			most := 1
			if lost == "order-plz" && answered {
				most = 2
			}
			if orders, issued := p.orders()-before, len(p.certificates(name)); orders > most || issued != 1 {
				t.Errorf("request %d lost, of %s (answered: %t): %d orders, %d certificates", number, lost, answered, orders, issued)
			}
		}
		way.repeatsNoNonce(t)
	}
}

// The context ends when the certificate has come: it is not thrown away, and nothing is asked for after it.
func TestIssueContextEndsAfterDownload(t *testing.T) {
	p := startPebble(t, pebbleSettings{})
	client, way, r := issueRecorded(t, p, new(answers))
	ctx, cancel := context.WithCancel(within(t))
	defer cancel()
	way.finished = func(request string) {
		if request == "certZ" {
			cancel()
		}
	}
	certificate, err := client.Issue(ctx, r)
	if err != nil {
		t.Fatal(err)
	}
	if ctx.Err() == nil {
		t.Error("no certificate was downloaded")
	}
	verify(t, p, certificate, r)
	if asked := way.asked(); asked[len(asked)-1] != "certZ" {
		t.Errorf("the requests were %q", asked)
	}
}

// A CA whose Retry-After lies in the past, and which takes its time, is not polled without a pause.
func TestIssueRetryAfterInThePast(t *testing.T) {
	for _, retryAfter := range []string{"Thu, 01 Jan 1970 00:00:00 GMT", "0", "-1"} {
		p := startPebble(t, pebbleSettings{})
		client, way, r := issueRecorded(t, p, &answers{delay: time.Second})
		next := way.next
		way.next = roundTripper(func(request *http.Request) (*http.Response, error) {
			response, err := next.RoundTrip(request)
			if err == nil {
				response.Header.Set("Retry-After", retryAfter)
			}
			return response, err
		})
		if _, err := client.Issue(within(t), r); err != nil {
			t.Fatal(err)
		}
		if polls := way.count("my-order"); polls > 20 {
			t.Errorf("Retry-After %s: %d polls in little more than a second", retryAfter, polls)
		}
	}
}

// A CA that does not answer holds up nobody at another one.
func TestSlowCADelaysNoOther(t *testing.T) {
	slow, p := startPebble(t, pebbleSettings{}), startPebble(t, pebbleSettings{})
	client, _, r := issueRecorded(t, p, new(answers))
	arrived, release := make(chan struct{}), make(chan struct{})
	arrive, ctx := sync.OnceFunc(func() { close(arrived) }), within(t)
	slow.traffic.divert(func(_ int, serve func()) {
		arrive()
		select {
		case <-release:
		case <-ctx.Done(): // or a test that fails would never end
		}
		serve()
	})
	waiting := newClient(t, slow)
	waiting.HTTPClient = client.HTTPClient
	ended := make(chan error, 1)
	go func() {
		_, err := waiting.Register(t.Context(), acme.Registration{AgreeToTerms: true})
		ended <- err
	}()
	<-arrived
	if _, err := client.Issue(ctx, r); err != nil {
		t.Error(err)
	}
	select {
	case err := <-ended:
		t.Errorf("the CA that does not answer answered: %v", err)
	default:
	}
	close(release)
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// Alternate chains are fetched only where one of them is wanted, and the nonces of one issuance serve the next.
func TestIssueAsksNoMore(t *testing.T) {
	var want []string
	for _, alternates := range []int{0, 3} {
		p := startPebble(t, pebbleSettings{alternates: alternates})
		client, way, r := issueRecorded(t, p, new(answers))
		for _, name := range []string{"first.example.test", "second.example.test"} {
			r.Identifiers = identifiers(t, name)
			way.forget(loss{})
			if _, err := client.Issue(within(t), r); err != nil {
				t.Fatal(err)
			}
			asked := slices.CompactFunc(way.asked(), func(a, b string) bool {
				return a == b && a == "my-order" // how often it is polled depends on the CA
			})
			if want == nil {
				want = asked
			}
			if !slices.Equal(asked, want) {
				t.Errorf("%d alternates: the requests are %q, want %q", alternates, asked, want)
			}
		}
		if n := way.count("nonce-plz") + way.count("dir"); n != 0 {
			t.Errorf("%d alternates: %d requests for nonces or the directory", alternates, n)
		}
	}
}

// With a preferred chain the alternates are fetched until it is found.
func TestIssueAsksForThePreferredChain(t *testing.T) {
	p := startPebble(t, pebbleSettings{alternates: 3})
	client, way, r := issueRecorded(t, p, new(answers))
	asked := make(map[int]int)
	for i := range 4 {
		r.PreferredChain = p.chains.GetRootCert(i).Cert.Subject.CommonName
		way.forget(loss{})
		if _, err := client.Issue(within(t), r); err != nil {
			t.Fatal(err)
		}
		asked[way.count("certZ")]++
	}
	for n := 1; n <= 4; n++ {
		if asked[n] != 1 {
			t.Errorf("of four chains, %d took %d downloads", asked[n], n)
		}
	}
}
