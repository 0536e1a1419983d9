package acmetest_test

import (
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/everseal/everseal/acme/acmetest"
)

// unstartedServers returns one that was never started, one that was closed without it, and one that a caller has made.
func unstartedServers() map[string]*acmetest.Server {
	closed := acmetest.NewUnstartedServer()
	closed.Close()
	return map[string]*acmetest.Server{"unstarted": acmetest.NewUnstartedServer(), "closed": closed, "zero": {}}
}

// Every method of every exported type does something sensible, before a server is started, too.
func TestZeroValues(t *testing.T) {
	answered := func(fault acmetest.Fault, status int) func(*acmetest.Server) string {
		return func(*acmetest.Server) string { return statusThrough(fault, status) }
	}
	calls := map[string]func(*acmetest.Server) string{
		"Certificates":    func(s *acmetest.Server) string { return empty(len(s.Certificates())) },
		"Orders":          func(s *acmetest.Server) string { return empty(len(s.Orders())) },
		"Requests":        func(s *acmetest.Server) string { return empty(len(s.Requests())) },
		"RootPEM":         func(s *acmetest.Server) string { return empty(len(s.RootPEM())) },
		"Roots":           func(s *acmetest.Server) string { return no(!s.Roots().Equal(x509.NewCertPool())) },
		"Revoked":         func(s *acmetest.Server) string { _, revoked := s.Revoked(big.NewInt(1)); return no(revoked) },
		"Client":          clientSaysWhy,
		"Close":           func(s *acmetest.Server) string { s.Close(); return "" },
		"SetHost":         func(s *acmetest.Server) string { s.SetHost("*", "127.0.0.1"); s.SetHost("*", ""); return "" },
		"SetTXT":          func(s *acmetest.Server) string { s.SetTXT("a", "b"); s.SetTXT("a"); return "" },
		"Refuse":          func(s *acmetest.Server) string { s.Refuse("a"); return "" },
		"FailValidations": func(s *acmetest.Server) string { s.FailValidations("a", 1); return "" },
		"Unpause":         func(s *acmetest.Server) string { s.Unpause("a"); return "" },
		"SetRenewalInfo": func(s *acmetest.Server) string {
			s.SetRenewalInfo(big.NewInt(1), acmetest.RenewalInfo{})
			return ""
		},
		"SetFaults":    func(s *acmetest.Server) string { s.SetFaults(nil, acmetest.Cut(), nil); s.SetFaults(); return "" },
		"BadNonce":     func(s *acmetest.Server) string { return statusThrough(s.BadNonce(), 400) },
		"RateLimited":  func(s *acmetest.Server) string { return statusThrough(s.RateLimited(""), 429) },
		"Problem":      func(s *acmetest.Server) string { return statusThrough(s.Problem(0, "", ""), 400) },
		"Processing":   func(s *acmetest.Server) string { return statusThrough(s.Processing(1), 200) },
		"Invalidate":   func(s *acmetest.Server) string { return statusThrough(s.Invalidate("", ""), 200) },
		"FailIssuance": func(s *acmetest.Server) string { return statusThrough(s.FailIssuance("", ""), 200) },
		"Misissue":     func(s *acmetest.Server) string { return statusThrough(s.Misissue(nil), 500) },
		"Start": func(s *acmetest.Server) string {
			return panicOf(s.Start)
		},
		"StartInMemory": func(s *acmetest.Server) string { return panicOf(s.StartInMemory) },

		"Fault": answered(nil, 200),
		"All":   answered(acmetest.All(nil, nil), 200),
		"On":    answered(acmetest.On("order", nil), 200),
		"Next":  answered(acmetest.Next(1, nil), 200),
		"Share": answered(acmetest.Share(1, nil), 200),
		"Edit":  answered(acmetest.Edit(nil), 200),
		"Response": answered(acmetest.Edit(func(r *acmetest.Response) {
			*r = acmetest.Response{}
		}), 200),
		"Answer": answered(acmetest.Answer(0, "", ""), 200),
	}
	for name, call := range calls {
		for kind, server := range unstartedServers() {
			t.Run(name+"/"+kind, func(t *testing.T) {
				wantPanic := kind == "closed" && strings.HasPrefix(name, "Start")
				if got := call(server); (got != "") != wantPanic {
					t.Error(got)
				} else if wantPanic && !strings.Contains(got, "closed") {
					t.Errorf("Start of a closed server says %q", got)
				}
				server.Close()
			})
		}
	}
	for method := range reflect.TypeFor[*acmetest.Server]().Methods() {
		if calls[method.Name] == nil {
			t.Errorf("Server.%s is not in this table", method.Name)
		}
	}
}

// clientSaysWhy uses the client of a server that does not run.
func clientSaysWhy(s *acmetest.Server) string {
	response, err := s.Client().Get("https://acmetest.invalid/directory")
	if err == nil {
		_ = response.Body.Close()
		return "the client of a server that does not run got an answer"
	}
	if !strings.Contains(err.Error(), "not been started") {
		return "the error does not say why: " + err.Error()
	}
	return ""
}

// statusThrough has a request for a certificate go through the fault, to a handler that answers with one.
func statusThrough(fault acmetest.Fault, want int) string {
	server := httptest.NewUnstartedServer(nil)
	server.Config.Handler = acmetest.All(fault)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = pem.Encode(w, &pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	}))
	server.StartTLS()
	defer server.Close()
	response, err := server.Client().Post(server.URL+"/certificate/1", "", nil)
	if err != nil {
		return err.Error()
	}
	_ = response.Body.Close()
	if response.StatusCode != want {
		return response.Status
	}
	return ""
}

func empty(n int) string { return no(n > 0) }

func no(is bool) string {
	if is {
		return "there is something where there can be nothing yet"
	}
	return ""
}

func panicOf(f func()) (said string) {
	defer func() {
		if reason := recover(); reason != nil {
			said, _ = reason.(string)
			if said == "" {
				said = "a panic that says nothing"
			}
		}
	}()
	f()
	return ""
}

// A server that a caller has made is like one from NewUnstartedServer.
func TestZeroServer(t *testing.T) {
	ca := &acmetest.Server{Lifetime: time.Hour}
	ca.SetHost("*", "192.0.2.1")
	ca.StartInMemory()
	defer ca.Close()
	c := newAccount(t, ca)
	c.newOrder("example.com")
	c.get(ca.URL).want(http.StatusOK, "")
}

func TestLimitWithoutPeriod(t *testing.T) {
	for _, limit := range []acmetest.Limit{{}, {Count: 1}, {Count: 1, Per: -time.Hour}, {Count: -1, Per: time.Hour}, {Per: time.Hour}} {
		ca := &acmetest.Server{RateLimits: acmetest.RateLimits{NewOrders: limit}}
		ca.StartInMemory()
		c := newAccount(t, ca)
		for range 3 {
			c.newOrder("example.com")
		}
		ca.Close()
	}
}

// What can't be kept from before is said at the start.
func TestUnusableAccounts(t *testing.T) {
	kept := make(chan acmetest.Account, 1)
	first := &acmetest.Server{OnAccount: func(a acmetest.Account) { kept <- a }}
	first.StartInMemory()
	defer first.Close()
	newAccount(t, first)
	good := <-kept
	for want, change := range map[string]func(*acmetest.Account){
		"no ID":      func(a *acmetest.Account) { a.ID = "" },
		"the status": func(a *acmetest.Account) { a.Status = "revoked" },
		"JWK":        func(a *acmetest.Account) { a.Key = nil },
		"has none":   func(a *acmetest.Account) { *a = acmetest.Account{} },
	} {
		changed := good
		change(&changed)
		ca := &acmetest.Server{Accounts: []acmetest.Account{changed}}
		if got := panicOf(ca.StartInMemory); !strings.Contains(got, want) && want != "has none" || !strings.Contains(got, "Accounts") {
			t.Errorf("%s: %q", want, got)
		}
		ca.Close()
	}
	good.Status = ""
	ca := &acmetest.Server{Accounts: []acmetest.Account{good}}
	ca.StartInMemory()
	ca.Close()
}
