package dnsserver

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// The zones of tests: one of one name, and one for all customers, which has a name server within.
const (
	nameZone  = "_acme-challenge.example.com"
	zoneOfAll = "acme.example.net"
)

func newZones(t testing.TB) *Zones {
	t.Helper()
	z, err := NewZones([]string{nameZone, zoneOfAll + "."}, []string{"ns1.acme.example.net", "ns.example.org."}, map[string][]netip.Addr{
		"NS1.acme.example.net": {netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")},
	})
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// fixed returns what has these records: name, value and so on.
func fixed(pairs ...string) func(context.Context) (*Records, error) {
	records := new(Records)
	for i := 0; i < len(pairs); i += 2 {
		records.Add(pairs[i], pairs[i+1])
	}
	return func(context.Context) (*Records, error) { return records, nil }
}

// newQuery returns a question as a resolver asks it, with EDNS.
func newQuery(name string, qtype dnsmessage.Type) *dnsmessage.Message {
	return &dnsmessage.Message{
		Header:      dnsmessage.Header{ID: 4711},
		Questions:   []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: qtype, Class: dnsmessage.ClassINET}},
		Additionals: []dnsmessage.Resource{newOPT(4096, 0, false)},
	}
}

func newOPT(size int, version uint8, dnssec bool) dnsmessage.Resource {
	option := dnsmessage.Resource{Body: &dnsmessage.OPTResource{}}
	if err := option.Header.SetEDNS0(size, 0, dnssec); err != nil {
		panic(err)
	}
	option.Header.TTL |= uint32(version) << 16
	return option
}

func pack(t testing.TB, m *dnsmessage.Message) []byte {
	t.Helper()
	packed, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return packed
}

func unpack(t testing.TB, packed []byte) *dnsmessage.Message {
	t.Helper()
	m := new(dnsmessage.Message)
	if err := m.Unpack(packed); err != nil {
		t.Fatalf("the answer %x: %v", packed, err)
	}
	return m
}

// A served is a server on sockets of the loopback address.
type served struct {
	*Server
	packets net.PacketConn
	stream  net.Listener
}

// serve has the server answer until the test ends.
func serve(t testing.TB, s *Server) *served {
	t.Helper()
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	stream, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return serveOn(t, s, packets, stream)
}

func serveOn(t testing.TB, s *Server, packets net.PacketConn, stream net.Listener) *served {
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, packets, stream) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return &served{s, packets, stream}
}

// overUDP sends the message and returns the next that comes.
func (s *served) overUDP(t testing.TB, message []byte) []byte {
	t.Helper()
	conn := s.dial(t, "udp", s.packets.LocalAddr())
	send(t, conn, message)
	return receive(t, conn)
}

func (s *served) dial(t testing.TB, network string, address net.Addr) net.Conn {
	t.Helper()
	conn, err := net.Dial(network, address.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func send(t testing.TB, conn net.Conn, message []byte) {
	t.Helper()
	if _, err := conn.Write(message); err != nil {
		t.Fatal(err)
	}
}

func receive(t testing.TB, conn net.Conn) []byte {
	t.Helper()
	buffer := make([]byte, 1<<16)
	n, err := conn.Read(buffer)
	if err != nil {
		t.Fatal(err)
	}
	return buffer[:n]
}

// overTCP sends the message on a connection of its own and returns the answer.
func (s *served) overTCP(t testing.TB, message []byte) []byte {
	t.Helper()
	conn := s.dial(t, "tcp", s.stream.Addr())
	send(t, conn, framed(message))
	return receiveFramed(t, conn)
}

func framed(message []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(message))), message...)
}

func receiveFramed(t testing.TB, conn net.Conn) []byte {
	t.Helper()
	message, err := readFramed(conn)
	if err != nil {
		t.Fatal(err)
	}
	return message
}

func readFramed(conn net.Conn) ([]byte, error) {
	var length [2]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		return nil, err
	}
	message := make([]byte, binary.BigEndian.Uint16(length[:]))
	_, err := io.ReadFull(conn, message)
	return message, err
}
