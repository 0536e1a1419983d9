package certmanager_test

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
)

// workKey returns the key of the record that holds lease and journal of the work on the name.
func (w *world) workKey(name string) string {
	return "work/" + (&certmanager.ACME{DirectoryURL: w.ca.URL}).ID() + "/" + name + "/ecdsa-p256"
}

// TestCorruptJournal damages what is kept of work under way: the journal in a sound lease, or the whole
// record. It must be set aside and reported, and work goes on.
func TestCorruptJournal(t *testing.T) {
	for kind, open := range stores {
		for _, test := range []struct {
			name  string
			lease bool // the lease around it is sound
			value string
		}{
			{"journal of garbage", true, "\x00\x1b[31mgarbage"},
			{"journal cut", true, `{"version":1,"key":"-----BEGIN PRIV`},
			{"journal of a later version", true, `{"version":3}`},
			{"lease of garbage", false, "\x00\x1b[31mgarbage"},
			{"lease cut", false, `{"version":1,"owner":"`},
			{"lease without beat", false, `{"version":1,"owner":"","fence":3,"term":"1m0s"}` + "\n{}"},
		} {
			t.Run(kind+"/"+test.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t)
					w.store = open(t)
					key := w.workKey("example.com")
					if test.lease {
						saveJournal(t, w.store, key, test.value)
					} else if _, err := w.store.Save(t.Context(), key, []byte(test.value), ""); err != nil {
						t.Fatal(err)
					}
					began := time.Now()
					_, stop := w.start(w.config("example.com"))
					defer stop()
					if took := w.await(certmanager.EventObtained, "example.com", 1).Time.Sub(began); took > 2*time.Minute {
						t.Errorf("it took %v", took)
					}
					synctest.Wait()
					if n := w.count(certmanager.EventCorrupt); n != 1 {
						t.Fatalf("%d records were reported corrupt, want 1", n)
					}
					if text := w.await(certmanager.EventCorrupt, "example.com", 1).Err.Error(); !strings.Contains(text, key) || strings.ContainsAny(text, "\x00\x1b\n") {
						t.Errorf("the report is %q", text)
					}
					if aside, item := w.record("corrupt"); !bytes.Contains(item.Value, []byte(test.value)) {
						t.Errorf("%s holds %q", aside, item.Value)
					}
				})
			})
		}
	}
}

// saveJournal stores a journal as a manager before left it.
func saveJournal(t *testing.T, s storage.Store, key, value string) {
	t.Helper()
	lease, err := storage.Acquire(t.Context(), s, key, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if err := lease.Save(t.Context(), []byte(value)); err != nil {
		t.Fatal(err)
	}
	if err := lease.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestJournalDamagedInside gives journals that can be read and make no sense: nothing of them may
// keep the name from its certificate.
func TestJournalDamagedInside(t *testing.T) {
	for _, value := range []string{
		`{"version":1,"key":"no PEM"}`,
		`{"version":1,"key":"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n","notes":"AAAA"}`,
		`{"version":1,"notes":"bm90IEpTT04="}`,
		`{"version":1,"notes":"eyJvcmRlclVSTCI6Imh0dHBzOi8vYWNtZXRlc3QuaW52YWxpZC9vcmRlci9nb25lIn0="}`, // an order that is gone
		`{"version":1,"notes":"eyJvcmRlclVSTCI6Imh0dHA6Ly8xMjcuMC4wLjE6MS9vcmRlciJ9"}`,                 // an order elsewhere
		`{"version":1,"notes":"eyJvcmRlclVSTCI6Ijo6OiJ9"}`,                                             // no URL
		`{"version":1,"refusals":-5,"interruptions":999999999999}`,
		`{"version":1,"next":"0001-01-01T00:00:00Z","error":"long ago"}`,
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			saveJournal(t, w.store, w.workKey("example.com"), value)
			began := time.Now()
			_, stop := w.start(w.config("example.com"))
			defer stop()
			if took := w.await(certmanager.EventObtained, "example.com", 1).Time.Sub(began); took > time.Hour {
				t.Errorf("%s: it took %v", value, took)
			}
		})
	}
}

// TestTakeOver stops a process's storage in the midst of an issuance, as if its machine had lost the
// network, and lets another member of the fleet go on: by the same order, with one certificate.
func TestTakeOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		front := w.front()
		front.answerWith(only("finalize", hang))
		dead := make(chan struct{})
		// Two writes of the probe; lease, key, account, its URL, order, answers: all that comes before finalize.
		cut := mortal(w.store, 10, false, func(string) { close(dead) })
		config := w.config("example.com")
		acmeOf(config).HTTPClient, config.Storage = front.client(), cut
		config.SweepInterval = -1 // its first write may come at any time
		m, err := certmanager.New(config)
		if err != nil {
			t.Fatal(err)
		}
		wait := w.runUntil(m, dead)
		<-dead // by the beat of its lease
		if front.count("finalize") == 0 {
			t.Fatal("the first process did not come to finalize")
		}
		began := time.Now()
		_, stop := w.start(w.config("example.com"))
		defer stop()
		if took := w.await(certmanager.EventObtained, "example.com", 1).Time.Sub(began); took > 2*time.Minute {
			t.Errorf("the second process took over after %v", took)
		}
		wait()
		if orders := len(w.ca.Orders()); orders != 1 {
			t.Errorf("%d orders, want the one of the first process", orders)
		}
	})
}

// TestWorkIsGivenBack shows that a stopped manager leaves its lease free: who comes next does not wait.
func TestWorkIsGivenBack(t *testing.T) {
	for _, hanging := range []string{"directory", "newOrder", "challenge", "finalize"} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			front := w.front()
			front.answerWith(only(hanging, hang))
			config := w.config("example.com")
			acmeOf(config).HTTPClient = front.client()
			_, stop := w.running(config)
			time.Sleep(5 * time.Second)
			stop()
			began := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			lease, err := storage.Acquire(ctx, w.store, w.workKey("example.com"), time.Minute)
			if err != nil {
				t.Fatalf("%s: %v", hanging, err)
			}
			if took := time.Since(began); took > 0 {
				t.Errorf("%s: the lease was free after %v", hanging, took)
			}
			if err := lease.Release(ctx); err != nil {
				t.Error(err)
			}
		})
	}
}
