package certmanager_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/certmanager"
)

// TestSubjects obtains certificates for several names and with keys of all kinds, and checks the status.
func TestSubjects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		config := w.config("single.example.com", "bücher.example.com", "192.0.2.1")
		config.Subjects = []certmanager.Subject{
			{Names: []string{"www.example.com", "Example.com", "www.example.com", "api.example.com"}, KeyTypes: []certmanager.KeyType{certmanager.RSA2048}},
			{Names: []string{"*.example.net", "example.net", "2001:DB8:0::1"}},
		}
		config.KeyTypes = []certmanager.KeyType{certmanager.ECDSAP384}
		config.Solvers = append(config.Solvers, newDNS01(w.ca))
		m, stop := w.start(config)
		defer stop()
		for _, name := range []string{"single.example.com", "xn--bcher-kva.example.com", "192.0.2.1", "www.example.com", "example.net"} {
			w.await(certmanager.EventObtained, name, 1)
		}
		synctest.Wait()
		checkKeys(t, m)
		for _, name := range []string{"single.example.com", "xn--bcher-kva.example.com", "example.com", "www.example.com", "api.example.com", "example.net", "any.example.net"} {
			if _, err := w.handshake(t.Context(), name); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		want := [][]string{
			{"*.example.net", "2001:db8::1", "example.net"}, {"192.0.2.1"}, {"api.example.com", "example.com", "www.example.com"},
			{"single.example.com"}, {"xn--bcher-kva.example.com"},
		}
		status := statuses(m)
		for i, s := range status {
			if i < len(want) && !slices.Equal(s.Names, want[i]) {
				t.Errorf("status %d is of %q, want %q", i, s.Names, want[i])
			}
			checkComplete(t, s)
		}
		if len(status) != len(want) {
			t.Errorf("%d certificates, want %d", len(status), len(want))
		}
		if n := w.newOrders(); n != len(want) {
			t.Errorf("%d orders, want %d", n, len(want))
		}
	})
}

func checkKeys(t *testing.T, m *certmanager.Manager) {
	t.Helper()
	for name, fits := range map[string]func(key any) bool{
		"www.example.com": func(key any) bool { k, ok := key.(*rsa.PublicKey); return ok && k.N.BitLen() == 2048 },
		"single.example.com": func(key any) bool {
			k, ok := key.(*ecdsa.PublicKey)
			return ok && k.Curve == elliptic.P384()
		},
	} {
		certificate, err := ask(t, m, name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if key := leafOf(t, certificate).PublicKey; !fits(key) {
			t.Errorf("%s has a key of type %T", name, key)
		}
	}
}

// checkComplete checks that the status of a certificate that is served lacks nothing.
func checkComplete(t *testing.T, s certmanager.Status) {
	t.Helper()
	lifetime := s.NotAfter.Sub(s.NotBefore)
	if s.State != certmanager.StateValid || s.Action != certmanager.ActionRenew || s.OnDemand || s.Failure != nil || s.Serial == "" ||
		s.Issuer == "" || s.KeyType == "" || lifetime < 89*24*time.Hour || s.NotBefore.Location() != time.UTC {
		t.Errorf("status: %+v", s)
	}
	if due := s.Next.Sub(s.NotBefore); due < lifetime/2 || due > lifetime*3/4 {
		t.Errorf("%q are to be renewed after %v of %v", s.Names, due, lifetime)
	}
}

// TestManage adds certificates while the manager runs, and before.
func TestManage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		config := w.config("example.com")
		config.Solvers = append(config.Solvers, newDNS01(w.ca))
		m, err := certmanager.New(config)
		if err != nil {
			t.Fatal(err)
		}
		manage := func(names ...string) {
			t.Helper()
			if err := m.Manage(certmanager.Subject{Names: names}); err != nil {
				t.Errorf("Manage(%q): %v", names, err)
			}
		}
		manage("before.example.com")
		stop := w.run(m)
		defer stop()
		w.await(certmanager.EventObtained, "before.example.com", 1)
		w.await(certmanager.EventObtained, "example.com", 1)
		manage("later.example.com")
		manage("example.com") // as the configuration has it
		manage("Later.Example.com.", "later.example.com")
		manage("a.example.net", "b.example.net")
		manage("b.example.net", "a.example.net")
		if err := m.Manage(); err != nil {
			t.Errorf("Manage without subjects: %v", err)
		}
		w.await(certmanager.EventObtained, "later.example.com", 1)
		w.await(certmanager.EventObtained, "b.example.net", 1)
		manage("*.example.com")
		w.await(certmanager.EventObtained, "*.example.com", 1)
		front := "www.example.com"
		if _, err := w.handshake(t.Context(), front); err != nil {
			t.Errorf("by the wildcard: %v", err)
		}
		w.ca.Refuse(front)
		manage(front)
		w.await(certmanager.EventFailed, front, 1)
		if _, err := w.handshake(t.Context(), front); err != nil {
			t.Errorf("by the wildcard, while its own certificate can't be had: %v", err)
		}
		if n := len(w.ca.Orders()); n != 5 {
			t.Errorf("%d orders, want 5", n)
		}
	})
}

// TestManageErrors shows that of subjects that can't be managed together none is.
func TestManageErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		m, stop := w.running(w.config("example.com"))
		defer stop()
		for _, test := range []struct {
			says  string
			names [][]string
		}{
			{"example.com is a name of two certificates", [][]string{{"good.example.net"}, {"www.example.com", "example.com"}}},
			{"b.example.net is a name of two certificates", [][]string{{"a.example.net", "b.example.net"}, {"b.example.net", "c.example.net"}}},
			{"has no names", [][]string{{"good.example.net"}, {}}},
			{"dns-01", [][]string{{"good.example.net"}, {"*.example.net"}}},
			{`"a b.example.net"`, [][]string{{"good.example.net", "a b.example.net"}}},
		} {
			var subjects []certmanager.Subject
			for _, names := range test.names {
				subjects = append(subjects, certmanager.Subject{Names: names})
			}
			if err := m.Manage(subjects...); err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("%q: %v; want an error that says %q", test.names, err, test.says)
			}
		}
		if err := m.Manage(certmanager.Subject{Names: []string{"example.com"}, KeyTypes: []certmanager.KeyType{certmanager.RSA2048}}); err == nil {
			t.Error("no error for a second certificate with another key")
		}
		if err := m.Manage(certmanager.Subject{Names: []string{"example.net"}, KeyTypes: []certmanager.KeyType{"dsa"}}); err == nil || !strings.Contains(err.Error(), "dsa") {
			t.Errorf("a key type that there is not: %v", err)
		}
		time.Sleep(time.Hour)
		if status := statuses(m); len(status) != 1 || w.newOrders() != 1 {
			t.Errorf("%d orders, status %+v; want that of example.com", w.newOrders(), status)
		}
	})
}

// TestManageFromEvent calls the manager from the function that it reports events to.
func TestManageFromEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.obtainOnce("example.com")
		config := w.config("example.com")
		var m *certmanager.Manager
		config.OnEvent = func(e certmanager.Event) {
			if e.Kind == certmanager.EventLoaded {
				_ = statuses(m)
				if err := m.Manage(certmanager.Subject{Names: []string{"www." + e.Names[0]}}); err != nil {
					t.Error(err)
				}
			}
			w.onEvent(e)
		}
		var err error
		if m, err = certmanager.New(config); err != nil {
			t.Fatal(err)
		}
		stop := w.run(m)
		defer stop()
		w.await(certmanager.EventObtained, "www.example.com", 1)
	})
}

// TestFleet has two managers on one storage: what the first obtains the second serves, and each renewal
// costs one order.
func TestFleet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		names := siteNames(10)
		var managers []*certmanager.Manager
		for range 2 {
			m, stop := w.start(w.config(names...))
			defer stop()
			managers = append(managers, m)
		}
		for months := range 4 {
			time.Sleep(time.Minute)
			first, second := statuses(managers[0]), statuses(managers[1])
			for i := range first {
				if first[i].Serial != second[i].Serial || first[i].State != certmanager.StateValid || second[i].State != certmanager.StateValid {
					t.Errorf("after %d months: one has %+v, the other %+v", months*3, first[i], second[i])
				}
			}
			if n := w.newOrders(); months == 0 && n != len(names) {
				t.Errorf("%d orders, want %d", n, len(names))
			}
			time.Sleep(91 * 24 * time.Hour)
		}
		certificates := len(w.ca.Certificates())
		if orders := w.newOrders(); orders != certificates || orders > 8*len(names) {
			t.Errorf("%d orders and %d certificates in a year, want at most one each 50 days and name", orders, certificates)
		}
	})
}

// TestTwoManagersShareNothing is defect 1 of a peer: there a manager that forbids a name hands out the
// certificate that another manager in the process obtained for it.
func TestTwoManagersShareNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		allowing, forbidding := newWorld(t), newWorld(t)
		yes, no := policy{}, policy{answer: errForbidden}
		a, stop := allowing.running(allowing.onDemand(&yes))
		defer stop()
		f, stop := forbidding.running(forbidding.onDemand(&no))
		defer stop()
		// At once, so that the one has work under way for the name that the other is asked for.
		got, refused := make(chan error, 1), make(chan error, 1)
		go func() { _, err := ask(t, a, "example.com"); got <- err }()
		go func() {
			c, err := ask(t, f, "example.com")
			if c != nil {
				t.Error("the manager that forbids the name serves it")
			}
			refused <- err
		}()
		if err := <-got; err != nil {
			t.Errorf("the manager that allows the name: %v", err)
		}
		if err := <-refused; err != nil {
			t.Errorf("the manager that forbids the name: %v", err)
		}
		for range 3 {
			if certificate, err := ask(t, f, "example.com"); certificate != nil || err != nil {
				t.Error("the manager that forbids the name serves it later")
			}
			time.Sleep(2 * time.Minute)
		}
		if n := forbidding.newOrders(); n != 0 {
			t.Errorf("%d orders for the forbidden name", n)
		}
	})
}
