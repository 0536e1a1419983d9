package solver

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver/internal/challenge"
	"github.com/everseal/everseal/storage/storagetest"
)

const loopback = "127.0.0.1:0"

func newHTTP01Proof(token string) acme.Proof {
	return acme.Proof{
		Challenge:        acme.Challenge{Type: acme.TypeHTTP01, Token: token},
		Identifier:       acme.Identifier{Type: acme.TypeDNS, Value: "example.com"},
		KeyAuthorization: token + ".thumbprint",
	}
}

// ask asks the open listener for the answer to p.
func ask(t *testing.T, open *listening, p acme.Proof) error {
	t.Helper()
	conn, err := net.Dial("tcp", open.Addr().String())
	if err != nil {
		return err
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET %s%s HTTP/1.1\r\nHost: example.com\r\n\r\n", challenge.HTTP01Path, p.Token)
	return readAnswer(conn, p)
}

func readAnswer(conn net.Conn, p acme.Proof) error {
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if body, err := io.ReadAll(response.Body); err != nil || string(body) != p.KeyAuthorization {
		return fmt.Errorf("answered %s %q, %v", response.Status, body, err)
	}
	return nil
}

// requireClosed fails the test unless l is closed and open, which it was before, has ended.
func requireClosed(t *testing.T, l *listener, open *listening) {
	t.Helper()
	if l.current != nil || len(l.holders) != 0 {
		t.Errorf("the listener is held by %v", l.holders)
	}
	if _, err := open.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept on the former socket: %v, want that it is closed", err)
	}
	select {
	case <-open.ended:
	default:
		t.Error("the goroutine that accepts connections has not ended")
	}
}

func TestListenerComesAndGoes(t *testing.T) {
	h := &HTTP01{Addr: loopback}
	first, second := newHTTP01Proof("first"), newHTTP01Proof("second")
	for range 2 {
		ctx, cancel := context.WithCancel(t.Context())
		for _, p := range []acme.Proof{first, second, second} {
			if err := h.Present(ctx, p); err != nil {
				t.Fatal(err)
			}
		}
		cancel() // ends the presenting, not the listener
		open := h.listener.current
		if err := errors.Join(ask(t, open, first), ask(t, open, second)); err != nil {
			t.Fatal(err)
		}
		if err := h.CleanUp(t.Context(), first); err != nil {
			t.Fatal(err)
		}
		if err := ask(t, open, second); err != nil {
			t.Errorf("the first of two was cleaned up: %v", err)
		}
		if err := ask(t, open, first); err == nil {
			t.Error("what was cleaned up is still answered")
		}
		if err := h.CleanUp(t.Context(), second); err != nil {
			t.Fatal(err)
		}
		requireClosed(t, &h.listener, open)
		if err := h.CleanUp(t.Context(), second); err != nil {
			t.Errorf("cleaned up twice: %v", err)
		}
	}
}

func TestListenerConcurrently(t *testing.T) {
	h := &HTTP01{Addr: loopback}
	var presented, cleaned sync.WaitGroup
	proofs := make([]acme.Proof, 50)
	for i := range proofs {
		proofs[i] = newHTTP01Proof(fmt.Sprint("token", i))
		presented.Go(func() {
			if err := h.Present(t.Context(), proofs[i]); err != nil {
				t.Error(err)
			}
		})
	}
	presented.Wait()
	if t.Failed() {
		t.FailNow()
	}
	open := h.listener.current
	for _, p := range proofs {
		cleaned.Go(func() {
			if err := ask(t, open, p); err != nil {
				t.Error(err)
			}
			if err := h.CleanUp(t.Context(), p); err != nil {
				t.Error(err)
			}
		})
	}
	cleaned.Wait()
	requireClosed(t, &h.listener, open)
}

// Presents and CleanUps that overlap open and close the listener again and again.
func TestListenerChurn(t *testing.T) {
	h := &HTTP01{Addr: loopback}
	var workers sync.WaitGroup
	for i := range 8 {
		workers.Go(func() {
			p := newHTTP01Proof(fmt.Sprint("token", i))
			for range 20 {
				if err := errors.Join(h.Present(t.Context(), p), h.CleanUp(t.Context(), p)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	workers.Wait()
	if h.listener.current != nil {
		t.Error("the listener is still open")
	}
}

// startSlowRequest sends a request to l whose answer waits for proceed, and returns once the handler has it.
func startSlowRequest(t *testing.T, l *listener, proceed <-chan struct{}) (conn net.Conn, cut <-chan struct{}) {
	t.Helper()
	entered, ended := make(chan struct{}), make(chan struct{})
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(entered)
		select {
		case <-proceed:
			io.WriteString(w, "whole.thumbprint")
		case <-r.Context().Done():
			close(ended)
		}
	})
	if _, err := l.acquire(t.Context(), loopback, handler, "holder"); err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", l.current.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n")
	<-entered
	return conn, ended
}

func TestListenerEndsGracefully(t *testing.T) {
	var l listener
	proceed, released := make(chan struct{}), make(chan struct{})
	conn, _ := startSlowRequest(t, &l, proceed)
	open := l.current
	go func() {
		defer close(released)
		l.release(t.Context(), "holder")
	}()
	<-open.ended
	// The former socket is closed and the next can be opened while the request is still under way.
	if _, err := open.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept on the former socket: %v", err)
	}
	if _, err := l.acquire(t.Context(), loopback, http.NotFoundHandler(), "next"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-released:
		t.Error("released before the request under way was answered")
	default:
	}
	close(proceed)
	if err := readAnswer(conn, newHTTP01Proof("whole")); err != nil {
		t.Errorf("the request under way: %v", err)
	}
	<-released
	next := l.current
	l.release(t.Context(), "next")
	requireClosed(t, &l, next)
}

func TestListenerCutsOffWhenContextEnds(t *testing.T) {
	var l listener
	_, cut := startSlowRequest(t, &l, nil)
	open := l.current
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	l.release(ctx, "holder")
	requireClosed(t, &l, open)
	<-cut
}

// A pipeListener hands out connections in memory.
type pipeListener struct {
	conns  chan net.Conn
	closed context.Context
	close  context.CancelFunc
}

func newPipeListener(ctx context.Context) *pipeListener {
	closed, cancel := context.WithCancel(ctx)
	return &pipeListener{make(chan net.Conn), closed, cancel}
}

func (p *pipeListener) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.closed.Done():
		return nil, net.ErrClosed
	}
}

func (p *pipeListener) Close() error {
	p.close()
	return nil
}

func (p *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

// Whoever connects and says nothing cannot hold up an issuance.
func TestListenerCutsOffSilentClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln := newPipeListener(t.Context())
		open := serve(ln, http.NotFoundHandler())
		l := listener{current: open, holders: map[string]bool{"holder": true}}
		client, server := net.Pipe()
		ln.conns <- server
		start := time.Now()
		l.release(t.Context(), "holder")
		if waited := time.Since(start); waited != closingTimeout {
			t.Errorf("it was waited for %v, want %v", waited, closingTimeout)
		}
		if _, err := client.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("the client reads %v, want the end", err)
		}
		requireClosed(t, &l, open)
	})
}

func TestListenerClosesWhereStoringFails(t *testing.T) {
	store := new(storagetest.Faulty)
	store.SetFaults(storagetest.Fault{On: storagetest.Writes})
	h := &HTTP01{Addr: loopback, Storage: store}
	p := newHTTP01Proof("token")
	if err := h.Present(t.Context(), p); !errors.Is(err, storagetest.ErrFault) {
		t.Fatalf("Present: %v", err)
	}
	if h.listener.current != nil {
		t.Error("the listener was left open")
	}
	// A Present that fails the second time takes away nothing of the first one's.
	if _, err := h.listener.acquire(t.Context(), loopback, h.Handler(nil), p.KeyAuthorization); err != nil {
		t.Fatal(err)
	}
	open := h.listener.current
	if err := h.Present(t.Context(), p); !errors.Is(err, storagetest.ErrFault) {
		t.Fatalf("Present: %v", err)
	}
	if h.listener.current != open {
		t.Error("the listener of the first Present was closed")
	}
	if err := h.CleanUp(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	requireClosed(t, &h.listener, open)
}
