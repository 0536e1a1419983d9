package certmanager

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/solver/diagnose"
	"github.com/everseal/everseal/storage"
)

// noProgram is a provider that does nothing.
var noProgram = &solver.Exec{Path: "true"}

// A legoProvider does nothing.
type legoProvider struct{}

func (legoProvider) Present(string, string, string) error { return nil }
func (legoProvider) CleanUp(string, string, string) error { return nil }

// Solvers that ask name servers do so from the manager's vantage point.
func TestSolversAskFromTheVantage(t *testing.T) {
	outside, own := &solver.DNS{Resolvers: []string{"192.0.2.53"}}, &solver.DNS{Resolvers: []string{"192.0.2.54"}}
	given := []acme.Solver{&solver.DNS01{Provider: noProgram}, &solver.DNS01{Provider: noProgram, DNS: own}, &solver.DNSAccount01{Provider: noProgram},
		new(solver.DNSPersist01), solver.LegoV4(legoProvider{})}
	m, err := New(Config{
		Issuers: []Issuer{&ACME{DirectoryURL: "https://ca.example/directory"}}, Storage: new(storage.Memory), Solvers: given,
		Vantage: diagnose.Vantage{DNS: outside, Private: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	var used []*solver.DNS
	for _, s := range m.proving.solvers {
		switch s := s.(type) {
		case *solver.DNS01:
			used = append(used, s.DNS)
		case *solver.DNSAccount01:
			used = append(used, s.DNS)
		case *solver.DNSPersist01:
			used = append(used, s.DNS)
		case *solver.Lego:
			used = append(used, s.DNS)
		}
	}
	if len(used) != len(given) {
		t.Fatalf("of %d solvers %d are used", len(given), len(used))
	}
	for i, dns := range used {
		want := outside
		if i == 1 {
			want = own
		}
		if dns == nil || dns.Resolvers[0] != want.Resolvers[0] || !dns.Private {
			t.Errorf("solver %d asks by %+v", i, dns)
		}
	}
	if outside.Private || own.Private {
		t.Error("what was given is changed")
	}
}

// Solvers that say something say it to the manager's logger, unless they have one of their own.
func TestSolversTellTheManagersLogger(t *testing.T) {
	managers, own := slog.New(slog.DiscardHandler), slog.New(slog.DiscardHandler)
	for _, given := range []*slog.Logger{nil, own} {
		lego := solver.LegoV4(legoProvider{})
		lego.Logger = given
		m, err := New(Config{
			Issuers: []Issuer{&ACME{DirectoryURL: "https://ca.example/directory"}}, Storage: new(storage.Memory), Logger: managers,
			Solvers: []acme.Solver{&solver.DNS01{Provider: noProgram, Logger: given}, &solver.DNS01{Provider: noProgram, Storage: new(storage.Memory), Logger: given},
				&solver.DNSAccount01{Provider: noProgram, Logger: given}, &solver.DNSPersist01{Logger: given}, lego, &solver.TLSALPN01{Logger: given}},
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range m.proving.solvers[:6] {
			if checked, ok := s.(*checkedSolver); ok {
				s = checked.Solver
			}
			if used := reflect.ValueOf(s).Elem().FieldByName("Logger").Interface(); used != cmp.Or(given, managers) {
				t.Errorf("%T, given %p, tells %p", s, given, used)
			}
		}
	}
}

// Solvers that keep something do so in the manager's storage, unless they have one of their own.
func TestSolversKeepThingsInTheManagersStorage(t *testing.T) {
	shared, own := new(storage.Memory), new(storage.Memory)
	for _, test := range []struct {
		given []acme.Solver
		want  storage.Store
	}{
		{[]acme.Solver{&solver.DNS01{Provider: noProgram}, &solver.DNSAccount01{Provider: noProgram}, new(solver.HTTP01), new(solver.TLSALPN01)}, shared},
		{[]acme.Solver{&solver.DNS01{Provider: noProgram, Storage: own}, &solver.DNSAccount01{Provider: noProgram, Storage: own}, &solver.HTTP01{Storage: own}, &solver.TLSALPN01{Storage: own}}, own},
		{nil, shared},
	} {
		m, err := New(Config{Issuers: []Issuer{&ACME{DirectoryURL: "https://ca.example/directory"}}, Storage: shared, Solvers: test.given})
		if err != nil {
			t.Fatal(err)
		}
		if under(m.proving.http01.Storage) != test.want || under(m.proving.tlsALPN01.Storage) != test.want {
			t.Error("the answers of servers are kept elsewhere")
		}
		for _, s := range m.proving.solvers {
			switch s := s.(type) {
			case *solver.DNS01:
				if under(s.Storage) != test.want {
					t.Error("the records of dns-01 are kept elsewhere")
				}
			case *solver.DNSAccount01:
				if under(s.Storage) != test.want {
					t.Error("the records of dns-account-01 are kept elsewhere")
				}
			}
		}
	}
}

// under returns the storage that the manager was given, of one that solvers have, whose calls it counts.
func under(s storage.Store) storage.Store {
	for wrapper, ok := s.(interface{ Unwrap() storage.Store }); ok; wrapper, ok = s.(interface{ Unwrap() storage.Store }) {
		s = wrapper.Unwrap()
	}
	return s
}

// The built-in solvers come after those given, first the one whose server is known; tls-alpn-01 is left out if nothing is
// known to answer it and others prove all names.
func TestBuiltInSolvers(t *testing.T) {
	const http, alpn, dns = acme.TypeHTTP01, acme.TypeTLSALPN01, acme.TypeDNS01
	listener := func(m *Manager) { m.Listener(nil) }
	config := func(m *Manager) { m.TLSConfig() }
	handler := func(m *Manager) { m.HTTPHandler(nil) }
	handshake := func(m *Manager) { _, _ = m.GetCertificate(new(tls.ClientHelloInfo)) }
	zone := &solver.DNS01{Provider: noProgram}
	for name, test := range map[string]struct {
		role   Role
		given  []acme.Solver
		joined []func(*Manager)
		want   []string
	}{
		"nothing":                     {want: []string{alpn}},
		"a tls.Config":                {joined: []func(*Manager){config}, want: []string{alpn}},
		"a handler":                   {joined: []func(*Manager){handler}, want: []string{http}},
		"a handler and a tls.Config":  {joined: []func(*Manager){handler, config}, want: []string{http, alpn}},
		"a handler and a handshake":   {joined: []func(*Manager){handler, handshake}, want: []string{http, alpn}},
		"a handler and a listener":    {joined: []func(*Manager){handler, listener}, want: []string{alpn, http}},
		"a handler beside who serves": {role: RoleRenew, joined: []func(*Manager){handler}, want: []string{http, alpn}},
		"dns-01":                      {given: []acme.Solver{zone}, want: []string{dns}},
		"dns-01 and a tls.Config":     {given: []acme.Solver{zone}, joined: []func(*Manager){config}, want: []string{dns, alpn}},
		"dns-01 and all":              {given: []acme.Solver{zone}, joined: []func(*Manager){listener, handler}, want: []string{dns, alpn, http}},
		"http-01 of one's own":        {given: []acme.Solver{&solver.HTTP01{Addr: ":80"}}, want: []string{http}},
		"tls-alpn-01 of one's own":    {given: []acme.Solver{new(solver.TLSALPN01)}, joined: []func(*Manager){handler}, want: []string{alpn, http}},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := New(Config{Issuers: []Issuer{&ACME{DirectoryURL: "https://ca.example/directory"}}, Storage: new(storage.Memory), Solvers: test.given, Role: test.role})
			if err != nil {
				t.Fatal(err)
			}
			for _, join := range test.joined {
				join(m)
			}
			var got []string
			for _, s := range m.proving.solversFor(subjectOf("example.com"), nil) {
				got = append(got, s.Type())
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("%v, want %v", got, test.want)
			}
		})
	}
	t.Run("some names by others", func(t *testing.T) {
		m, err := New(Config{Issuers: []Issuer{&ACME{DirectoryURL: "https://ca.example/directory"}}, Storage: new(storage.Memory), Solvers: []acme.Solver{&solver.DNS01{Provider: noProgram, Zone: "example.net"}}})
		if err != nil {
			t.Fatal(err)
		}
		s := subjectOf("example.net")
		s.identifiers = append(s.identifiers, subjectOf("example.com").identifiers...)
		if all := m.proving.solversFor(s, nil); len(all) != 2 || all[1].Type() != alpn {
			t.Errorf("%d solvers: who proves example.com?", len(all))
		}
	})
}

// Of a server at an address that no CA reaches nothing is to be learned: the CA is asked at once, and no server is
// said to be missing.
func TestServersInsideAreNotWaitedFor(t *testing.T) {
	p := acme.Proof{
		Challenge:  acme.Challenge{Type: acme.TypeHTTP01, Token: "token"},
		Identifier: acme.Identifier{Type: acme.TypeIP, Value: "10.0.0.5"}, KeyAuthorization: "token.thumbprint", DirectoryURL: "https://192.0.2.1/directory",
	}
	unused := func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("dialled") }
	for _, vantage := range []diagnose.Vantage{{}, {Dial: unused}} {
		synctest.Test(t, func(t *testing.T) {
			var logs bytes.Buffer
			a := &checkedSolver{Solver: new(solver.HTTP01), vantage: vantage, logger: slog.New(slog.NewTextHandler(&logs, nil))}
			begun := time.Now()
			if err := a.Wait(t.Context(), p); err != nil || logs.Len() > 0 || time.Since(begun) > 0 {
				t.Errorf("%v after %v, having said %s", err, time.Since(begun), &logs)
			}
			if a.seen.Load() || a.warned.Load() {
				t.Error("the next name's server is not looked for")
			}
		})
	}
}
