package solvertest

import (
	"encoding/binary"
	"io"
	"net"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// handle returns the messages to send for one that came.
func (s *Nameserver) handle(network string, message []byte) [][]byte {
	var query dnsmessage.Message
	if err := query.Unpack(message); err != nil || len(query.Questions) != 1 {
		return nil
	}
	s.dns.mu.Lock()
	s.asked = append(s.asked, Query{network, query})
	reply, answer := s.reply(query), s.answer
	s.dns.mu.Unlock()
	if answer != nil {
		return answer(network, &query, reply)
	}
	limit := 512
	for _, r := range query.Additionals {
		if r.Header.Type == dnsmessage.TypeOPT {
			limit = int(r.Header.Class)
		}
	}
	packed := Pack(reply)
	if network == "udp" && len(packed[0]) > limit {
		reply.Truncated, reply.Answers, reply.Authorities = true, nil, nil
		packed = Pack(reply)
	}
	return packed
}

// serve answers on one connection until it is closed.
func (s *Nameserver) serve(network string, conn net.Conn) {
	defer conn.Close()
	buffer := make([]byte, 64<<10)
	for {
		n, err := conn.Read(buffer)
		if network == "tcp" && err == nil {
			// Over a pipe the length comes with the message, over a socket maybe without.
			if n < 2 {
				_, err = io.ReadFull(conn, buffer[n:2])
				n = 2
			}
			if size := 2 + int(binary.BigEndian.Uint16(buffer)); err == nil && n < size {
				_, err = io.ReadFull(conn, buffer[n:size])
				n = size
			}
		}
		if err != nil {
			return
		}
		message := buffer[:n]
		if network == "tcp" {
			message = message[2:]
		}
		for _, m := range s.handle(network, message) {
			if network == "tcp" {
				m = append(binary.BigEndian.AppendUint16(nil, uint16(len(m))), m...)
			}
			conn.Write(m)
		}
	}
}

// listen opens the server's sockets.
func (s *Nameserver) listen(t testing.TB) {
	t.Helper()
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.udp, s.tcp = packets.LocalAddr().String(), listener.Addr().String()
	var serving sync.WaitGroup
	serving.Go(func() {
		buffer := make([]byte, 64<<10)
		for {
			n, from, err := packets.ReadFrom(buffer)
			if err != nil {
				return
			}
			for _, m := range s.handle("udp", buffer[:n]) {
				packets.WriteTo(m, from)
			}
		}
	})
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { s.serve("tcp", conn) })
		}
	})
	t.Cleanup(func() {
		packets.Close()
		listener.Close()
		serving.Wait()
	})
}
