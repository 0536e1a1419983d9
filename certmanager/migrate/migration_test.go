package migrate_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/certmanager/migrate"
	"github.com/everseal/everseal/storage/storagetest"
)

// leftFor returns the reason why what comes from the source is left; empty: it is not.
func leftFor(r *migrate.Report, source string) string {
	for _, item := range r.Left {
		if strings.Contains(item.Source, source) {
			return item.Reason
		}
	}
	return ""
}

// without returns the items with nothing of whether they were there before.
func without(items []migrate.Item) []migrate.Item {
	items = slices.Clone(items)
	for i := range items {
		items[i].Present = false
	}
	return items
}

// TestAgain migrates in a dry run, then in earnest, and again: the reports are the same but for what was there, the dry run
// stores nothing, and neither does the last one.
func TestAgain(t *testing.T) {
	forEachSource(t, func(t *testing.T, s source, w *world, all []pair, folder string) {
		dry := s.migration(t, w, all)
		dry.DryRun = true
		would, err := s.migrate(t.Context(), dry, folder)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(stored(t, w.store)); n != 0 {
			t.Errorf("a dry run stores %d records", n)
		}
		if _, managed := dry.Manager.Certificate("example.com"); managed {
			t.Error("after a dry run a certificate is served")
		}
		first, err := s.migrate(t.Context(), s.migration(t, w, all), folder)
		if err != nil {
			t.Fatal(err)
		}
		if would.DryRun = false; !reflect.DeepEqual(would, first) {
			t.Errorf("the dry run says\n%v\nand what came of it is\n%v", would, first)
		}
		kept := stored(t, w.store)
		second, err := s.migrate(t.Context(), s.migration(t, w, all), folder)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(without(second.Taken), first.Taken) || !reflect.DeepEqual(second.Left, first.Left) {
			t.Errorf("at first\n%v\nand again\n%v", first, second)
		}
		for _, item := range second.Taken {
			if !item.Present {
				t.Errorf("%s is taken twice", item.Source)
			}
		}
		if text, want := second.String(), fmt.Sprintf("0 taken, %d there before, %d left\n", len(first.Taken), len(first.Left)); !strings.HasPrefix(text, want) {
			t.Errorf("the second report is\n%s\nwant one that begins with %q", text, want)
		}
		if !maps.Equal(kept, stored(t, w.store)) {
			t.Error("the second time something else is stored")
		}
		time.Sleep(time.Hour)
		if again, err := s.migrate(t.Context(), dry, folder); err != nil || !slices.EqualFunc(again.Taken, second.Taken, func(a, b migrate.Item) bool { return a.Present == b.Present }) {
			t.Errorf("a dry run after it: %v, %v", again, err)
		}
	})
}

// TestInterrupted has the storage fail at each of its writes: the error says so, nothing is stored in part, and to migrate again
// completes it.
func TestInterrupted(t *testing.T) {
	forEachSource(t, func(t *testing.T, s source, w *world, all []pair, folder string) {
		store := w.store
		faulty := &storagetest.Faulty{Store: store}
		records := 0
		for n := 0; ; n++ {
			faulty.SetFaults(storagetest.Fault{Kind: storagetest.Lost, On: storagetest.Save, After: n})
			w.store = faulty
			report, err := s.migrate(t.Context(), s.migration(t, w, all), folder)
			if err == nil {
				break
			}
			if !errors.Is(err, certmanager.ErrStorage) || report == nil {
				t.Errorf("after %d writes: %v, %v", n, report, err)
			}
			if now := len(stored(t, store)); now < records {
				t.Errorf("there are %d records, after %d", now, records)
			} else {
				records = now
			}
			if n > 10 {
				t.Fatal("it is never completed")
			}
		}
		w.store = store
		report, err := s.migrate(t.Context(), s.migration(t, w, all), folder)
		if err != nil || len(report.Left) != 0 {
			t.Errorf("%v, %v", report, err)
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := s.migrate(ended, s.migration(t, w, all), folder); !errors.Is(err, context.Canceled) {
			t.Errorf("with a context that has ended: %v", err)
		}
	})
}

// TestUnmanaged migrates what the manager does not manage, or manages otherwise.
func TestUnmanaged(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		all := w.obtainAll("example.com", "a.example.org b.example.org", "*.example.net")
		w.certbot(folder, all)
		m := newManager(t, w.config("a.example.org"))
		report, err := (&migrate.Migration{Manager: m}).Certbot(t.Context(), folder)
		if err != nil {
			t.Fatal(err)
		}
		for source, want := range map[string]string{"example.com": "not managed: have them in the Config", "a.example.org": "a.example.org is in that of a.example.org: have a Subject with exactly the names", "example.net": "not managed"} {
			if reason := leftFor(report, "live/"+source); !strings.Contains(reason, want) {
				t.Errorf("%s is left because %q, want %q", source, reason, want)
			}
		}
		config := w.config()
		m = newManager(t, config)
		if report, err = (&migrate.Migration{Manager: m, All: true}).Certbot(t.Context(), folder); err != nil || len(report.Left) > 0 {
			t.Errorf("%v, %v", report, err)
		}
		asked := w.requests()
		defer run(t, m)()
		time.Sleep(time.Hour)
		for _, p := range all {
			served(t, m, p.names[0])
		}
		if w.requests() != asked {
			t.Error("the CA was asked")
		}
	})
}

// TestOnDemand migrates what is allowed on demand: it is stored, in memory only when a client wants it, and served then without a
// request to the CA.
func TestOnDemand(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var names []string
		for i := range 20 {
			names = append(names, fmt.Sprintf("customer%02d.example.com", i))
		}
		all := w.obtainAll(names...)
		w.certmagic(folder, append(all, w.obtainAll("denied.example.com", "unknown.example.com", "*.example.net")...))
		config := w.config()
		asked := 0
		config.OnDemand = func(_ context.Context, q certmanager.Question) error {
			asked++
			switch {
			case q.Name == "denied.example.com":
				return fmt.Errorf("left the platform: %w", certmanager.ErrDenied)
			case !strings.HasPrefix(q.Name, "customer"):
				return errors.New("the database is down")
			}
			return nil
		}
		m := newManager(t, config)
		report, err := (&migrate.Migration{Manager: m}).CertMagic(t.Context(), folder)
		if err != nil || len(report.Taken) != len(all)+1 || asked != len(all)+2 {
			t.Fatalf("asked %d times: %v, %v", asked, report, err)
		}
		for source, want := range map[string]string{"denied.": "left the platform", "unknown.": "the database is down", "wildcard_": "not managed"} {
			if reason := leftFor(report, source); !strings.Contains(reason, want) {
				t.Errorf("%s is left because %q, want %q", source, reason, want)
			}
		}
		if n := m.Stats().Loaded; n != 0 {
			t.Errorf("%d are in memory", n)
		}
		requests := w.requests()
		stop := run(t, m)
		for _, p := range all[:10] {
			if leaf := served(t, m, p.names[0]); leaf != nil && !leaf.Equal(p.leaf(t)) {
				t.Errorf("%s: another certificate is served", p.names[0])
			}
		}
		if n := m.Stats().Loaded; n != 10 || w.requests() != requests {
			t.Errorf("%d are in memory, the CA had %d requests", n, w.requests()-requests)
		}
		time.Sleep(70 * 24 * time.Hour)
		if n := len(w.ca.Orders()) - len(all) - 3; n != len(all) { // what nobody has asked for, too
			t.Errorf("%d were renewed, want %d", n, len(all))
		}
		stop()
	})
}

// TestRenewalInfo has the CA want a certificate renewed early that was taken over.
func TestRenewalInfo(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		all := w.obtainAll("example.com")
		w.certbot(folder, all)
		config := w.config("example.com")
		config.RenewalInfoInterval = 0
		m := newManager(t, config)
		if report, err := (&migrate.Migration{Manager: m}).Certbot(t.Context(), folder); err != nil || len(report.Taken) != 2 {
			t.Fatalf("%v, %v", report, err)
		}
		defer run(t, m)()
		time.Sleep(24 * time.Hour)
		if n := w.ca.Requests()["renewalInfo"]; n == 0 || len(w.ca.Orders()) != 1 {
			t.Errorf("it was asked %d times when to renew, %d orders", n, len(w.ca.Orders()))
		}
		status, _ := m.Status("example.com")
		if status.Window.Start.IsZero() || status.Imported || status.Issuer != (&certmanager.ACME{DirectoryURL: w.ca.URL}).ID() {
			t.Errorf("status %+v", status)
		}
	})
}

// TestOtherCA migrates to a manager with another CA: what there is is served, and renewed there.
func TestOtherCA(t *testing.T) {
	forEachSource(t, func(t *testing.T, s source, w *world, all []pair, folder string) {
		config := w.config(sets(all)...)
		config.Issuers = []certmanager.Issuer{new(certmanager.LocalCA)}
		m, orders, requests := newManager(t, config), len(w.ca.Orders()), w.requests()
		report, err := s.migrate(t.Context(), &migrate.Migration{Manager: m}, folder)
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range report.Taken {
			want := "none of Config.Issuers"
			if s.namesNoCA {
				want = "set Migration.Directory"
			}
			if item.Kind == migrate.KindAccount || item.Issuer != "" || !strings.Contains(item.Reason, want) {
				t.Errorf("taken: %+v", item)
			}
		}
		if accounts := len(report.Left); len(report.Taken) != len(all) || !s.noAccount && accounts != 1 {
			t.Errorf("the report is\n%v", report)
		}
		stop := run(t, m)
		for range 2 {
			for _, p := range all {
				if leaf := served(t, m, p.names[0]); leaf != nil && leaf.Equal(p.leaf(t)) != (orders > 0) {
					t.Errorf("%s: after %v another is served, or none", p.names[0], time.Now())
				}
			}
			orders = 0
			time.Sleep(70 * 24 * time.Hour)
		}
		stop()
		if w.requests() != requests {
			t.Error("the CA was asked")
		}
	})
}

// TestForTests leaves what a staging environment has signed.
func TestForTests(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.certbot(folder, w.obtainAll("example.com"))
		g := &migrate.Migration{Manager: newManager(t, w.config("example.com"))}
		write(t, folder, "renewal/example.com.conf", []byte("[renewalparams]\nserver = "+acme.LetsEncryptStaging+"\n"))
		report, err := g.Certbot(t.Context(), folder)
		if reason := leftFor(report, "live/example.com"); err != nil || !strings.Contains(reason, "for tests") {
			t.Errorf("%v, %v", report, err)
		}
	})
}

// TestTwoForOneName has two lineages of certbot's, which are both served by one subject: the one that ends later is taken,
// whatever comes first.
func TestTwoForOneName(t *testing.T) {
	for _, order := range [][]string{{"a", "b"}, {"b", "a"}} {
		folder := t.TempDir()
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			sooner := w.obtainAll("example.com", "example.net")
			time.Sleep(time.Hour)
			later := w.obtain("example.com")
			w.pemSplit(folder, order[0], sooner[0])
			w.pemSplit(folder, order[1], later)
			w.pemSplit(folder, "c", sooner[1])
			w.pemSplit(folder, "d", sooner[1])
			dry := &migrate.Migration{Manager: newManager(t, w.config("example.com", "example.net")), DryRun: true, Directory: w.ca.URL}
			for _, g := range []*migrate.Migration{dry, {Manager: dry.Manager, Directory: w.ca.URL}, {Manager: dry.Manager, Directory: w.ca.URL}} {
				report, err := g.Lego(t.Context(), folder)
				if err != nil || len(report.Taken) != 2 || len(report.Left) != 2 {
					t.Fatalf("%v, %v", report, err)
				}
				if i := slices.IndexFunc(report.Taken, func(i migrate.Item) bool { return i.NotAfter.Equal(later.leaf(t).NotAfter) }); i < 0 {
					t.Errorf("the one that ends sooner is taken:\n%v", report)
				}
				if reason := leftFor(report, "/"+order[0]+".crt"); !strings.Contains(reason, "ends later") {
					t.Errorf("it is left because %q", reason)
				}
				if reason := leftFor(report, "/d.crt"); !strings.Contains(reason, "certificates/c.crt") {
					t.Errorf("it is left because %q", reason)
				}
			}
			if c, ok := dry.Manager.Certificate("example.com"); !ok || string(c.Certificate[0]) != string(later.leaf(t).Raw) {
				t.Error("another one is served")
			}
		})
	}
}

// TestTwoKinds has two certificates for the names of one subject, with two kinds of key: that of the subject's kind is taken, though
// it ends sooner, whatever comes first.
func TestTwoKinds(t *testing.T) {
	for _, keyType := range []certmanager.KeyType{certmanager.ECDSAP256, certmanager.RSA2048} {
		for _, order := range [][]string{{"a", "b"}, {"b", "a"}} {
			folder := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				keys := []signer{ecdsaKey(t), rsaKey(t)}
				if keyType == certmanager.RSA2048 {
					slices.Reverse(keys)
				}
				sooner := w.obtainWith(keys[0], "example.com")
				time.Sleep(time.Hour)
				w.pemSplit(folder, order[0], sooner)
				w.pemSplit(folder, order[1], w.obtainWith(keys[1], "example.com"))
				config := w.config("example.com")
				config.KeyTypes = []certmanager.KeyType{keyType}
				dry := &migrate.Migration{Manager: newManager(t, config), DryRun: true, Directory: w.ca.URL}
				for _, g := range []*migrate.Migration{dry, {Manager: dry.Manager, Directory: w.ca.URL}, {Manager: dry.Manager, Directory: w.ca.URL}} {
					report, err := g.Lego(t.Context(), folder)
					if err != nil || len(report.Taken) != 1 || len(report.Left) != 1 || !report.Taken[0].NotAfter.Equal(sooner.leaf(t).NotAfter) {
						t.Fatalf("%s, %v: %v, %v", keyType, order, report, err)
					}
					if reason := leftFor(report, "/"+order[1]+".crt"); !strings.Contains(reason, "the kind of key that they are managed with") {
						t.Errorf("it is left because %q", reason)
					}
				}
				if c, ok := dry.Manager.Certificate("example.com"); !ok || string(c.Certificate[0]) != string(sooner.leaf(t).Raw) {
					t.Error("another one is served")
				}
			})
		}
	}
}

// pemSplit writes a certificate of lego's of any name.
func (w *world) pemSplit(folder, name string, p pair) {
	write(w.t, folder, "certificates/"+name+".crt", p.chain)
	write(w.t, folder, "certificates/"+name+".key", pkcs8(w.t, p.key))
}

// TestBothKinds has a certificate with each of the kinds of key that the manager has: both are taken, and served by what clients
// understand.
func TestBothKinds(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.pemSplit(folder, "ecdsa", w.obtain("example.com"))
		w.pemSplit(folder, "rsa", w.obtainWith(rsaKey(t), "example.com"))
		config := w.config("example.com")
		config.KeyTypes = []certmanager.KeyType{certmanager.ECDSAP256, certmanager.RSA2048}
		m := newManager(t, config)
		report, err := (&migrate.Migration{Manager: m, Directory: w.ca.URL}).Lego(t.Context(), folder)
		if err != nil || len(report.Taken) != 2 {
			t.Fatalf("%v, %v", report, err)
		}
		requests := w.requests()
		defer run(t, m)()
		time.Sleep(time.Hour)
		for _, scheme := range []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256, tls.PSSWithSHA256} {
			c, err := m.GetCertificate(&tls.ClientHelloInfo{ServerName: "example.com", SupportedVersions: []uint16{tls.VersionTLS13}, SignatureSchemes: []tls.SignatureScheme{scheme}})
			if err != nil || c == nil {
				t.Errorf("%v: %v", scheme, err)
			}
		}
		if w.requests() != requests {
			t.Error("the CA was asked")
		}
	})
}

// TestReportAsJSON marshals a report, of which a program reads what is left.
func TestReportAsJSON(t *testing.T) {
	g := &migrate.Migration{Manager: newManager(t, newWorld(t).config("example.com")), DryRun: true}
	report, err := g.PEM(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(report)
	if err != nil || string(text) != `{"dryRun":true,"taken":[],"left":[]}` {
		t.Errorf("%s, %v", text, err)
	}
	if text := (*migrate.Report)(nil).String(); text == "" {
		t.Error("no text")
	}
}
