package certmanager_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
)

// A callLog is a store that notes the calls which it passes on, such as "load work".
type callLog struct {
	storage.Store

	mu    sync.Mutex
	calls []string
}

func (l *callLog) note(method, key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	prefix, _, _ := strings.Cut(key, "/")
	l.calls = append(l.calls, method+" "+prefix)
}

// take returns the calls since the last time.
func (l *callLog) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	calls := l.calls
	l.calls = nil
	return calls
}

func (l *callLog) Load(ctx context.Context, key string) (storage.Item, error) {
	l.note("load", key)
	return l.Store.Load(ctx, key)
}

func (l *callLog) Save(ctx context.Context, key string, value []byte, old storage.Revision) (storage.Revision, error) {
	l.note("save", key)
	return l.Store.Save(ctx, key, value, old)
}

func (l *callLog) Delete(ctx context.Context, key string, old storage.Revision) error {
	l.note("delete", key)
	return l.Store.Delete(ctx, key, old)
}

// TestStorageCalls counts what one issuance asks of the storage, when the account is open: nine operations.
func TestStorageCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		log := &callLog{Store: w.store}
		config := w.config("example.com")
		config.Storage, config.SweepInterval = log, -1
		m, stop := w.serving(config)
		defer stop()
		log.take()

		if err := m.Manage(certmanager.Subject{Names: []string{"example.net"}}); err != nil {
			t.Fatal(err)
		}
		w.await(certmanager.EventObtained, "example.net", 1)
		synctest.Wait()
		issuance := []string{
			"load work",         // the lease is free
			"load certificates", // nobody was faster
			"save work",         // the lease is taken, if it was free all the time; the key
			"save work",         // the order
			"save work",         // the proofs
			"save challenges",   // the answer
			"delete challenges",
			"save certificates",
			"save work", // the journal is cleared, and the lease given back
		}
		if len(issuance) > 9 {
			t.Errorf("an issuance is to take nine operations at most, not %d", len(issuance))
		}
		// When a name is first heard of, its certificate may be there.
		if calls, want := log.take(), append([]string{"load certificates"}, issuance...); !slices.Equal(calls, want) {
			t.Errorf("a name that is new: %q, want %q", calls, want)
		}
		time.Sleep(time.Second)
		if err := m.Renew(t.Context(), "example.net"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if calls := log.take(); !slices.Equal(calls, issuance) {
			t.Errorf("a renewal: %q, want %q", calls, issuance)
		}
	})
}
