package certmanager_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/acme/acmetest"
	"github.com/everseal/everseal/certmanager"
)

// A server that has port 80 alone, by HTTPHandler, obtains by http-01 at once, though nothing but the handler says so.
func TestHandlerAlone(t *testing.T) {
	inBubbleWorld(t, func(t *testing.T, w *world) {
		m, err := certmanager.New(w.config("example.com"))
		if err != nil {
			t.Fatal(err)
		}
		listener := newPipeListener()
		w.mu.Lock()
		w.listener = listener
		w.mu.Unlock()
		server := &http.Server{Handler: m.HTTPHandler(nil)}
		var group sync.WaitGroup
		defer group.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		defer server.Close()
		group.Go(func() { _ = server.Serve(listener) })
		group.Go(func() { _ = m.Run(ctx) })
		began := time.Now()
		w.await(certmanager.EventObtained, "example.com", 1)
		synctest.Wait()
		if n := w.count(certmanager.EventFailed) + w.count(certmanager.EventWarning); n != 0 || time.Since(began) > time.Second {
			t.Errorf("after %v, %d failures and warnings", time.Since(began), n)
		}
		if s := statusOf(t, m, "example.com"); !slices.Equal(s.Challenges, []string{acme.TypeHTTP01}) {
			t.Errorf("proved by %v", s.Challenges)
		}
	})
}

// TestNothingServed has nobody join the manager to a server: no CA is asked to validate for a minute, for any of the names, and
// the error says what to do. After that it is, since a GetCertificate may be served where this process sees it not.
func TestNothingServed(t *testing.T) {
	silent := func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}
	}
	synctest.Test(t, func(t *testing.T) {
		w, names := newWorld(t, func(ca *acmetest.Server) { ca.Dial = silent }), siteNames(30)
		config := w.config(names...)
		config.Vantage.Dial = silent
		m, err := certmanager.New(config)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- m.Run(ctx) }()
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := w.ca.Requests()["challenge"]; n != 0 {
			t.Errorf("the CA was asked for %d validations", n)
		}
		for _, name := range names {
			failure := statusOf(t, m, name).Failure
			if failure == nil {
				t.Fatalf("%s has not failed", name)
			}
			for _, says := range []string{"was not asked", "Manager.Serve", "Manager.Listener", "Manager.TLSConfig", "Manager.HTTPHandler", "solver.DNS01", name} {
				if text := fmt.Sprint(failure.Err); !strings.Contains(text, says) {
					t.Errorf("the error does not say %q: %s", says, text)
				}
			}
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if n := w.ca.Requests()["challenge"]; n == 0 {
			t.Error("the CA is never asked")
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
