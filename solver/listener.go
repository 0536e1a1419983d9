package solver

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

// A listener serves HTTP while at least one holder needs it. The zero value is closed.
type listener struct {
	mu      sync.Mutex // guards the fields; also held while the address is bound, which is local work
	holders map[string]bool
	current *listening // nil: closed
}

// A listening is one spell of a listener, from its opening to its closing.
type listening struct {
	net.Listener
	server *http.Server
	ended  chan struct{} // closed when the goroutine that accepts connections has ended
}

const (
	requestTimeout = 10 * time.Second // for reading a request, and as much for answering it
	closingTimeout = time.Second      // for requests under way at the end: by then they have their answer, or get none
)

// acquire adds a holder, and opens the listener for the first. It reports whether the holder is new.
// The listener stays open after ctx has ended.
func (l *listener) acquire(ctx context.Context, addr string, handler http.Handler, holder string) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.holders[holder] {
		return false, nil
	}
	if l.current == nil {
		current, err := listen(ctx, addr, handler)
		if err != nil {
			return false, err
		}
		l.current = current
		l.holders = make(map[string]bool)
	}
	l.holders[holder] = true
	return true, nil
}

// release takes a holder away. With the last it closes the listener, and returns when no request is
// under way or was cut off when closingTimeout or ctx was over.
func (l *listener) release(ctx context.Context, holder string) {
	l.mu.Lock()
	delete(l.holders, holder)
	last := l.current
	if last == nil || len(l.holders) > 0 {
		l.mu.Unlock()
		return
	}
	l.current = nil
	last.Close() // still under the lock: whoever acquires next finds the address free
	l.mu.Unlock()
	last.shutdown(ctx)
}

func listen(ctx context.Context, addr string, handler http.Handler) (*listening, error) {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("solver: http-01 cannot listen on %q: %w; if another server owns the address, mount HTTP01.Handler "+
			"there and leave Addr empty; if the port needs a privilege, grant it; or use tls-alpn-01", addr, err)
	}
	return serve(ln, handler), nil
}

// serve starts the one goroutine of a listening; it ends when ln is closed.
func serve(ln net.Listener, handler http.Handler) *listening {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: requestTimeout,
		ReadTimeout:       requestTimeout,
		WriteTimeout:      requestTimeout,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          log.New(io.Discard, "", 0),
	}
	server.SetKeepAlivesEnabled(false)
	current := &listening{Listener: ln, server: server, ended: make(chan struct{})}
	go func() {
		defer close(current.ended)
		server.Serve(ln) // its error can but say that ln is closed
	}()
	return current
}

// shutdown follows Close: it ends what was accepted before.
func (l *listening) shutdown(ctx context.Context) {
	<-l.ended // from here on the server knows of every connection that was accepted
	ctx, cancel := context.WithTimeout(ctx, closingTimeout)
	defer cancel()
	if l.server.Shutdown(ctx) != nil {
		l.server.Close()
	}
}
