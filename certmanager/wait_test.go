package certmanager_test

import (
	"context"
	"crypto/elliptic"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage/storagetest"
)

func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.ca.Refuse("bad.example.com")
		m, stop := w.start(w.config("example.com", "example.net", "bad.example.com"))
		defer stop()
		if err := m.Wait(t.Context(), "EXAMPLE.com", "example.net"); err != nil {
			t.Fatal(err)
		}
		if _, ok := m.Certificate("example.com"); !ok {
			t.Error("Wait returned before the certificate is served")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		err := m.Wait(ctx)
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, acme.ErrRejectedIdentifier) {
			t.Fatalf("error %v", err)
		}
		text := err.Error()
		if !strings.Contains(text, "bad.example.com (the CA refuses the name") || strings.Contains(text, "example.net") || strings.Count(text, "certmanager: ") != 1 {
			t.Errorf("error %q", text)
		}
		if err := m.Wait(t.Context(), "example.com", "other.example"); err == nil || !strings.Contains(err.Error(), "other.example is not managed") {
			t.Errorf("of a name that is not managed: %v", err)
		}
		if err := m.Wait(t.Context(), ""); err == nil {
			t.Error("of no name: nil")
		}
		began := time.Now()
		ended := make(chan error, 1)
		go func() { ended <- m.Wait(t.Context(), "bad.example.com") }()
		time.Sleep(time.Minute)
		stop()
		if err := <-ended; err == nil || !strings.Contains(err.Error(), "isn't running") || time.Since(began) > time.Minute {
			t.Errorf("when Run ends, after %v: %v", time.Since(began), err)
		}
	})
}

// TestWaitNamesManyNot has all of a hundred names fail: the error has twenty.
func TestWaitNamesManyNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, names := newWorld(t), siteNames(100)
		for _, name := range names {
			w.ca.Refuse(name)
		}
		m, stop := w.start(w.config(names...))
		defer stop()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		err := m.Wait(ctx)
		if err == nil || strings.Count(err.Error(), "the CA refuses the name") != 20 || !strings.Contains(err.Error(), "and 80 more") {
			t.Errorf("error %v", err)
		}
	})
}

// TestWaitBeforeRun calls Wait when Run is about to be called, and when nobody calls it.
func TestWaitBeforeRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		m, err := certmanager.New(w.config("example.com"))
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := m.Wait(t.Context()); err == nil || !strings.Contains(err.Error(), "not served: example.com: the manager isn't running: call Run or Serve") {
			t.Errorf("error %v", err)
		} else if time.Since(began) != 10*time.Second {
			t.Errorf("it took %v", time.Since(began))
		}
		ended := make(chan error, 1)
		go func() { ended <- m.Wait(t.Context()) }()
		time.Sleep(5 * time.Second)
		stop := w.run(m)
		defer stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// TestWaitForRenewal has a certificate that is over: Wait is for its successor.
func TestWaitForRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.obtainOnce("example.com")
		time.Sleep(200 * 24 * time.Hour)
		m, stop := w.start(w.config("example.com"))
		defer stop()
		if err := m.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s := statusOf(t, m, "example.com"); s.State != certmanager.StateValid {
			t.Errorf("status %+v", s)
		}
	})
}

// TestLoad has a second manager take over warm: it serves before it runs, and does not ask the storage again for what it
// has just loaded.
func TestLoad(t *testing.T) {
	for _, n := range []int{3, 1500} { // those of 1,500 are scanned
		synctest.Test(t, func(t *testing.T) {
			w, ca, names := newWorld(t), newLocalCA(t, "local"), siteNames(n)
			config := w.issuedBy([]certmanager.Issuer{ca}, names...)
			ca.stock(t, w.store, names...)
			counting := &storagetest.Faulty{Store: w.store}
			config.Storage, config.Names = counting, append(names, "new.example.org")
			log := new(book)
			config.Logger = log.logger()
			m, err := certmanager.New(config)
			if err != nil {
				t.Fatal(err)
			}
			if err := m.Load(t.Context()); err != nil {
				t.Fatal(err)
			}
			for _, name := range names {
				if _, err := ask(t, m, name); err != nil {
					t.Fatalf("before Run: %v", err)
				}
			}
			var reads atomic.Int32
			counting.SetFaults(storagetest.Fault{Prefix: "certificates", Kind: storagetest.Slow, Hit: func(string) { reads.Add(1) }})
			if err := m.Load(t.Context()); err != nil {
				t.Fatal(err)
			}
			again := reads.Load()
			if again == 0 {
				t.Fatal("a Load after a Load asks nothing: the count is no good")
			}
			defer w.run(m)()
			if err := m.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if reads.Load() > again+5 { // under the lease of the new one
				t.Errorf("Run asked the storage for %d certificates", reads.Load()-again)
			}
			if n := ca.count(); n != len(names)+1 {
				t.Errorf("%d were issued", n)
			}
		})
	}
}

// TestLoadFails has the storage fail for one certificate: the others are served, and the error names it; Run loads it.
func TestLoadFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		config := w.config("example.com", "example.net")
		_, stop := w.serving(config)
		stop()
		faulty := &storagetest.Faulty{Store: w.store}
		key, _ := w.certificateRecord("example.net")
		faulty.SetFaults(storagetest.Fault{On: storagetest.Load, Prefix: key, Err: errDisk})
		config.Storage = faulty
		m, err := certmanager.New(config)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Load(t.Context()); !errors.Is(err, errDisk) || !strings.Contains(err.Error(), "1 of 2") || !strings.Contains(err.Error(), "example.net: the storage fails") {
			t.Errorf("error %v", err)
		}
		if _, err := ask(t, m, "example.com"); err != nil {
			t.Error(err)
		}
		faulty.SetFaults()
		stop = w.run(m)
		defer stop()
		if err := m.Wait(t.Context()); err != nil {
			t.Error(err)
		}
		if n := len(w.ca.Certificates()); n != 2 {
			t.Errorf("%d certificates", n)
		}
		canceled, cancel := context.WithCancel(t.Context())
		cancel()
		if m, err = certmanager.New(config); err != nil {
			t.Fatal(err)
		}
		if err := m.Load(canceled); !errors.Is(err, context.Canceled) {
			t.Errorf("of a context that has ended: %v", err)
		}
	})
}

func TestCertificate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ca := newWorld(t), newLocalCA(t, "local")
		w.ca.Refuse("no.example.com")
		config := w.issuedBy([]certmanager.Issuer{ca}, "example.com", "*.example.com", "192.0.2.7")
		config.DefaultName = "example.com"
		m, stop := w.serving(config)
		defer stop()
		ca.change(func(ca *localCA) { ca.err = errClosed })
		if err := m.Manage(certmanager.Subject{Names: []string{"a.example.com"}}, certmanager.Subject{Names: []string{"example.net"}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		for name, want := range map[string]string{
			"example.com": "example.com", "EXAMPLE.COM": "example.com", "www.example.com": "*.example.com", "*.example.com": "*.example.com",
			"a.example.com": "*.example.com", "192.0.2.7": "192.0.2.7", "": "example.com",
			"example.net": "", "a.b.example.com": "", "example.org": "", "..": "",
		} {
			certificate, ok := m.Certificate(name)
			got := ""
			if ok {
				leaf := leafOf(t, certificate)
				got = strings.Join(leaf.DNSNames, ",")
				if len(leaf.IPAddresses) > 0 {
					got = leaf.IPAddresses[0].String()
				}
			}
			if got != want {
				t.Errorf("of %q: that of %q, want that of %q", name, got, want)
			}
			if shaken, err := ask(t, m, name); name != "" && !strings.HasPrefix(name, "*") && (err == nil && shaken != nil) != ok {
				t.Errorf("a handshake for %q gets %v, %v", name, shaken != nil, err)
			}
		}
	})
}

// TestLoadedLines counts the lines for certificates that are loaded at start.
func TestLoadedLines(t *testing.T) {
	for _, test := range []struct{ stored, managed int }{{3, 3}, {10, 10}, {30, 32}, {1200, 1203}} {
		t.Run(fmt.Sprint(test.managed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, ca, names := newWorld(t), newLocalCA(t, "local"), siteNames(test.managed)
				config := w.issuedBy([]certmanager.Issuer{ca}, names[:test.stored]...)
				ca.stock(t, w.store, names[:test.stored]...)
				log := new(book)
				config.Names, config.Logger = names, log.logger()
				if test.managed%2 == 1 {
					config.OnEvent = nil
				}
				ca.change(func(ca *localCA) { ca.err = errClosed })
				_, stop := w.running(config)
				defer stop()
				each, all := 0, ""
				for _, l := range log.read() {
					switch {
					case l.Msg == "certificate loaded" && l.Level == slog.LevelInfo:
						each++
					case l.Msg == "certificates loaded" && l.Level == slog.LevelInfo:
						all += l.text
					}
				}
				if test.managed <= 10 && (each != test.stored || all != "") {
					t.Errorf("%d lines, and %q", each, all)
				}
				if want := fmt.Sprintf(`"count":%d,"missing":%d,"took":`, test.stored, test.managed-test.stored); test.managed > 10 && (each != 0 || strings.Count(all, want) != 1) {
					t.Errorf("%d lines, and %q, want none and %q", each, all, want)
				}
			})
		})
	}
}

// What is forgotten, or brought along, while certificates are loaded does not keep the loading from its end.
func TestLoadingEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ca, names := newWorld(t), newLocalCA(t, "local"), siteNames(900)
		config := w.issuedBy([]certmanager.Issuer{ca}, names...)
		ca.stock(t, w.store, names...)
		chain, key := elsewhere(t, ecdsaKey(t, elliptic.P256()), 90*24*time.Hour, names[1])
		faulty := &storagetest.Faulty{Store: w.store}
		faulty.SetFaults(storagetest.Fault{Kind: storagetest.Slow, On: storagetest.Load, Prefix: "certificates", Delay: 20 * time.Second})
		log := new(book)
		config.Storage, config.Logger, config.Workers = faulty, log.logger(), 100 // of which most names wait for their turn
		m, stop := w.start(config)
		defer stop()
		time.Sleep(5 * time.Second)
		if err := errors.Join(m.Forget(names[0]), m.Forget(names[898:]...)); err != nil {
			t.Fatal(err)
		}
		if done, err := m.Transfer(t.Context(), certmanager.Transfer{Certificate: chain, Key: key}); err != nil || !done.Changed {
			t.Fatal(done, err)
		}
		time.Sleep(30 * time.Minute)
		sums, slow := 0, 0
		for _, l := range log.read() {
			switch {
			case l.Msg == "certificates loaded" && strings.Contains(l.text, `"count":897,"missing":3,`):
				sums++
			case strings.Contains(l.Msg, "the storage is slow"):
				slow++
			}
		}
		if sums != 1 || slow == 0 || slow > 10 {
			t.Errorf("%d lines on all that was loaded, %d on a slow start", sums, slow)
		}
	})
}

// TestSlowStart has each look into the storage take twenty seconds: the log says how far the loading is.
func TestSlowStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ca := newWorld(t), newLocalCA(t, "local")
		config := w.issuedBy([]certmanager.Issuer{ca}, siteNames(900)...)
		faulty := &storagetest.Faulty{Store: w.store}
		faulty.SetFaults(storagetest.Fault{Kind: storagetest.Slow, On: storagetest.Load, Prefix: "certificates", Delay: 20 * time.Second})
		log := new(book)
		config.Storage, config.Logger = faulty, log.logger()
		_, stop := w.start(config)
		defer stop()
		time.Sleep(15 * time.Second)
		told := 0
		for _, l := range log.read() {
			if strings.Contains(l.Msg, "the storage is slow") {
				if told++; l.Level != slog.LevelWarn || !strings.Contains(l.text, `"loaded":0,"of":900`) {
					t.Errorf("line %s", l.text)
				}
			}
		}
		if told != 1 {
			t.Errorf("%d lines on a slow start", told)
		}
	})
}
