package dnsserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// Connections are bounded, in all and for each network. One that is too many is closed at once, and one that ends makes room.
func TestTCPConnections(t *testing.T) {
	s := &Server{Zones: newZones(t), Records: fixed()}
	inMemory(t, s, func(t *testing.T, _ *memorySocket, listener *memoryListener) {
		var open []net.Conn
		for network := range maxConnections / maxNetworkConnections {
			for i := range maxNetworkConnections {
				open = append(open, listener.connect(t, fmt.Sprintf("10.0.%d.%d:53", network, i)))
			}
			if extra := listener.connect(t, fmt.Sprintf("10.0.%d.200:53", network)); isOpen(extra) {
				t.Fatalf("network %d has one connection more than may be", network)
			}
		}
		if len(open) != maxConnections {
			t.Fatalf("%d connections were opened", len(open))
		}
		if extra := listener.connect(t, "192.0.2.1:53"); isOpen(extra) {
			t.Error("there is one connection more than may be")
		}
		open[0].Close()
		synctest.Wait()
		if next := listener.connect(t, "10.0.0.1:53"); !isOpen(next) {
			t.Error("one that ended made no room")
		}
		for _, conn := range open {
			conn.Close()
		}
		synctest.Wait()
		if n := len(s.connections.by); n != 1 || s.connections.total != 1 {
			t.Errorf("%d connections of %d networks are counted when all but one are closed", s.connections.total, n)
		}
	})
}

// A connection is closed when the next question takes too long to come, wholly, and when it has been open for long.
func TestTCPTimeouts(t *testing.T) {
	question := framed(pack(t, newQuery("acme.example.net.", dnsmessage.TypeSOA)))
	for name, test := range map[string]struct {
		talk func(t *testing.T, conn net.Conn) // until it is closed
		want time.Duration
	}{
		"nothing":         {func(*testing.T, net.Conn) {}, idleTimeout},
		"half a question": {func(t *testing.T, conn net.Conn) { send(t, conn, question[:20]) }, idleTimeout},
		"a byte at a time": {func(_ *testing.T, conn net.Conn) {
			go func() {
				for i := range question {
					if _, err := conn.Write(question[i : i+1]); err != nil {
						return
					}
					time.Sleep(700 * time.Millisecond)
				}
			}()
		}, idleTimeout},
		"a question, then nothing": {func(t *testing.T, conn net.Conn) {
			time.Sleep(time.Second)
			send(t, conn, question)
			receiveFramed(t, conn)
		}, time.Second + idleTimeout},
		"question after question": {func(_ *testing.T, conn net.Conn) {
			go func() {
				for {
					if _, err := conn.Write(question); err != nil {
						return
					}
					time.Sleep(700 * time.Millisecond)
				}
			}()
			for {
				if _, err := readFramed(conn); err != nil {
					return
				}
			}
		}, connectionTimeout},
		"an answer that is not taken": {func(t *testing.T, conn net.Conn) {
			send(t, conn, question)
			time.Sleep(writeTimeout + time.Second) // before it is read
		}, writeTimeout + time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			s := &Server{Zones: newZones(t), Records: fixed()}
			inMemory(t, s, func(t *testing.T, _ *memorySocket, listener *memoryListener) {
				began := time.Now()
				conn := listener.connect(t, "192.0.2.1:53")
				test.talk(t, conn)
				if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
					t.Errorf("the end is %v", err)
				}
				if took := time.Since(began); took != test.want {
					t.Errorf("closed after %v, want %v", took, test.want)
				}
				time.Sleep(time.Minute) // so that who still talks finds it closed: a bubble's time ends with its test
			})
		})
	}
}

// A message that says to be longer than a question may be is not read.
func TestTCPQuestionLength(t *testing.T) {
	s := serve(t, &Server{Zones: newZones(t), Records: fixed()})
	if answer := unpack(t, s.overTCP(t, padded(t, maxQuestion))); len(answer.Answers) != 1 {
		t.Errorf("%+v", answer)
	}
	for name, message := range map[string][]byte{"one byte more": framed(padded(t, maxQuestion+1)), "65,535 bytes": {0xff, 0xff}, "no byte": {0, 0}, "no header": {0, 3, 1, 2, 3}} {
		conn := s.dial(t, "tcp", s.stream.Addr())
		send(t, conn, message)
		if answer, err := readFramed(conn); err == nil {
			t.Errorf("%s: the answer is %x", name, answer)
		}
	}
}

// Questions of a connection are answered as they can be (RFC 7766 §6.2.1.1), a bounded number at a time.
func TestTCPPipelining(t *testing.T) {
	var waiting atomic.Int64
	var release chan struct{}
	s := &Server{Zones: newZones(t), Records: func(context.Context) (*Records, error) {
		waiting.Add(1)
		<-release
		return new(Records), nil
	}}
	inMemory(t, s, func(t *testing.T, _ *memorySocket, listener *memoryListener) {
		release = make(chan struct{})
		conn := listener.connect(t, "192.0.2.1:53")
		question := func(id uint16, kind dnsmessage.Type) []byte {
			query := newQuery("acme.example.net.", kind)
			query.ID = id
			return framed(pack(t, query))
		}
		send(t, conn, question(1, dnsmessage.TypeTXT))
		send(t, conn, question(2, dnsmessage.TypeSOA))
		if first := unpack(t, receiveFramed(t, conn)); first.ID != 2 {
			t.Errorf("the answer to %d came first", first.ID)
		}
		var sent atomic.Int64
		go func() {
			for i := range uint16(2 * maxPipelined) {
				if _, err := conn.Write(question(10+i, dnsmessage.TypeTXT)); err != nil {
					return
				}
				sent.Add(1)
			}
		}()
		synctest.Wait()
		if n := waiting.Load(); n != maxPipelined || sent.Load() > maxPipelined {
			t.Errorf("%d questions wait for records, %d were read", n, sent.Load())
		}
		close(release)
		seen := make(map[uint16]bool)
		for range 1 + 2*maxPipelined {
			seen[unpack(t, receiveFramed(t, conn)).ID] = true
		}
		if len(seen) != 1+2*maxPipelined {
			t.Errorf("%d questions were answered", len(seen))
		}
	})
}

// A client that has asked and says no more is answered still.
func TestTCPHalfClosed(t *testing.T) {
	s := serve(t, &Server{Zones: newZones(t), Records: fixed(nameZone, "value")})
	conn := s.dial(t, "tcp", s.stream.Addr())
	send(t, conn, framed(pack(t, newQuery(nameZone+".", dnsmessage.TypeTXT))))
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if answer := unpack(t, receiveFramed(t, conn)); len(answer.Answers) != 1 {
		t.Errorf("%+v", answer)
	}
}

// An answer that is longer than any message may be is none that could be had elsewhere.
func TestTCPAnswerLength(t *testing.T) {
	records := new(Records)
	for i := range 20 {
		records.Add(nameZone, fmt.Sprint(strings.Repeat("v", 4000), i))
	}
	s := serve(t, &Server{Zones: newZones(t), Records: func(context.Context) (*Records, error) { return records, nil }})
	if answer := unpack(t, s.overTCP(t, pack(t, newQuery(nameZone+".", dnsmessage.TypeTXT)))); answer.RCode != dnsmessage.RCodeServerFailure || answer.Truncated {
		t.Errorf("%+v", answer.Header)
	}
}

// What ends while questions wait leaves nobody behind.
func TestServeEnds(t *testing.T) {
	s := &Server{Zones: newZones(t), Records: func(ctx context.Context) (*Records, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	inMemory(t, s, func(t *testing.T, packets *memorySocket, listener *memoryListener) {
		question := pack(t, newQuery("acme.example.net.", dnsmessage.TypeTXT))
		if answer := packets.ask(t, question, "192.0.2.1:53"); answer != nil {
			t.Errorf("%+v", answer)
		}
		send(t, listener.connect(t, "192.0.2.1:53"), framed(question))
		listener.connect(t, "192.0.2.1:54")
		synctest.Wait()
	})
}
