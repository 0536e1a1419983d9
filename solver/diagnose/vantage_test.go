package diagnose_test

import (
	"context"
	"net"
	"net/http"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/solver/diagnose"
	"github.com/everseal/everseal/solver/internal/solvertest"
)

// The CA asked one of many addresses.
func TestManyAddresses(t *testing.T) {
	w := newWorld(t)
	server := solvertest.ServeHTTP(t, w.answering())
	for _, a := range []string{"192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5"} {
		w.add("example.com", "A", a)
		w.put(a+":80", server)
	}
	d := w.diagnose(overHTTP, refusal(acme.ErrConnection, "192.0.2.5: Fetching http://example.com/.well-known/acme-challenge/x: Timeout during connect (likely firewall problem)"))
	if d.Cause != diagnose.CauseVantagePoints {
		t.Errorf("%s: %v", d.Cause, d)
	}
}

// The CA names the address of the host that it was redirected to.
func TestRedirectAddress(t *testing.T) {
	w := newWorld(t)
	w.site(redirect("http://www.example.com/answer"))
	w.add("www.example.com", "A", "192.0.2.7")
	w.put("192.0.2.7:80", solvertest.ServeHTTP(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Write([]byte(overHTTP.KeyAuthorization))
	})))
	d := w.diagnose(overHTTP, refusal(acme.ErrConnection, "192.0.2.7: Fetching http://www.example.com/answer: Timeout during connect (likely firewall problem)"))
	if d.Cause != diagnose.CauseVantagePoints {
		t.Errorf("%s: %v", d.Cause, d)
	}
}

// Where DNS gets out to resolvers only, the visits do not wait for the authoritative servers.
func TestBlockedDNSOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dns := solvertest.NewMemoryDNS(t)
		zone := dns.Zone("example.com", "198.51.100.1")[0]
		zone.Add("example.com", "A", "192.0.2.1")
		zone.Answer(solvertest.Silent)
		refused := func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
		}
		start := time.Now()
		d := diagnose.Before(t.Context(), overHTTP, diagnose.Vantage{DNS: dnsFor(dns), Dial: refused})
		if waited := time.Since(start); waited > 3*time.Second || d.Cause != diagnose.CausePortClosed {
			t.Errorf("after %v: %q, %v", waited, d.Cause, d)
		}
	})
}

// Solvers ask as the vantage does, and what was given stays as it is.
func TestForSolvers(t *testing.T) {
	given := &solver.DNS{Resolvers: []string{"192.0.2.53"}}
	private := &solver.DNS{Private: true}
	for _, test := range []struct {
		vantage diagnose.Vantage
		same    *solver.DNS // that is returned; nil: another, unless there is none
		private bool
	}{
		{vantage: diagnose.Vantage{DNS: given}, same: given},
		{vantage: diagnose.Vantage{DNS: private}, same: private, private: true},
		{vantage: diagnose.Vantage{DNS: private, Private: true}, same: private, private: true},
		{vantage: diagnose.Vantage{DNS: given, Private: true}, private: true},
		{vantage: diagnose.Vantage{Private: true}, private: true},
	} {
		got := test.vantage.ForSolvers()
		if got == nil || got.Private != test.private || test.same != nil && got != test.same || test.vantage.DNS == given && got.Resolvers[0] != "192.0.2.53" {
			t.Errorf("%+v: %+v", test.vantage, got)
		}
	}
	if (diagnose.Vantage{}).ForSolvers() != nil || given.Private {
		t.Error("nothing becomes something, or what was given is changed")
	}
}
