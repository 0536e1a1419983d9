package peers

import (
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// A relay is a port at which a CA looks for answers, such as its port 80, and leads to whatever server is there at the
// moment. Like a balancer in front of a server that is restarted, it holds a connection until there is one, and tries
// the next server where one dies before it has sent a byte: no validation fails because a server was killed just then.
type relay struct {
	net.Listener
	ctx         context.Context
	connections atomic.Int64 // how many were made
	direct      atomic.Bool  // nothing is held: what finds no server fails

	mu     sync.Mutex
	server string        // where the server listens; empty: there is none
	moved  chan struct{} // closed when server changes
}

func startRelay(t testing.TB) *relay {
	ctx, cancel := context.WithCancel(t.Context())
	r := &relay{Listener: listen(t), ctx: ctx, moved: make(chan struct{})}
	var tasks sync.WaitGroup
	tasks.Go(func() {
		for {
			client, err := r.Accept()
			if err != nil {
				return
			}
			r.connections.Add(1)
			tasks.Go(func() { r.pass(client) })
		}
	})
	t.Cleanup(func() {
		cancel()
		_ = r.Close()
		tasks.Wait()
	})
	return r
}

func (r *relay) port() int { return r.Addr().(*net.TCPAddr).Port }

// lead has the port lead to another server from now on.
func (r *relay) lead(server string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.server = server
	close(r.moved)
	r.moved = make(chan struct{})
}

func (r *relay) current() (server string, moved <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.server, r.moved
}

// pass serves one connection.
func (r *relay) pass(client net.Conn) {
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	context.AfterFunc(ctx, func() { _ = client.Close() })
	said := newTranscript()
	context.AfterFunc(ctx, said.end)
	go func() {
		_, _ = io.Copy(said, client)
		said.end()
		cancel()
	}()
	for {
		server, moved := r.current()
		if server != "" && r.try(ctx, client, said, server) || r.direct.Load() {
			return
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return
		}
	}
}

// try tells the server what the client says and passes its answer on. It reports false where no byte came back.
func (r *relay) try(ctx context.Context, client net.Conn, said *transcript, address string) bool {
	server, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return false
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	defer server.Close()
	go func() { _ = said.replay(server) }()
	n, _ := io.Copy(client, server)
	return n > 0
}

// A transcript is what a client has said so far.
type transcript struct {
	mu    sync.Mutex
	more  *sync.Cond
	text  []byte
	ended bool
}

func newTranscript() *transcript {
	s := new(transcript)
	s.more = sync.NewCond(&s.mu)
	return s
}

// Write adds to the transcript.
func (s *transcript) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text = append(s.text, p...)
	s.more.Broadcast()
	return len(p), nil
}

func (s *transcript) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	s.more.Broadcast()
}

// replay writes the transcript to a server, from its beginning, until it has ended or the server is gone.
func (s *transcript) replay(server io.Writer) error {
	told := 0
	for {
		s.mu.Lock()
		for len(s.text) == told && !s.ended {
			s.more.Wait()
		}
		rest := s.text[told:]
		s.mu.Unlock()
		if len(rest) == 0 {
			return nil
		}
		if _, err := server.Write(rest); err != nil {
			return err
		}
		told += len(rest)
	}
}
