package certmanager_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/acme/acmetest"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/certmanager/statuspage"
	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/solver/diagnose"
	"github.com/everseal/everseal/storage"
)

// zeroCalls are calls of all exported functions, and of some methods, with little or nothing in their arguments,
// by their names and what is special about them.
func zeroCalls() map[string]func(ctx context.Context) any {
	calls := map[string]func(ctx context.Context) any{
		"acme.CertificateID":             func(context.Context) any { return errorOf(acme.CertificateID(&x509.Certificate{})) },
		"acme.CertificateID of nil":      func(context.Context) any { return errorOf(acme.CertificateID(nil)) },
		"acme.IsOutage":                  func(context.Context) any { return acme.IsOutage(nil) },
		"acme.IsOutage of problems":      func(context.Context) any { return acme.IsOutage(&acme.OrderError{Problem: &acme.Problem{}}) },
		"acme.ParseIdentifier":           func(context.Context) any { return errorOf(acme.ParseIdentifier("")) },
		"acme.ParseMACKey":               func(context.Context) any { return errorOf(acme.ParseMACKey("")) },
		"acme.As":                        func(context.Context) any { _, ok := acme.As[acme.Solver](nil); return ok },
		"acme.Supports":                  func(context.Context) any { return acme.Supports(new(solver.HTTP01), acme.Identifier{}, false) },
		"acme.Certificate.Verify of nil": func(context.Context) any { return (*acme.Certificate)(nil).Verify(nil, nil, time.Time{}) },
		"acme.OrderError.Error of parts": func(context.Context) any { return &acme.OrderError{Authorizations: []*acme.AuthorizationError{{}, {}}} },
		"acme.Problem.Error of parts": func(context.Context) any {
			return &acme.Problem{Identifier: &acme.Identifier{}, Subproblems: []*acme.Problem{{}, nil}}
		},
		"acme.Client.Issue":                      func(ctx context.Context) any { return errorOf(noClient().Issue(ctx, acme.Request{})) },
		"acme.Client.Register":                   func(ctx context.Context) any { return errorOf(noClient().Register(ctx, acme.Registration{})) },
		"acme.Client.ChangeKey":                  func(ctx context.Context) any { return noClient().ChangeKey(ctx, nil) },
		"solver.IsChallenge":                     func(context.Context) any { return solver.IsChallenge(&tls.ClientHelloInfo{}) },
		"solver.AnswerTime":                      func(context.Context) any { return errorOf(solver.AnswerTime(nil)) },
		"solver.IsChallenge of nil":              func(context.Context) any { return solver.IsChallenge(nil) },
		"solver.TLSALPN01.GetCertificate":        func(context.Context) any { return errorOf(new(solver.TLSALPN01).GetCertificate(challengeHello())) },
		"solver.TLSALPN01.GetCertificate of nil": func(context.Context) any { return errorOf(new(solver.TLSALPN01).GetCertificate(nil)) },
		"solver.DNS01.WithStorage of nil":        func(context.Context) any { return new(solver.DNS01).WithStorage(nil) },
		"solver.HTTP01.WithStorage of nil":       func(context.Context) any { return new(solver.HTTP01).WithStorage(nil) },
		"solver.TLSALPN01.WithStorage of nil":    func(context.Context) any { return new(solver.TLSALPN01).WithStorage(nil) },
		"diagnose.Report.String of nil":          func(context.Context) any { return (*diagnose.Report)(nil) },
		"solver.ServerAnswer.String":             func(context.Context) any { return &solver.PropagationError{Servers: []solver.ServerAnswer{{}, {}}} },
		"diagnose.Before":                        func(ctx context.Context) any { return diagnose.Before(ctx, acme.Proof{}, diagnose.Vantage{}) },
		"diagnose.After":                         func(ctx context.Context) any { return diagnose.After(ctx, acme.Proof{}, nil, diagnose.Vantage{}) },
		"diagnose.Visible":                       func(ctx context.Context) any { return diagnose.Visible(ctx, acme.Proof{}, diagnose.Vantage{}) },
		"solver.LegoV4":                          func(ctx context.Context) any { return solver.LegoV4(nil).Present(ctx, proof(acme.TypeDNS01)) },
		"solver.LegoV5":                          func(ctx context.Context) any { return solver.LegoV5(nil).CleanUp(ctx, proof(acme.TypeDNS01)) },
		"storage.CheckKey":                       func(context.Context) any { return storage.CheckKey("") },
	}
	for _, more := range []map[string]func(ctx context.Context) any{storageCalls(), managerCalls()} {
		for name, call := range more {
			calls[name] = call
		}
	}
	return calls
}

func storageCalls() map[string]func(ctx context.Context) any {
	acquire := func(key string, term time.Duration) func(ctx context.Context) any {
		return func(ctx context.Context) any {
			lease, err := storage.Acquire(ctx, new(storage.Memory), key, term)
			if lease == nil {
				return err
			}
			return []any{lease.Save(ctx, nil), lease.Release(ctx), lease.Release(ctx), lease.Save(ctx, nil), lease.Context()}
		}
	}
	keep := func(old []byte) ([]byte, error) { return old, nil }
	return map[string]func(ctx context.Context) any{
		"storage.Acquire":           acquire("", 0),
		"storage.Acquire no key":    acquire("", time.Second),
		"storage.Acquire no term":   acquire("a", 0),
		"storage.Acquire negative":  acquire("a", math.MinInt64),
		"storage.Acquire shortest":  acquire("a", 10*time.Millisecond),
		"storage.Acquire longest":   acquire("a", math.MaxInt64),
		"storage.Acquire of nil":    func(ctx context.Context) any { return errorOf(storage.Acquire(ctx, nil, "a", time.Second)) },
		"storage.Acquire of no Dir": func(ctx context.Context) any { return errorOf(storage.Acquire(ctx, storage.Dir(""), "a", time.Second)) },
		"storage.Cached": func(ctx context.Context) any {
			return errorOf(storage.Cached(nil, nil).Load(ctx, "a"))
		},
		"storage.LeaseValue":          func(context.Context) any { _, _, err := storage.LeaseValue(nil); return err },
		"storage.Scan":                func(ctx context.Context) any { return storage.Scan(ctx, new(storage.Memory), "", "x") },
		"storage.Scan of nil":         func(ctx context.Context) any { return storage.Scan(ctx, nil, "", "") },
		"storage.Scan of no Dir":      func(ctx context.Context) any { return storage.Scan(ctx, storage.Dir(""), "a", "") },
		"storage.Check":               func(ctx context.Context) any { return storage.Check(ctx, new(storage.Memory)) },
		"storage.Check of nil":        func(ctx context.Context) any { return storage.Check(ctx, nil) },
		"storage.As":                  func(context.Context) any { _, ok := storage.As[storage.Scanner](nil); return strconv.FormatBool(ok) },
		"storage.Admit":               func(ctx context.Context) any { return storage.Admit(ctx, "", nil) },
		"storage.AdmitPrefix":         func(ctx context.Context) any { return storage.AdmitPrefix(ctx, "") },
		"storage.Within":              func(context.Context) any { return strconv.FormatBool(storage.Within("", "")) },
		"storage.Conflict":            func(context.Context) any { return storage.Conflict("a") },
		"storage.NotExist":            func(context.Context) any { return storage.NotExist("a") },
		"storage.SealingKeys":         func(context.Context) any { _, err := storage.SealingKeys(); return err },
		"storage.SealingKeys nil":     func(context.Context) any { _, err := storage.SealingKeys(nil); return err },
		"storage.Update":              func(ctx context.Context) any { return errorOf(storage.Update(ctx, new(storage.Memory), "", keep)) },
		"storage.Update of nil":       func(ctx context.Context) any { return errorOf(storage.Update(ctx, nil, "a", keep)) },
		"storage.Update of no Dir":    func(ctx context.Context) any { return errorOf(storage.Update(ctx, storage.Dir(""), "a", keep)) },
		"storage.Lease.Save too much": func(ctx context.Context) any { return new(storage.Lease).Save(ctx, make([]byte, storage.MaxValue)) },
	}
}

func managerCalls() map[string]func(ctx context.Context) any {
	created := func(config certmanager.Config) func(ctx context.Context) any {
		return func(context.Context) any { return errorOf(certmanager.New(config)) }
	}
	with := func(call func(ctx context.Context, m *certmanager.Manager) any) func(ctx context.Context) any {
		return func(ctx context.Context) any {
			m, err := certmanager.New(certmanager.Config{AgreeToTerms: true, Storage: new(storage.Memory)})
			if err != nil {
				panic(err)
			}
			return call(ctx, m)
		}
	}
	type manager = certmanager.Manager
	return map[string]func(ctx context.Context) any{
		"statuspage.Handler of nil": func(context.Context) any {
			answer := httptest.NewRecorder()
			statuspage.Handler(nil).ServeHTTP(answer, httptest.NewRequest("GET", "/", nil))
			return errors.New(answer.Body.String())
		},
		"statuspage.Handler": with(func(_ context.Context, m *manager) any {
			answer := httptest.NewRecorder()
			statuspage.Handler(m).ServeHTTP(answer, httptest.NewRequest("GET", "/", nil))
			return strconv.Itoa(answer.Code)
		}),
		"certmanager.New":             created(certmanager.Config{}),
		"certmanager.New no name":     created(certmanager.Config{Names: []string{""}, AgreeToTerms: true, Storage: new(storage.Memory)}),
		"certmanager.New no subject":  created(certmanager.Config{Subjects: make([]certmanager.Subject, 1), AgreeToTerms: true, Storage: new(storage.Memory)}),
		"certmanager.New no issuer":   created(certmanager.Config{Issuers: make([]certmanager.Issuer, 1)}),
		"certmanager.New no solver":   created(certmanager.Config{Solvers: make([]acme.Solver, 1)}),
		"certmanager.New zero issuer": created(certmanager.Config{Issuers: []certmanager.Issuer{&certmanager.ACME{}, &certmanager.ACME{}}}),
		"certmanager.ACME.Issue": func(ctx context.Context) any {
			issuer := &certmanager.ACME{HTTPClient: noClient().HTTPClient}
			_, unstored := issuer.Bind(certmanager.Services{AgreeToTerms: true})
			bound, err := issuer.Bind(certmanager.Services{AgreeToTerms: true, Storage: new(storage.Memory)})
			if err != nil {
				panic(err)
			}
			return []any{unstored, errorOf(issuer.Issue(ctx, certmanager.Request{})), errorOf(issuer.Issue(ctx, certmanager.Request{Bound: bound}))}
		},
		"certmanager.Manager.Manage": with(func(_ context.Context, m *manager) any { return []any{m.Manage(), m.Manage(certmanager.Subject{})} }),
		"certmanager.ACME.Revoke": func(ctx context.Context) any {
			issuer := &certmanager.ACME{HTTPClient: noClient().HTTPClient}
			bound, err := issuer.Bind(certmanager.Services{AgreeToTerms: true, Storage: new(storage.Memory)})
			if err != nil {
				panic(err)
			}
			return bound.(interface {
				Revoke(context.Context, certmanager.Revocation) error
			}).Revoke(ctx, certmanager.Revocation{})
		},
		"certmanager.Manager.Forget":   with(func(_ context.Context, m *manager) any { return []any{m.Forget(), m.Forget("")} }),
		"certmanager.Manager.Delete":   with(func(ctx context.Context, m *manager) any { return []any{m.Delete(ctx), m.Delete(ctx, "")} }),
		"certmanager.Manager.RenewAll": with(func(_ context.Context, m *manager) any { return strconv.Itoa(m.RenewAll(nil)) }),
		"certmanager.Manager.Revoke":   with(func(ctx context.Context, m *manager) any { return m.Revoke(ctx, "", 0) }),
		"certmanager.Manager.Import":   with(func(ctx context.Context, m *manager) any { return m.Import(ctx, nil, nil) }),
		"certmanager.Manager.Renew":    with(func(ctx context.Context, m *manager) any { return m.Renew(ctx, "") }),
		"certmanager.Manager.All":      with(func(_ context.Context, m *manager) any { return statuses(m) }),
		"certmanager.Manager.Status":   with(func(_ context.Context, m *manager) any { _, ok := m.Status(""); return ok }),
		"certmanager.Manager.GetCertificate": with(func(_ context.Context, m *manager) any {
			return []any{errorOf(m.GetCertificate(nil)), errorOf(m.GetCertificate(&tls.ClientHelloInfo{})), errorOf(m.GetCertificate(challengeHello()))}
		}),
		"certmanager.Manager.HTTPHandler": with(func(_ context.Context, m *manager) any { return m.HTTPHandler(nil) }),
		"certmanager.Manager.Listener":    with(func(_ context.Context, m *manager) any { return m.Listener(closedListener{}) }),
		"certmanager.Manager.Serve":       with(func(ctx context.Context, m *manager) any { return m.Serve(ctx, nil) }),
		"certmanager.Manager.Run": with(func(ctx context.Context, m *manager) any {
			ctx, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			return m.Run(ctx)
		}),
	}
}

// What is called with little or nothing works or says what is wrong.
func TestZeroCalls(t *testing.T) {
	for name, call := range zeroCalls() {
		for _, ended := range []bool{false, true} {
			try(t, name, ended, func(_ *testing.T, ctx context.Context) any { return call(ctx) })
		}
	}
}

// A client with an account is called with zero arguments.
func TestZeroArgumentsOfClient(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	fresh := func(t *testing.T) any {
		ca := acmetest.NewUnstartedServer()
		ca.StartInMemory()
		t.Cleanup(ca.Close)
		client := &acme.Client{DirectoryURL: ca.URL, Key: key, HTTPClient: ca.Client()}
		if _, err := client.Register(t.Context(), acme.Registration{AgreeToTerms: true}); err != nil {
			t.Fatal(err)
		}
		return client
	}
	walk(t, fresh, true)
	walk(t, fresh, false)
}

// Solvers without anything set, but that they reach no network, are given proofs that lack more or less.
func TestZeroProofs(t *testing.T) {
	dns := &solver.DNS{Resolvers: []string{"192.0.2.1"}, Dial: noDial}
	for _, s := range []acme.Solver{
		&solver.HTTP01{}, &solver.TLSALPN01{}, &solver.DNS01{DNS: dns}, &solver.DNSAccount01{DNS: dns},
		&solver.DNSPersist01{DNS: dns}, &solver.Lego{DNS: dns}, &solver.Webroot{}, &solver.Webroot{Dir: t.TempDir()},
		&solver.DNS01{DNS: dns, Provider: &solver.Exec{}}, &solver.DNS01{DNS: dns, Provider: &solver.Webhook{}},
		&solver.DNS01{DNS: dns, Provider: &solver.Exec{}, Zone: "example.com"}, &solver.DNS01{DNS: dns, Provider: &solver.Webhook{}, Zone: "example.com"},
	} {
		whole := proof(s.Type())
		unnamed, nameless, tokenless := whole, whole, whole
		unnamed.Identifier, nameless.Identifier.Value, tokenless.Token = acme.Identifier{}, "", ""
		noAuthorization, noIssuer := whole, whole
		noAuthorization.KeyAuthorization, noIssuer.Issuers = "", nil
		t.Run(s.Type(), func(t *testing.T) {
			for _, p := range []acme.Proof{{}, {Challenge: acme.Challenge{Type: s.Type()}}, unnamed, nameless, tokenless, noAuthorization, noIssuer, whole} {
				for _, ended := range []bool{false, true} {
					try(t, "proof", ended, func(_ *testing.T, ctx context.Context) any { return answer(ctx, s, p) })
					try(t, "Visible", ended, func(_ *testing.T, ctx context.Context) any {
						return diagnose.Visible(ctx, p, diagnose.Vantage{DNS: dns, Dial: noDial})
					})
					try(t, "After", ended, func(_ *testing.T, ctx context.Context) any {
						return diagnose.After(ctx, p, &acme.AuthorizationError{}, diagnose.Vantage{DNS: dns, Dial: noDial})
					})
				}
			}
		})
	}
}

// answer has the solver do all that it can with the proof, and returns the errors.
func answer(ctx context.Context, s acme.Solver, p acme.Proof) any {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Minute)
	defer cancel()
	errs := []any{s.Present(ctx, p)}
	if waiting, ok := s.(interface {
		Wait(ctx context.Context, p acme.Proof) error
	}); ok {
		errs = append(errs, waiting.Wait(ctx, p))
	}
	return append(errs, s.CleanUp(ctx, p))
}

func proof(challengeType string) acme.Proof {
	return acme.Proof{
		Challenge:  acme.Challenge{Type: challengeType, Token: "token", Issuers: []string{"ca.example"}, AccountURI: "https://ca.example/account/1"},
		Identifier: acme.Identifier{Type: acme.TypeDNS, Value: "example.com"}, KeyAuthorization: "token.thumbprint",
	}
}

func challengeHello() *tls.ClientHelloInfo {
	return &tls.ClientHelloInfo{SupportedProtos: []string{certmanager.ALPNProto}}
}

func errorOf[T any](_ T, err error) error { return err }

func noDial(ctx context.Context, network, _ string) (net.Conn, error) {
	return nil, &net.OpError{Op: "dial", Net: network, Err: errors.New("there is no network")}
}

// noClient returns a client that is zero but that it reaches no network.
func noClient() *acme.Client {
	return &acme.Client{HTTPClient: &http.Client{Transport: &http.Transport{DialContext: noDial}}}
}
