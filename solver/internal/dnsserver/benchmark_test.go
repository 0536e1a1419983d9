package dnsserver

import (
	"net"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// From a message to the answer, without sockets: a TXT record that is there, and a name that is not.
//
//	go test -run '^$' -bench Answer -benchmem ./solver/internal/dnsserver
func BenchmarkAnswer(b *testing.B) {
	for name, asked := range map[string]string{"found": nameZone + ".", "absent": "made-up.acme.example.net."} {
		b.Run(name, func(b *testing.B) {
			s := &Server{Zones: newZones(b), Records: fixed(nameZone, "0123456789012345678901234567890123456789012")}
			message := pack(b, newQuery(asked, dnsmessage.TypeTXT))
			var buffer [maxOverUDP]byte
			b.ReportAllocs()
			for b.Loop() {
				q, _ := parse(message)
				a, _ := newAnswerer(s.Zones, &q)
				if len(s.answer(b.Context(), a).pack(buffer[:0], q.maxAnswer())) == 0 {
					b.Fatal("no answer")
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "answers/s")
		})
	}
}

// The same over UDP on the loopback address, one question after the other, from many networks.
func BenchmarkAnswerOverUDP(b *testing.B) {
	s := serve(b, &Server{Zones: newZones(b), Records: fixed(nameZone, "0123456789012345678901234567890123456789012")})
	message := pack(b, newQuery(nameZone+".", dnsmessage.TypeTXT))
	var conns []net.Conn
	for i := range byte(200) {
		conn, err := (&net.Dialer{LocalAddr: &net.UDPAddr{IP: net.IPv4(127, 0, i, 1)}}).Dial("udp", s.packets.LocalAddr().String())
		if err != nil {
			b.Skip(err) // not every system has them all
		}
		defer conn.Close()
		conns = append(conns, conn)
	}
	answer := make([]byte, maxOverUDP)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		conn := conns[i%len(conns)]
		send(b, conn, message)
		if n, err := conn.Read(answer); err != nil || n == len(message) {
			b.Fatalf("%d bytes, %v", n, err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "answers/s")
}
