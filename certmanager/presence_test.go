package certmanager_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage/storagetest"
)

// goneWorld is onDemand with checks that go by dial, or else to the listener of the world.
func (w *world) goneWorld(p *policy, dial func() (net.Conn, error)) certmanager.Config {
	config := w.onDemand(p)
	config.Vantage = w.zones.vantage(func(ctx context.Context, _, _ string) (net.Conn, error) {
		if dial != nil {
			return dial()
		}
		return w.dial(ctx)
	})
	return config
}

// orders returns how many orders there were for the name.
func (w *world) orders(name string) (n int) {
	for _, order := range w.ca.Orders() {
		if order.Names[0] == name {
			n++
		}
	}
	return n
}

// TestNamesThatAreGone has a name that was wanted on demand lead elsewhere when its renewal is due. After days its renewal
// stops, also over a restart, until a client asks for it; others are renewed.
func TestNamesThatAreGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		config := w.goneWorld(new(policy), nil)
		m, stop := w.running(config)
		for _, name := range []string{"gone.example.com", "here.example.net"} {
			if _, err := w.handshake(t.Context(), name); err != nil {
				t.Fatal(err)
			}
		}
		w.zones.remove("gone.example.com")
		due := statusOf(t, m, "gone.example.com").Next
		time.Sleep(time.Until(due) + time.Hour)
		if s := statusOf(t, m, "gone.example.com"); s.Reason == certmanager.ReasonGone || s.Failure == nil || !strings.Contains(s.Failure.Err.Error(), "does not lead here") {
			t.Errorf("after one check: %+v", s)
		}
		time.Sleep(2 * day)
		stop()
		m, stop = w.running(config)
		time.Sleep(2 * day)
		if n := w.count(certmanager.EventWarning); n != 2+1 {
			t.Errorf("%d warnings, want those of two probes of the policy and one that the name is gone", n)
		}
		if _, managed := m.Status("gone.example.com"); managed {
			t.Error("what is gone is under management though nobody has asked for it")
		}
		if n := w.orders("gone.example.com"); n != 1 {
			t.Errorf("%d orders for what does not lead here", n)
		}
		stop()
	})
}

// TestGoneUntilAsked follows one name in one process.
func TestGoneUntilAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		m, stop := w.running(w.goneWorld(new(policy), nil))
		defer stop()
		for _, name := range []string{"gone.example.com", "here.example.net"} {
			if _, err := w.handshake(t.Context(), name); err != nil {
				t.Fatal(err)
			}
		}
		w.zones.remove("gone.example.com")
		other := statusOf(t, m, "here.example.net").Next
		time.Sleep(time.Until(statusOf(t, m, "gone.example.com").Next) + 4*day)
		if s := statusOf(t, m, "gone.example.com"); s.Reason != certmanager.ReasonGone || s.State != certmanager.StateValid || !strings.Contains(s.Deferred, "has not led here") || !s.Next.Equal(s.NotAfter) {
			t.Fatalf("after four days: %+v", s)
		}
		if n := w.count(certmanager.EventWarning); n != 2 {
			t.Errorf("%d warnings, want that of the probe and one", n)
		}
		w.zones.restore("gone.example.com")
		time.Sleep(5 * day)
		if n := w.orders("gone.example.com"); n != 1 {
			t.Fatalf("%d orders before a client asks", n)
		}
		if _, err := w.handshake(t.Context(), "gone.example.com"); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		if s := statusOf(t, m, "gone.example.com"); w.orders("gone.example.com") != 2 || s.Reason != "" {
			t.Errorf("%d orders when a client has asked: %+v", w.orders("gone.example.com"), s)
		}
		time.Sleep(time.Until(other) + time.Minute) // the renewals are spread over eleven days
		if w.orders("here.example.net") != 2 || w.keys("challenges") != 0 {
			t.Errorf("%d orders for the other name; %d answers are left", w.orders("here.example.net"), w.keys("challenges"))
		}
	})
}

// TestGoneWithSeveralKinds has the one name that there is lead elsewhere: that its alternative can't be seen either is no
// sign that checks see nothing.
func TestGoneWithSeveralKinds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		config := w.goneWorld(new(policy), nil)
		config.KeyTypes = bothKinds
		m, stop := w.running(config)
		defer stop()
		if _, err := w.handshake(t.Context(), "gone.example.com"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		w.zones.remove("gone.example.com")
		time.Sleep(70 * day)
		for _, s := range statuses(m) {
			if s.Reason != certmanager.ReasonGone {
				t.Errorf("%+v", s)
			}
		}
	})
}

// TestAskedForWhenItIsGone has clients ask for a name while it is noted that it is gone: they are not forgotten.
func TestAskedForWhenItIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := &storagetest.Faulty{Store: w.store}
		config := w.goneWorld(new(policy), nil)
		config.Storage = s
		m, stop := w.running(config)
		defer stop()
		if _, err := w.handshake(t.Context(), "gone.example.com"); err != nil {
			t.Fatal(err)
		}
		w.zones.remove("gone.example.com")
		client := func() {
			if _, err := ask(t, m, "gone.example.com"); err != nil {
				t.Error(err)
			}
		}
		client()
		s.SetFaults(storagetest.Fault{Kind: storagetest.Slow, On: storagetest.Save, Delay: time.Millisecond, Hit: func(string) {
			if s, _ := m.Status("gone.example.com"); s.Reason != certmanager.ReasonGone {
				client()
			}
		}})
		time.Sleep(time.Until(statusOf(t, m, "gone.example.com").Next) + 4*day)
		s.SetFaults()
		w.zones.restore("gone.example.com")
		client()
		time.Sleep(time.Minute)
		if n := w.orders("gone.example.com"); n != 2 {
			t.Errorf("%d orders after a client has asked: %+v", n, statusOf(t, m, "gone.example.com"))
		}
	})
}

// TestOwnFaultsAreNotGone has checks fail for what is likely to be wrong here: names are renewed as usual.
func TestOwnFaultsAreNotGone(t *testing.T) {
	for name, test := range map[string]struct {
		prepare func(*world, *certmanager.Config, *atomic.Bool)
	}{
		"nothing can be reached": {func(w *world, config *certmanager.Config, down *atomic.Bool) {
			*config = w.goneWorld(new(policy), func() (net.Conn, error) {
				if down.Load() {
					return nil, errors.New("network is unreachable")
				}
				return w.dial(w.t.Context())
			})
		}},
		"all names are gone at once": {func(w *world, config *certmanager.Config, down *atomic.Bool) {
			w.zones.remove("b.example.net")
		}},
		"checks are turned off": {func(w *world, config *certmanager.Config, down *atomic.Bool) {
			config.Preflight = certmanager.PreflightOff
		}},
		"a DNS solver": {func(w *world, config *certmanager.Config, down *atomic.Bool) {
			config.Solvers = append(config.Solvers, newDNS01(w.ca))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, down := newWorld(t), new(atomic.Bool)
				config := w.goneWorld(new(policy), nil)
				test.prepare(w, &config, down)
				m, stop := w.running(config)
				defer stop()
				for _, name := range []string{"a.example.com", "b.example.net"} {
					if _, err := w.handshake(t.Context(), name); err != nil {
						t.Fatal(err)
					}
				}
				down.Store(true)
				if name != "nothing can be reached" {
					w.zones.remove("a.example.com")
				}
				time.Sleep(85 * day)
				if s := statusOf(t, m, "a.example.com"); w.orders("a.example.com") != 2 {
					t.Errorf("%d orders, want a renewal: %+v", w.orders("a.example.com"), s)
				}
			})
		})
	}
}
