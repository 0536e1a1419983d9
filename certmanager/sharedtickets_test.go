package certmanager_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/storagetest"
)

// sealedIn returns a store that seals what the other has.
func sealedIn(s storage.Store) *storage.Sealed {
	keys, err := storage.SealingKeys(make([]byte, 32))
	if err != nil {
		panic(err) // it is a key
	}
	return &storage.Sealed{Store: s, Keys: keys}
}

// A ticketFleet is some managers on one storage that share their tickets.
type ticketFleet struct {
	*world
	managers []*certmanager.Manager
	stores   []*storagetest.Faulty // of each, around the sealed one
}

// inTicketFleet runs f with a fleet of so many managers that have a certificate, and waits until they have keys, for each
// version of TLS.
func inTicketFleet(t *testing.T, size int, f func(fleet *ticketFleet, c *ticketClient)) {
	for name, version := range map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				local := newLocalCA(t, "local")
				local.change(func(ca *localCA) { ca.lifetime = 10 * 365 * day })
				w.store = sealedIn(w.store)
				fleet := &ticketFleet{world: w}
				for range size {
					store := &storagetest.Faulty{Store: w.store}
					config := w.fromLocalCA(local, "example.com")
					config.Storage, config.SharedTickets, config.SweepInterval = store, true, -1
					m, stop := w.running(config)
					defer stop()
					fleet.managers, fleet.stores = append(fleet.managers, m), append(fleet.stores, store)
				}
				c := newTicketClient(t, w, version)
				c.config.RootCAs.AddCert(local.root)
				f(fleet, c)
			})
		})
	}
}

// storedTickets are the times of the keys that are stored.
func (f *ticketFleet) storedTickets() (from []time.Time) {
	f.t.Helper()
	item, err := f.store.Load(f.t.Context(), "tickets/keys")
	var stored struct {
		Keys []struct{ From time.Time }
	}
	if err == nil {
		err = json.Unmarshal(item.Value, &stored)
	}
	if err != nil {
		f.t.Fatal(err)
	}
	for _, key := range stored.Keys {
		from = append(from, key.From)
	}
	return from
}

// TestTicketsOfAFleet has a client come to one member after another for weeks, in which each resumes the sessions of the others, from
// the beginning.
func TestTicketsOfAFleet(t *testing.T) {
	inTicketFleet(t, 3, func(f *ticketFleet, c *ticketClient) {
		c.connect(f.managers[0].TLSConfig())
		if !c.connect(f.managers[1].TLSConfig()) {
			c.t.Error("a new fleet does not resume sessions")
		}
		if len(f.storedTickets()) != 1 {
			c.t.Errorf("the keys are for %v; want one", f.storedTickets())
		}
		known := make(map[time.Time]bool)
		const steps, step = 250, 61 * time.Minute
		for n := range steps {
			if n%24 == 0 { // one of TLS 1.2 ends after a week, however often it is resumed
				c.config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
				c.connect(f.managers[2].TLSConfig())
			}
			if !c.connect(f.managers[n%3].TLSConfig()) {
				c.t.Errorf("after %d hours member %d does not resume the session of another", n, n%3)
			}
			time.Sleep(step)
			for _, from := range f.storedTickets() {
				known[from] = true
			}
		}
		const rotations = int(steps * step / (8 * time.Hour))
		if n := len(known); n < rotations-2 || n > rotations+2 {
			c.t.Errorf("there were %d keys, want %d", n, rotations)
		}
		if n := len(f.storedTickets()); n < 24 || n > 27 {
			c.t.Errorf("%d keys are stored, want those of a week and a day", n)
		}
	})
}

// TestTicketsAtTheTurnOfAKey has clients come at the very instant at which a key takes over, when some members may seal with the
// one before it still.
func TestTicketsAtTheTurnOfAKey(t *testing.T) {
	inTicketFleet(t, 3, func(f *ticketFleet, c *ticketClient) {
		time.Sleep(2 * time.Hour)
		for range 20 {
			turn := slices.MaxFunc(f.storedTickets(), time.Time.Compare).Add(8 * time.Hour)
			time.Sleep(time.Until(turn) - 10*time.Minute)
			time.Sleep(time.Until(slices.MaxFunc(f.storedTickets(), time.Time.Compare)))
			c.config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
			c.connect(f.managers[0].TLSConfig())
			for i := range 3 {
				if !c.connect(f.managers[i].TLSConfig()) {
					c.t.Errorf("%v: member %d does not resume the session of another", time.Now(), i)
				}
			}
		}
	})
}

// TestTicketKeysAreStoredBeforeUse looks at the storage each minute: a key but the first comes an hour before its time, give or
// take the time between two reads, so that all members have it then.
func TestTicketKeysAreStoredBeforeUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.store = sealedIn(w.store)
		config := w.config()
		config.SharedTickets = true
		_, stop := w.running(config)
		defer stop()
		f, known := ticketFleet{world: w}, make(map[time.Time]bool)
		for range 2 * 24 * 60 {
			for _, from := range f.storedTickets() {
				if lead := time.Until(from); len(known) > 0 && !known[from] && (lead < 50*time.Minute || lead > 61*time.Minute) {
					t.Errorf("a key is stored %v before it is used", lead)
				}
				known[from] = true
			}
			time.Sleep(time.Minute)
		}
		if n := len(known); n != 7 {
			t.Errorf("there were %d keys in two days, want 7", n)
		}
	})
}

// TestOldTicketsOfAFleet has clients come back with old tickets: those of the last days are resumed by another member, those of
// more than a week ago are not, and their key is stored no more.
func TestOldTicketsOfAFleet(t *testing.T) {
	inTicketFleet(t, 2, func(f *ticketFleet, c *ticketClient) {
		time.Sleep(2 * time.Hour)
		first := f.storedTickets()[0]
		sessions := make([]tls.ClientSessionCache, 10)
		for i := range sessions {
			sessions[i] = tls.NewLRUClientSessionCache(1)
			c.config.ClientSessionCache = sessions[i]
			c.connect(f.managers[0].TLSConfig())
			time.Sleep(day)
		}
		for i, cache := range sessions {
			c.config.ClientSessionCache = frozen{cache}
			if resumed := c.connect(f.managers[1].TLSConfig()); resumed != (len(sessions)-i < 7) && len(sessions)-i != 7 {
				c.t.Errorf("a session of %d days ago is resumed: %t", len(sessions)-i, resumed)
			}
		}
		if slices.Contains(f.storedTickets(), first) {
			c.t.Error("the first key is still stored")
		}
	})
}

// TestTicketsRotatedAtOnce has all members find at the same time that it is time for a new key: there is one.
func TestTicketsRotatedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const members = 8
		w := newWorld(t)
		w.store = sealedIn(w.store)
		store := &storagetest.Faulty{Store: w.store}
		store.SetFaults(storagetest.Fault{Kind: storagetest.Slow, Delay: time.Second, Prefix: "tickets"}) // all have read before one writes
		config := w.config()
		config.Storage, config.SharedTickets = store, true
		for range members {
			_, stop := w.running(config)
			defer stop()
		}
		time.Sleep(time.Minute)
		f := ticketFleet{world: w}
		if n := len(f.storedTickets()); n != 1 {
			t.Errorf("%d keys are stored, want 1", n)
		}
	})
}

// TestTicketsWithoutStorage has the storage fail for days: the last keys are used for a while, and then own ones, until it is back. That is
// told once.
func TestTicketsWithoutStorage(t *testing.T) {
	inTicketFleet(t, 2, func(f *ticketFleet, c *ticketClient) {
		time.Sleep(time.Hour)
		for _, store := range f.stores {
			store.SetFaults(storagetest.Fault{Prefix: "tickets"})
		}
		told := f.count(certmanager.EventWarning)
		c.connect(f.managers[0].TLSConfig())
		for _, step := range []struct {
			after   time.Duration
			resumed bool
		}{{25 * time.Hour, true}, {5 * time.Hour, true}, {2 * time.Hour, false}, {2 * day, false}} {
			time.Sleep(step.after)
			// The ticket that is had with the first may be of own keys, which the second does not know.
			c.connect(f.managers[0].TLSConfig())
			if resumed := c.connect(f.managers[1].TLSConfig()); resumed != step.resumed {
				c.t.Errorf("%v later: resumed %t, want %t", step.after, resumed, step.resumed)
			}
			if !c.connect(f.managers[1].TLSConfig()) {
				c.t.Errorf("%v later: a member does not resume its own session", step.after)
			}
		}
		if n := f.count(certmanager.EventWarning) - told; n != 2 {
			c.t.Errorf("it was told %d times, want once by each member", n)
		}
		for _, store := range f.stores {
			store.SetFaults()
		}
		time.Sleep(2 * time.Hour)
		c.connect(f.managers[0].TLSConfig())
		if !c.connect(f.managers[1].TLSConfig()) {
			c.t.Error("sessions are not shared when the storage is back")
		}
	})
}

// TestUnusableTicketKeys has a record that can't be used: it is left alone, told of once, and each member has its own keys.
func TestUnusableTicketKeys(t *testing.T) {
	key := `{"key":"` + strings.Repeat("A", 43) + `=","from":"%s"}`
	for name, value := range map[string]func() string{
		"damaged":            func() string { return "x" },
		"of a later release": func() string { return `{"version":3}` },
		"of a clock years ahead": func() string {
			return `{"version":1,"keys":[` + fmt.Sprintf(key, time.Now().Add(400*day).UTC().Format(time.RFC3339)) + `]}`
		},
	} {
		t.Run(name, func(t *testing.T) {
			inTicketFleet(t, 2, func(f *ticketFleet, c *ticketClient) {
				time.Sleep(2 * time.Hour)
				text := value()
				item, err := storage.Update(c.t.Context(), f.store, "tickets/keys", func([]byte) ([]byte, error) { return []byte(text), nil })
				if err != nil {
					c.t.Fatal(err)
				}
				told := f.count(certmanager.EventWarning)
				time.Sleep(day)
				c.connect(f.managers[0].TLSConfig())
				if c.connect(f.managers[1].TLSConfig()) {
					c.t.Error("a session of another member is resumed")
				}
				if !c.connect(f.managers[1].TLSConfig()) {
					c.t.Error("a session of the member's own is not resumed")
				}
				if now, err := f.store.Load(c.t.Context(), "tickets/keys"); err != nil || now.Revision != item.Revision {
					c.t.Errorf("the record was changed: %s, %v", now.Value, err)
				}
				if n := f.count(certmanager.EventWarning) - told; n != 2 {
					c.t.Errorf("it was told %d times, want once by each member", n)
				}
				for _, e := range f.events {
					if e.Err != nil && strings.Contains(e.Err.Error(), "AAAA") {
						c.t.Errorf("the key is told: %v", e.Err)
					}
				}
				if err := f.store.Delete(c.t.Context(), "tickets/keys", item.Revision); err != nil {
					c.t.Fatal(err)
				}
				time.Sleep(2 * time.Hour)
				c.connect(f.managers[0].TLSConfig())
				if !c.connect(f.managers[1].TLSConfig()) {
					c.t.Error("sessions are not shared when the record is gone")
				}
			})
		})
	}
}

// TestTicketsAreReadOnly has managers that only serve share the keys that others store, and store none.
func TestTicketsAreReadOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.store = sealedIn(w.store)
		config := w.config()
		config.SharedTickets, config.Role = true, certmanager.RoleServe
		_, stop := w.running(config)
		time.Sleep(day)
		stop()
		if n := w.keys(""); n != 0 {
			t.Errorf("%d records are stored by a manager that only serves", n)
		}
	})
}

// TestTicketsAreNotSharedUnasked has a manager that is not asked to: it stores nothing.
func TestTicketsAreNotSharedUnasked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.store = sealedIn(w.store)
		_, stop := w.running(w.config())
		defer stop()
		time.Sleep(day)
		if n := w.keys("tickets"); n != 0 {
			t.Errorf("%d records of tickets are stored", n)
		}
	})
}

// TestTicketsNeedASealedStorage refuses to keep keys where they could be read.
func TestTicketsNeedASealedStorage(t *testing.T) {
	plain := new(storage.Memory)
	for name, test := range map[string]struct {
		store storage.Store
		fits  bool
	}{
		"plain":              {plain, false},
		"wrapped":            {&storagetest.Faulty{Store: plain}, false},
		"sealed":             {sealedIn(plain), true},
		"sealed and wrapped": {&storagetest.Faulty{Store: sealedIn(plain)}, true},
	} {
		_, err := certmanager.New(certmanager.Config{AgreeToTerms: true, Storage: test.store, SharedTickets: true})
		if (err == nil) != test.fits || err != nil && !strings.Contains(err.Error(), "storage.Sealed") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestTicketsAndOpenSSL has openssl take a session from one manager to another.
func TestTicketsAndOpenSSL(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	store := sealedIn(new(storage.Memory))
	key := `{"version":1,"keys":[{"key":"` + strings.Repeat("A", 43) + `=","from":"` + time.Now().Add(-time.Hour).UTC().Format(time.RFC3339) + `"}]}`
	if _, err := store.Save(t.Context(), "tickets/keys", []byte(key), ""); err != nil {
		t.Fatal(err)
	}
	local := newLocalCA(t, "local")
	addrs := make([]string, 2)
	for i := range addrs {
		m, err := certmanager.New(certmanager.Config{Names: []string{"example.com"}, Issuers: []certmanager.Issuer{local}, Storage: store, SharedTickets: true})
		if err != nil {
			t.Fatal(err)
		}
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		addrs[i] = ln.Addr().String()
		go serveHandshakes(m.Listener(ln))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- m.Run(ctx) }()
		defer func() {
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}()
		if err := m.Wait(ctx); err != nil {
			t.Fatal(err)
		}
		awaitTicketKeys(t, m, store)
	}
	for _, version := range []string{"-tls1_2", "-tls1_3"} {
		session := filepath.Join(t.TempDir(), "session")
		connect := func(addr string, args ...string) string {
			cmd := exec.CommandContext(t.Context(), openssl, append([]string{"s_client", "-connect", addr, "-servername", "example.com", version}, args...)...)
			cmd.Stdin = strings.NewReader("hello\n")
			out, err := cmd.CombinedOutput()
			if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
				t.Fatal(err)
			}
			return string(out)
		}
		if out := connect(addrs[0], "-sess_out", session); !strings.Contains(out, "New, TLSv1") {
			t.Errorf("%s, at first:\n%s", version, out)
		}
		if out := connect(addrs[1], "-sess_in", session); !strings.Contains(out, "Reused, TLSv1") {
			t.Errorf("%s, with the other manager:\n%s", version, out)
		}
	}
}

// awaitTicketKeys waits until a session of the manager can be resumed by a configuration with the key that is stored.
func awaitTicketKeys(t *testing.T, m *certmanager.Manager, store storage.Store) {
	t.Helper()
	with := &tls.Config{GetCertificate: m.GetCertificate}
	with.SetSessionTicketKeys([][32]byte{{}})
	c := &ticketClient{t, &tls.Config{ServerName: "example.com", InsecureSkipVerify: true}}
	for t.Context().Err() == nil {
		c.config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
		c.connect(m.TLSConfig())
		if c.connect(with) {
			return
		}
	}
	t.Fatal("the manager does not use the key that is stored")
}
