package certmanager_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme/acmetest"
	"github.com/everseal/everseal/certmanager"
)

// rewrite changes the JSON object that stands in the one record below the prefix.
func (w *world) rewrite(prefix string, change func(object map[string]any)) {
	w.t.Helper()
	key, item := w.record(prefix)
	// A lease's own line comes before the journal, a certificate's record begins with its metadata.
	start := bytes.LastIndexByte(item.Value[:bytes.LastIndex(item.Value, []byte(`"version":1,`))+1], '{')
	if prefix == "certificates" {
		start = bytes.IndexByte(item.Value, '{')
	}
	decoder := json.NewDecoder(bytes.NewReader(item.Value[start:]))
	var object map[string]any
	if err := decoder.Decode(&object); err != nil {
		w.t.Fatal(err)
	}
	change(object)
	changed, err := json.Marshal(object)
	if err != nil {
		w.t.Fatal(err)
	}
	value := bytes.Join([][]byte{item.Value[:start], changed, item.Value[start+int(decoder.InputOffset()):]}, nil)
	if _, err := w.store.Save(w.t.Context(), key, value, item.Revision); err != nil {
		w.t.Fatal(err)
	}
}

// TestFailureNotedInTheFuture has an attempt fail while the clock is ten years ahead: when it is right
// again the certificate comes.
func TestFailureNotedInTheFuture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		front := w.front()
		front.answerWith(func(*http.Request) (*http.Response, error) { return nil, errors.New("unreachable") })
		config := w.config("example.com")
		config.HTTPClient = front.client()
		_, stop := w.start(config)
		w.await(certmanager.EventFailed, "example.com", 1)
		stop()
		ahead := time.Now().AddDate(10, 0, 0).UTC()
		w.rewrite("work", func(journal map[string]any) {
			journal["failed"], journal["next"] = ahead, ahead.Add(time.Second)
		})
		_, stop = w.start(w.config("example.com"))
		defer stop()
		begun := time.Now()
		w.await(certmanager.EventObtained, "example.com", 1)
		if waited := time.Since(begun); waited > time.Hour {
			t.Errorf("the certificate came after %v", waited)
		}
	})
}

// TestObtainedInTheFuture has a certificate come while the clock is four days ahead: it is replaced like
// any other.
func TestObtainedInTheFuture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(ca *acmetest.Server) { ca.Lifetime = 6 * 24 * time.Hour })
		_, stop := w.start(w.config("example.com"))
		w.await(certmanager.EventObtained, "example.com", 1)
		stop()
		w.rewrite("certificates", func(meta map[string]any) {
			meta["obtained"] = time.Now().AddDate(0, 0, 4).UTC()
		})
		m, stop := w.start(w.config("example.com"))
		defer stop()
		first := w.await(certmanager.EventLoaded, "example.com", 1).Serial
		if err := m.Renew(t.Context(), "example.com"); err != nil {
			t.Fatal(err)
		}
		second := statuses(m)[0].Serial
		if second == first {
			t.Error("Renew replaced nothing")
		}
		w.await(certmanager.EventObtained, "example.com", 3)
		if third := statuses(m)[0].Serial; third == second || time.Now().After(statuses(m)[0].NotAfter) {
			t.Errorf("after the renewal %s is served, before it was %s", third, second)
		}
		if n := len(w.ca.Certificates()); n != 3 {
			t.Errorf("%d certificates, want 3", n)
		}
	})
}

// TestManageWhileRunEnds calls the manager from within its own callback when ctx has ended.
func TestManageWhileRunEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		config := w.config("example.com")
		ctx, cancel := context.WithCancel(t.Context())
		var m *certmanager.Manager
		config.OnEvent = func(e certmanager.Event) {
			if e.Kind != certmanager.EventObtaining {
				return
			}
			cancel()
			synctest.Wait()
			if err := m.Manage(certmanager.Subject{Names: []string{"example.net"}}); err != nil {
				t.Errorf("Manage: %v", err)
			}
			if err := m.Renew(t.Context(), "example.net"); err == nil {
				t.Error("Renew has renewed while Run ends")
			}
		}
		m, err := certmanager.New(config)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- m.Run(ctx) }()
		select {
		case <-done:
		case <-time.After(time.Hour):
			t.Fatal("Run has not returned an hour after ctx ended")
		}
	})
}
