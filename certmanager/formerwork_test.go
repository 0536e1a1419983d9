package certmanager_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/certmanager/internal/record"
	"github.com/everseal/everseal/storage"
)

// formerWork returns a record of the work with one issuer as the release before wrote it (see the tests of package
// record), with the key that it has.
func formerWork(t *testing.T) (value, key, notes string) {
	t.Helper()
	golden, err := os.ReadFile("internal/record/testdata/version1/work/ca.example.com-84b92c5c/underway.example.com/ecdsa-p256")
	if err != nil {
		t.Fatal(err)
	}
	w, err := record.DecodeWork(golden, "second")
	if err != nil {
		t.Fatal(err)
	}
	j := w.Journal("second")
	return string(golden), fmt.Sprint(j.Key.Public()), string(j.Notes)
}

// storeWork stores it where that release had it, and whoever wrote it gives the lease back.
func storeWork(t *testing.T, s storage.Store, value string) {
	t.Helper()
	lease := hold(t, s, workKey("second"))
	if err := lease.Save(t.Context(), []byte(value)); err != nil {
		t.Fatal(err)
	}
	if err := lease.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// storedWork returns what the lease under the key carries.
func storedWork(t *testing.T, s storage.Store, issuer string) string {
	t.Helper()
	lease := hold(t, s, workKey(issuer))
	defer func() { _ = lease.Release(t.Context()) }()
	return string(lease.Value())
}

// wantResumed checks that the second issuer was asked with the key and notes of the former record, and nothing else.
func (c *chain) wantResumed(t *testing.T, key, notes string) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.keys[key] || len(c.keys) != 1 || c.notes[0] != notes {
		t.Errorf("the second issuer was asked with %d keys, and with the notes %q first", len(c.keys), c.notes)
	}
}

// What was under way with the second issuer is resumed, and taken over once.
func TestFormerWorkIsResumed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, store := newChain(t), new(storage.Memory)
		value, key, notes := formerWork(t)
		storeWork(t, store, value)
		c.fail("first", refusal("not for you"))
		c.fail("second", errClosed)
		_, stop := runQuietly(t, c.config(store, "example.com"))
		synctest.Wait()
		stop()
		c.wantAsked(t, "at first", "first second")
		c.wantResumed(t, key, notes)
		if left := storedWork(t, store, "second"); left != "" {
			t.Errorf("the former record still has %s", left)
		}
		if own := storedWork(t, store, "first"); !strings.Contains(own, `"version":2`) || !strings.Contains(own, errClosed.Error()) || !strings.Contains(own, "not for you") {
			t.Errorf("the record of the work has %s", own)
		}
		c.fail("second", nil)
		m, stop := runQuietly(t, c.config(store, "example.com"))
		defer stop()
		awaitValid(t, m, 1)
		c.wantResumed(t, key, notes)
	})
}

// A back-off that the former release wrote down is waited for.
func TestFormerBackoffIsHonoured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, store := newChain(t), new(storage.Memory)
		value, err := json.Marshal(map[string]any{"version": 1, "refusals": 1, "error": "too many", "failed": time.Now().UTC(), "next": time.Now().Add(30 * time.Second).UTC()})
		if err != nil {
			t.Fatal(err)
		}
		storeWork(t, store, string(value))
		c.fail("first", refusal("not for you"))
		m, stop := runQuietly(t, c.config(store, "example.com"))
		defer stop()
		time.Sleep(29 * time.Second)
		c.wantAsked(t, "before its time", "first")
		if took := awaitValid(t, m, 1); took > 5*time.Second {
			t.Errorf("it was asked %v after its time", took)
		}
		c.wantAsked(t, "after its time", "first second")
	})
}

// wantSpared checks that the second issuer was not asked.
func (c *chain) wantSpared(t *testing.T) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if slices.Contains(c.asked, "second") {
		t.Errorf("asked were %q, while another is at work with the second", c.asked)
	}
}

// A process of the former release that is at work with the second issuer is waited for: if it lives until it is done, and
// if it is dead for the term of its lease.
func TestFormerWorkIsHeld(t *testing.T) {
	value, key, notes := formerWork(t)
	for _, dies := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			c, store := newChain(t), new(storage.Memory)
			storeWork(t, store, value)
			life, die := context.WithCancel(t.Context())
			lease, err := storage.Acquire(life, store, workKey("second"), time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			defer die()
			c.fail("first", refusal("not for you"))
			m, stop := runQuietly(t, c.config(store, "example.com"))
			defer stop()
			time.Sleep(50 * time.Second)
			c.wantAsked(t, "while another is at work", "first")
			if s := statusOf(t, m, "example.com"); !strings.Contains(s.Deferred, "another process is obtaining the certificate") {
				t.Errorf("status %+v", s)
			}
			if dies {
				die()
				time.Sleep(50 * time.Second)
				c.wantSpared(t)
				time.Sleep(30 * time.Second)
			} else {
				time.Sleep(time.Hour)
				c.wantSpared(t)
				if err := lease.Release(t.Context()); err != nil {
					t.Fatal(err)
				}
				time.Sleep(20 * time.Second)
			}
			c.wantResumed(t, key, notes)
			if c.second.count() != 1 {
				t.Errorf("%d certificates, want 1", c.second.count())
			}
		})
	}
}

// A process of the former release that had its certificate stored, but was killed before it cleared the record, is seen
// to have succeeded.
func TestFormerWorkWasDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, store := newChain(t), new(storage.Memory)
		value, _, _ := formerWork(t)
		storeWork(t, store, value)
		storeWork(t, store, value)
		c.second.stock(t, store, "example.com")
		m, stop := runQuietly(t, c.config(store, "example.com"))
		defer stop()
		synctest.Wait()
		c.wantAsked(t, "though there is a certificate", "")
		if issuer := served(t, m, "example.com"); issuer != "second" {
			t.Errorf("a certificate of %q is served", issuer)
		}
	})
}

// What is at the key of the second issuer may be damaged, or that of managers which have that issuer as their first:
// the one is reported, and both are left as they are.
func TestFormerWorkThatIsNone(t *testing.T) {
	for _, value := range []string{`{"version":2,"journals":{"second":{"refusals":7}}}`, `{"version":3}`, "damaged", ""} {
		synctest.Test(t, func(t *testing.T) {
			c, store := newChain(t), new(storage.Memory)
			storeWork(t, store, value)
			c.fail("first", refusal("not for you"))
			m, stop := runQuietly(t, c.config(store, "example.com"))
			defer stop()
			awaitValid(t, m, 1)
			c.wantAsked(t, value, "first second")
			if left := storedWork(t, store, "second"); left != value {
				t.Errorf("%s has become %s", value, left)
			}
			copies := 0
			for range store.List(t.Context(), "corrupt") {
				copies++
			}
			if want := strings.Count(value, "damaged") + strings.Count(value, "3"); copies != want {
				t.Errorf("%s: %d copies are kept, want %d", value, copies, want)
			}
		})
	}
}

// TestKilledWhileTakingOver kills the process at each write in turn: the key that the former release had is used, and no
// second certificate is ordered with another.
func TestKilledWhileTakingOver(t *testing.T) {
	value, key, notes := formerWork(t)
	for _, reaches := range []bool{false, true} {
		done := false
		for n := 0; !done; n++ {
			if n > 100 {
				t.Fatal("an issuance takes more than 100 writes")
			}
			synctest.Test(t, func(t *testing.T) {
				c, store := newChain(t), new(storage.Memory)
				storeWork(t, store, value)
				c.fail("first", refusal("not for you"))
				dead := make(chan struct{})
				_, wait := begin(t, c.config(mortal(store, n, reaches, func(string) { close(dead) }), "example.com"))
				select {
				case <-dead:
				case <-time.After(time.Minute):
					done = true
				}
				_ = wait() // what Run returns is lost with the process
				m, stop := runQuietly(t, c.config(store, "example.com"))
				defer stop()
				awaitValid(t, m, 1)
				time.Sleep(time.Hour)
				c.wantResumed(t, key, notes)
				if left := storedWork(t, store, "second"); left != "" {
					t.Errorf("killed at write %d: the former record still has %s", n, left)
				}
			})
		}
	}
}
