package dnsserver

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
)

// servePackets answers datagrams until ctx ends.
func (s *Server) servePackets(ctx context.Context, packets *datagrams) error {
	var answering sync.WaitGroup
	defer answering.Wait()
	defer packets.Close()                 // before waiting: nobody is to be answered any more
	buffer := make([]byte, maxQuestion+1) // one more shows that it is too long
	for failures := 0; ; {
		n, from, err := packets.read(buffer)
		if err != nil {
			if failures++; !isPassing(ctx, err, failures) {
				return fmt.Errorf("read questions over UDP: %w", err)
			}
			continue
		}
		failures = 0
		q, ok := parse(buffer[:n])
		if !ok {
			continue
		}
		r, later := s.answerAtOnce(&q, from)
		if r != nil {
			packets.write(r.pack(nil, q.maxAnswer()), from)
		}
		if later != nil {
			answering.Go(func() {
				defer s.waiting.Add(-1)
				packets.write(s.answer(ctx, later).pack(nil, q.maxAnswer()), from)
			})
		}
	}
}

// answerAtOnce returns the reply to a question over UDP, or what makes one when it has waited for records, or neither if there
// is to be none.
func (s *Server) answerAtOnce(q *question, from sender) (*reply, *answerer) {
	if !s.rate.allow(networkOf(from.address.Addr())) {
		if !q.asked {
			return nil, nil
		}
		return &reply{question: q, truncated: true}, nil
	}
	a, r := newAnswerer(s.Zones, q)
	switch {
	case r != nil:
		return r, nil
	case !a.needsRecords():
		return a.reply(new(Records)), nil
	case s.waiting.Add(1) > maxWaiting:
		s.waiting.Add(-1)
		return &reply{question: q, truncated: true}, nil
	}
	return nil, a
}

// maxAnswer returns how many bytes an answer over UDP may have.
func (q *question) maxAnswer() int { return min(q.size, maxOverUDP, maxRatio*q.length) }

// A sender is where a datagram came from, and which of this machine's addresses it came to.
type sender struct {
	address netip.AddrPort
	other   net.Addr // if it is none of UDP
	control []byte   // to have the answer come from the address that was asked
}

// datagrams is a socket of UDP.
type datagrams struct {
	net.PacketConn
	udp     *net.UDPConn // nil: another kind, as in a test
	control []byte
}

func newDatagrams(conn net.PacketConn) *datagrams {
	d := &datagrams{PacketConn: conn}
	if udp, ok := conn.(*net.UDPConn); ok {
		const room = 128 // of a control message
		d.udp, d.control = udp, make([]byte, room)
		tellDestination(udp)
	}
	return d
}

func (d *datagrams) read(buffer []byte) (n int, from sender, err error) {
	if d.udp == nil {
		n, from.other, err = d.ReadFrom(buffer)
		if err == nil {
			from.address, _ = netip.ParseAddrPort(from.other.String()) // zero for what has none
		}
		return n, from, err
	}
	var controlled int
	n, controlled, _, from.address, err = d.udp.ReadMsgUDPAddrPort(buffer, d.control)
	if err == nil {
		from.control = destinationAsSource(d.control[:controlled])
	}
	return n, from, err
}

// write sends a message. What becomes of it is not known in any case.
func (d *datagrams) write(message []byte, to sender) {
	switch {
	case len(message) == 0:
	case d.udp == nil:
		d.WriteTo(message, to.other)
	default:
		d.udp.WriteMsgUDPAddrPort(message, to.control, to.address)
	}
}
