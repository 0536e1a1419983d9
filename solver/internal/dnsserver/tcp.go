package dnsserver

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	lengthPrefix = 2         // bytes before each message (RFC 1035 §4.2.2)
	maxOverTCP   = 1<<16 - 1 // bytes of a message
)

// serveConnections answers over TCP until ctx ends.
func (s *Server) serveConnections(ctx context.Context, listener net.Listener) error {
	var serving sync.WaitGroup
	defer serving.Wait()
	for failures := 0; ; {
		conn, err := listener.Accept()
		if err == nil {
			failures = 0
			s.accept(ctx, conn, &serving)
			continue
		}
		if failures++; !isPassing(ctx, err, failures) {
			return fmt.Errorf("accept connections: %w", err)
		}
	}
}

// accept serves a connection, unless there are too many.
func (s *Server) accept(ctx context.Context, conn net.Conn, serving *sync.WaitGroup) {
	address, _ := netip.ParseAddrPort(conn.RemoteAddr().String()) // zero for what has none
	network := networkOf(address.Addr())
	if !s.connections.admit(network) {
		conn.Close()
		return
	}
	serving.Go(func() {
		defer s.connections.release(network)
		s.serveConnection(ctx, conn)
	})
}

// serveConnection answers the questions of a connection, each when it can be answered, until the client ends it or has taken
// too long, or ctx ends.
func (s *Server) serveConnection(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, connectionTimeout)
	defer cancel()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	w := &answerWriter{conn: conn}
	places := make(chan struct{}, maxPipelined)
	var answering sync.WaitGroup
	defer answering.Wait()
	for {
		q, err := readQuestion(conn)
		if err != nil {
			return
		}
		a, r := newAnswerer(s.Zones, q)
		if r != nil {
			w.write(r)
			continue
		}
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			return
		}
		answering.Go(func() {
			defer func() { <-places }()
			r := s.answer(ctx, a)
			if !w.write(r) {
				w.write(a.failure())
			}
		})
	}
}

var errUnanswered = errors.New("a message that gets no answer")

// readQuestion reads the next one of a connection.
func readQuestion(conn net.Conn) (*question, error) {
	if err := conn.SetReadDeadline(time.Now().Add(idleTimeout)); err != nil {
		return nil, err
	}
	var message [maxQuestion]byte
	if _, err := io.ReadFull(conn, message[:lengthPrefix]); err != nil {
		return nil, err
	}
	length := int(binary.BigEndian.Uint16(message[:]))
	if length > maxQuestion {
		return nil, errUnanswered
	}
	if _, err := io.ReadFull(conn, message[:length]); err != nil {
		return nil, err
	}
	q, ok := parse(message[:length])
	if !ok {
		return nil, errUnanswered
	}
	return &q, nil
}

// An answerWriter writes to a connection, one answer after the other.
type answerWriter struct {
	mu   sync.Mutex // held while an answer is written
	conn net.Conn
}

// write reports false if the reply does not fit into a message. A client that takes no answers loses the connection.
func (w *answerWriter) write(r *reply) bool {
	message := r.pack(make([]byte, lengthPrefix, maxQuestion), maxOverTCP)
	if r.truncated {
		return false
	}
	binary.BigEndian.PutUint16(message, uint16(len(message)-lengthPrefix))
	w.mu.Lock()
	defer w.mu.Unlock()
	err := w.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	if err == nil {
		_, err = w.conn.Write(message)
	}
	if err != nil {
		w.conn.Close()
	}
	return true
}
