package peers

import (
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"testing"
)

// A web is an HTTP server of one test.
type web struct {
	server *http.Server
	ended  chan error
	once   sync.Once
}

func startWeb(t testing.TB, ln net.Listener, handler http.Handler) *web {
	t.Helper()
	w := &web{
		server: &http.Server{Handler: handler, ErrorLog: log.New(io.Discard, "", 0)},
		ended:  make(chan error, 1),
	}
	go func() { w.ended <- w.server.Serve(ln) }()
	t.Cleanup(func() { w.stop(t) })
	return w
}

// stop closes the server and waits for its end.
func (w *web) stop(t testing.TB) {
	w.once.Do(func() {
		_ = w.server.Close()
		if err := <-w.ended; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("HTTP server: %v", err)
		}
	})
}
