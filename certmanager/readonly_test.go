package certmanager_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/everseal/everseal/storage"
)

// A readOnly storage takes nothing.
type readOnly struct{ storage.Store }

var errReadOnly = errors.New("it is read-only")

func (readOnly) Save(context.Context, string, []byte, storage.Revision) (storage.Revision, error) {
	return "", errReadOnly
}

func (readOnly) Delete(context.Context, string, storage.Revision) error { return errReadOnly }

// A server whose certificates are all wanted on demand serves what is stored, though the storage takes nothing more.
func TestOnDemandWithReadOnlyStorage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		_, stop := w.running(w.onDemand(new(policy)))
		if _, err := w.handshake(t.Context(), "example.com"); err != nil {
			t.Fatal(err)
		}
		stop()
		config := w.onDemand(new(policy))
		config.Storage = readOnly{w.store}
		_, stop = w.start(config)
		defer stop()
		synctest.Wait()
		if _, err := w.handshake(t.Context(), "example.com"); err != nil {
			t.Error(err)
		}
		if _, err := w.handshake(t.Context(), "new.example.com"); err == nil {
			t.Error("a certificate was obtained that can't be kept")
		}
		if n := w.newOrders(); n != 1 {
			t.Errorf("%d orders, want that of the certificate that is stored", n)
		}
	})
}
