package certmanager_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/storagetest"
)

// downKinds are the ways in which a storage is down.
var downKinds = map[string]storagetest.Fault{"refuses": {Kind: storagetest.Fail}, "hangs": {Kind: storagetest.Hang}}

// copying is a world whose storage has local copies and can be put out of order.
type copying struct {
	*world
	remote *storagetest.Faulty
	local  *storage.Memory
	ca     *localCA
}

func newCopying(t *testing.T) *copying {
	w := newWorld(t)
	return &copying{w, &storagetest.Faulty{Store: w.store}, new(storage.Memory), newLocalCA(t, "local")}
}

func (c *copying) config(names ...string) certmanager.Config {
	config := c.fromLocalCA(c.ca, names...)
	config.Storage = storage.Cached(c.remote, c.local)
	return config
}

// served returns the serial number of what a handshake for the name gets within ten seconds.
func (c *copying) served(m *certmanager.Manager, name string) string {
	c.t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		certificate, err := ask(c.t, m, name)
		if certificate != nil {
			return leafOf(c.t, certificate).SerialNumber.Text(16)
		}
		if time.Now().After(end) {
			c.t.Fatalf("%s: nothing is served: %v", name, err)
		}
	}
}

// A manager that starts while the storage is down serves what it had, says so, orders nothing, and goes on as if nothing had been
// once the storage is back.
func TestColdStart(t *testing.T) {
	for down, fault := range downKinds {
		for _, n := range []int{3, 1050} { // one by one, and in one go
			if raceDetector && n > 3 && down != "refuses" {
				continue
			}
			t.Run(fmt.Sprintf("%s/%d", down, n), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newCopying(t)
					w.ca.change(func(ca *localCA) { ca.lifetime = 6 * time.Hour })
					names := make([]string, n)
					for i := range names {
						names[i] = fmt.Sprintf("www%d.example.com", i)
					}
					m, stop := w.start(w.config(names...))
					if err := m.Wait(t.Context()); err != nil {
						t.Fatal(err)
					}
					first := w.served(m, names[n-1])
					stop()

					w.remote.SetFaults(fault)
					var log book
					config := w.config(names...)
					config.Logger = log.logger()
					m, stop = w.start(config)
					defer stop()
					if serial := w.served(m, names[n-1]); serial != first {
						t.Errorf("%s is served, want %s", serial, first)
					}
					time.Sleep(time.Minute)
					copied := 0
					for s := range m.All() {
						if !s.Copied.IsZero() && s.State == certmanager.StateValid && s.Action == certmanager.ActionLoad && s.Serial != "" {
							copied++
						}
					}
					if told := w.count(certmanager.EventCopied); copied != n || told == 0 { // of many events some may be missed
						t.Errorf("%d of %d are told to be copies, and %d by events", copied, n, told)
					}
					lines := slices.DeleteFunc(log.read(), func(l logged) bool { return !strings.HasPrefix(l.Msg, "a copy of the certificate is served") })
					if len(lines) == 0 || len(lines) > 3 || lines[0].Level != slog.LevelWarn {
						t.Errorf("the log has %d lines on copies, the first of %+v", len(lines), lines[:min(len(lines), 1)])
					}
					if raceDetector && n > 3 {
						return // what follows goes name by name
					}
					time.Sleep(5 * time.Hour)
					if serial := w.served(m, names[0]); serial == "" || w.ca.count() != n {
						t.Errorf("%d certificates were issued while the storage was down", w.ca.count()-n)
					}

					w.remote.SetFaults()
					time.Sleep(time.Hour)
					for s := range m.All() {
						if !s.Copied.IsZero() || s.Serial == first {
							t.Errorf("%v: %+v", s.Names, s)
							break
						}
					}
					if w.ca.count() != 2*n {
						t.Errorf("%d certificates were issued, want %d", w.ca.count(), 2*n)
					}
				})
			})
		}
	}
}

// What the storage has is believed, whatever the copies say.
func TestCopiesAreOutdated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCopying(t)
		m, stop := w.serving(w.config("example.com", "example.org", "example.net"))
		old, unchanged := w.served(m, "example.com"), w.served(m, "example.net")
		stop()

		// Another member, which copies nothing here, renews one and deletes the other.
		elsewhere := w.config("example.com", "example.org", "example.net")
		elsewhere.Storage = w.store
		m, stop = w.running(elsewhere)
		if err := m.Renew(t.Context(), "example.com"); err != nil {
			t.Fatal(err)
		}
		renewed := w.served(m, "example.com")
		if err := m.Delete(t.Context(), "example.org"); err != nil {
			t.Fatal(err)
		}
		stop()

		w.remote.SetFaults(storagetest.Fault{Kind: storagetest.Fail})
		config := w.config("example.com", "example.org", "example.net")
		m, stop = w.start(config)
		defer stop()
		if serial := w.served(m, "example.com"); serial != old {
			t.Errorf("%s is served, want the copy, %s", serial, old)
		}
		w.served(m, "example.org")
		issued := w.ca.count()
		w.remote.SetFaults()
		time.Sleep(2 * time.Hour)
		if serial := w.served(m, "example.com"); serial != renewed {
			t.Errorf("%s is served, want what the storage has, %s", serial, renewed)
		}
		if s, _ := m.Status("example.net"); !s.Copied.IsZero() || w.served(m, "example.net") != unchanged {
			t.Errorf("the one that nobody changed is %+v", s)
		}
		if s, _ := m.Status("example.org"); !s.Copied.IsZero() || w.ca.count() != issued+1 {
			t.Errorf("the one that was deleted is %+v, and %d were issued, want one", s, w.ca.count()-issued)
		}
	})
}

// A name on demand, also one beyond those in memory, is served from its copy, whether the storage refuses or hangs; one that has
// none waits for the storage.
func TestColdStartOnDemand(t *testing.T) {
	for down, fault := range downKinds {
		t.Run(down, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newCopying(t)
				var allowed policy
				config := w.config()
				config.OnDemand, config.MaxLoaded = allowed.ask, 1
				m, stop := w.running(config)
				serials := make(map[string]string)
				for _, name := range []string{"a.example.com", "b.example.com", "c.example.com"} {
					serials[name] = w.served(m, name)
				}
				w.remote.SetFaults(fault)
				for name, serial := range serials { // of which one is in memory
					if now := w.served(m, name); now != serial {
						t.Errorf("%s: %s is served, want %s", name, now, serial)
					}
				}
				stop()
				m, stop = w.running(config)
				defer stop()
				for name, serial := range serials {
					if now := w.served(m, name); now != serial {
						t.Errorf("after a start, %s: %s is served, want %s", name, now, serial)
					}
				}
				if certificate, err := ask(t, m, "d.example.com"); certificate != nil || err == nil {
					t.Errorf("a name without a copy: %v, %v", certificate, err)
				}
				if w.ca.count() != 3 {
					t.Errorf("%d certificates were issued, want 3", w.ca.count())
				}
			})
		})
	}
}

// A copy that is not of this manager's issuers, or damaged, is not served.
func TestCopiesOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCopying(t)
		_, stop := w.serving(w.config("example.com", "example.org", "example.net"))
		stop()
		for key := range w.local.List(t.Context(), "certificates/local/example.org") {
			item, err := w.local.Load(t.Context(), key)
			if err == nil {
				_, err = w.local.Save(t.Context(), key, item.Value[:len(item.Value)/2], item.Revision)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		w.remote.SetFaults(storagetest.Fault{Kind: storagetest.Fail})
		m, stop := w.start(w.config("example.com", "example.org", "example.net"))
		defer stop()
		w.served(m, "example.com")
		if certificate, err := ask(t, m, "example.org"); certificate != nil || err == nil {
			t.Errorf("a damaged copy: %v, %v", certificate, err)
		}
		config := w.config("example.com")
		config.Issuers = []certmanager.Issuer{newLocalCA(t, "another")}
		other, err := certmanager.New(config)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := other.Run(ctx); err == nil {
			t.Error("Run of a manager that has nothing to serve goes on")
		}
	})
}
