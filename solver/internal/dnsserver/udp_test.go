package dnsserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// longName is in the zone, so that its questions are long.
var longName = strings.Repeat(strings.Repeat("l", 52)+".", 4) + zoneOfAll

// Over UDP an answer has neither more bytes than the client takes, nor than get through, nor than its question has many times.
// What is longer is to be asked for by TCP, and is there.
func TestUDPLength(t *testing.T) {
	for name, test := range map[string]struct {
		asked  string
		values int // of 43 bytes
		option []dnsmessage.Resource
		limit  int // bytes of an answer; 0: this one fits
	}{
		"three values":              {nameZone, 3, []dnsmessage.Resource{newOPT(4096, 0, false)}, 0},
		"six times the question":    {nameZone, 5, []dnsmessage.Resource{newOPT(4096, 0, false)}, 5 * 56},
		"without EDNS":              {longName, 4, nil, 0},
		"longer than without EDNS":  {longName, 5, nil, 512},
		"a small size":              {longName, 4, []dnsmessage.Resource{newOPT(100, 0, false)}, 0},
		"longer than a small size":  {longName, 5, []dnsmessage.Resource{newOPT(100, 0, false)}, 512},
		"longer than the client's":  {longName, 10, []dnsmessage.Resource{newOPT(600, 0, false)}, 600},
		"as long as gets through":   {longName, 17, []dnsmessage.Resource{newOPT(4096, 0, false)}, 0},
		"longer than gets through":  {longName, 18, []dnsmessage.Resource{newOPT(4096, 0, false)}, 1232},
		"65,535 bytes are promised": {longName, 20, []dnsmessage.Resource{newOPT(65535, 0, false)}, 1232},
	} {
		t.Run(name, func(t *testing.T) {
			records := new(Records)
			for i := range test.values {
				records.Add(test.asked, fmt.Sprintf("%043d", i))
			}
			s := serve(t, &Server{Zones: newZones(t), Records: func(context.Context) (*Records, error) { return records, nil }})
			query := newQuery(test.asked+".", dnsmessage.TypeTXT)
			query.Additionals = test.option
			packed := pack(t, query)
			got := s.overUDP(t, packed)
			answer := unpack(t, got)
			if fits := test.limit == 0; answer.Truncated == fits || fits && len(answer.Answers) != test.values || !fits && (len(answer.Answers) > 0 || len(got) != len(packed)) {
				t.Errorf("%d bytes for %d, truncated: %v, with %d records", len(got), len(packed), answer.Truncated, len(answer.Answers))
			}
			whole := s.overTCP(t, packed)
			if answer := unpack(t, whole); answer.Truncated || len(answer.Answers) != test.values || test.limit > 0 && len(whole) <= test.limit {
				t.Errorf("over TCP: %d bytes, truncated: %v, with %d records", len(whole), answer.Truncated, len(answer.Answers))
			}
		})
	}
}

// What is only of use beside an answer is left out first.
func TestUDPWithoutAdditionals(t *testing.T) {
	var addresses []netip.Addr
	for i := range byte(8) {
		addresses = append(addresses, netip.AddrFrom4([4]byte{192, 0, 2, i}))
	}
	zones, err := NewZones([]string{"a.test"}, []string{"ns.a.test"}, map[string][]netip.Addr{"ns.a.test": addresses})
	if err != nil {
		t.Fatal(err)
	}
	s := serve(t, &Server{Zones: zones, Records: fixed()})
	packed := pack(t, newQuery("a.test.", dnsmessage.TypeNS))
	answer := unpack(t, s.overUDP(t, packed))
	if answer.Truncated || len(answer.Answers) != 1 || len(answer.Additionals) != 1 {
		t.Errorf("%+v", answer)
	}
	if answer := unpack(t, s.overTCP(t, packed)); len(answer.Additionals) != 9 {
		t.Errorf("over TCP: %+v", answer)
	}
}

// A question may be as long as any that comes over UDP without agreement.
func TestUDPQuestionLength(t *testing.T) {
	s := serve(t, &Server{Zones: newZones(t), Records: fixed()})
	for length, want := range map[int]dnsmessage.RCode{maxQuestion: dnsmessage.RCodeSuccess, maxQuestion + 1: dnsmessage.RCodeFormatError, 1400: dnsmessage.RCodeFormatError} {
		if answer := unpack(t, s.overUDP(t, padded(t, length))); answer.RCode != want {
			t.Errorf("%d bytes: %v", length, answer.RCode)
		}
	}
}

// padded returns a question of so many bytes.
func padded(t testing.TB, length int) []byte {
	t.Helper()
	query := newQuery("acme.example.net.", dnsmessage.TypeSOA)
	const padding, optionHeader = 12, 4 // RFC 7830
	option := dnsmessage.Option{Code: padding, Data: make([]byte, length-len(pack(t, query))-optionHeader)}
	query.Additionals[0].Body = &dnsmessage.OPTResource{Options: []dnsmessage.Option{option}}
	return pack(t, query)
}

// A network gets a burst of answers, and then so many a second. Beyond that it is told to come by TCP, in no more bytes than it
// has sent. Others are not affected.
func TestUDPRate(t *testing.T) {
	s := &Server{Zones: newZones(t), Records: fixed(nameZone, "value")}
	inMemory(t, s, func(t *testing.T, packets *memorySocket, _ *memoryListener) {
		questions := [][]byte{
			pack(t, newQuery(nameZone+".", dnsmessage.TypeTXT)),
			pack(t, newQuery("acme.example.net.", dnsmessage.TypeNS)),
			pack(t, newQuery("elsewhere.example.", dnsmessage.TypeNS)),
		}
		for i := range answerBurst {
			if answer := packets.ask(t, questions[i%3], fmt.Sprintf("192.0.2.%d:%d", i%256, 1024+i)); answer == nil || answer.Truncated {
				t.Fatalf("answer %d: %+v", i, answer)
			}
		}
		for _, question := range questions {
			answer := packets.ask(t, question, "192.0.2.7:53")
			if answer == nil || !answer.Truncated || len(answer.Answers) > 0 || len(pack(t, answer)) > len(question) {
				t.Errorf("one more: %+v", answer)
			}
		}
		if answer := packets.ask(t, questions[0][:headerLength], "192.0.2.7:53"); answer != nil {
			t.Errorf("what can't be read: %+v", answer)
		}
		time.Sleep(answerInterval)
		for i, truncated := range []bool{false, true} {
			if answer := packets.ask(t, questions[0], "192.0.2.7:53"); answer == nil || answer.Truncated != truncated {
				t.Errorf("%d after the interval: %+v", i, answer)
			}
		}
		for _, other := range []string{"192.0.3.1:53", "[2001:db8::1]:53"} {
			if answer := packets.ask(t, questions[0], other); answer == nil || answer.Truncated {
				t.Errorf("%s: %+v", other, answer)
			}
		}
	})
}

// However many networks there are, the count of their answers takes the same memory, and what is counted bounds all together.
func TestUDPRateOfManyNetworks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var limit rateLimit
		allowed := 0
		for i := range uint32(networkSlots * answerBurst * 2) {
			if limit.allow(networkOf(netip.AddrFrom4([4]byte{byte(i >> 16), byte(i >> 8), byte(i), 0}))) {
				allowed++
			}
		}
		if most := networkSlots * answerBurst; len(limit.slots) != networkSlots || allowed > most || allowed < most*9/10 {
			t.Errorf("%d answers were allowed, counted in %d slots", allowed, len(limit.slots))
		}
	})
}

// Of the questions that wait for records, a bounded number does. The others are told to come by TCP.
func TestUDPWaiting(t *testing.T) {
	release := make(chan struct{})
	s := &Server{Zones: newZones(t), Records: func(ctx context.Context) (*Records, error) {
		<-release
		return new(Records), nil
	}}
	synctest.Test(t, func(t *testing.T) {
		release = make(chan struct{})
		packets := newMemorySocket()
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.Serve(ctx, packets, nil) }()
		question := pack(t, newQuery("a.acme.example.net.", dnsmessage.TypeTXT))
		from := func(i int) string { return fmt.Sprintf("10.%d.%d.1:53", i>>8, i&255) } // a network each
		for i := range maxWaiting {
			if answer := packets.ask(t, question, from(i)); answer != nil {
				t.Fatalf("question %d did not wait: %+v", i, answer)
			}
		}
		if answer := packets.ask(t, question, from(maxWaiting)); answer == nil || !answer.Truncated {
			t.Errorf("one more: %+v", answer)
		}
		if answer := packets.ask(t, pack(t, newQuery("acme.example.net.", dnsmessage.TypeSOA)), from(maxWaiting+1)); answer == nil || answer.Truncated {
			t.Errorf("one that need not wait: %+v", answer)
		}
		close(release)
		synctest.Wait()
		if n := len(packets.out); n != maxWaiting {
			t.Errorf("%d of %d that waited were answered", n, maxWaiting)
		}
		for range maxWaiting {
			<-packets.out
		}
		if answer := packets.ask(t, question, from(1)); answer == nil || answer.Truncated {
			t.Errorf("afterwards: %+v", answer)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// An answer comes from the address that was asked: who asks another one of the machine's would not take it.
func TestUDPSource(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells to which address a datagram came")
	}
	for _, test := range []struct{ network, listen, asked string }{
		{"udp4", "0.0.0.0:0", "127.0.0.2"},
		{"udp", "[::]:0", "127.0.0.3"},
		{"udp", "[::]:0", "::1"},
	} {
		t.Run(test.listen+" "+test.asked, func(t *testing.T) {
			packets, err := net.ListenPacket(test.network, test.listen)
			if err != nil {
				t.Skip(err) // a machine without IPv6
			}
			_, port, _ := net.SplitHostPort(packets.LocalAddr().String())
			s := serveOn(t, &Server{Zones: newZones(t), Records: fixed()}, packets, nil)
			question := pack(t, newQuery("acme.example.net.", dnsmessage.TypeSOA))
			s.at(t, net.JoinHostPort("127.0.0.1", port), question) // it runs
			for _, kind := range []dnsmessage.Type{dnsmessage.TypeSOA, dnsmessage.TypeTXT} {
				s.at(t, net.JoinHostPort(test.asked, port), pack(t, newQuery("acme.example.net.", kind)))
			}
		})
	}
}

// at asks at an address by UDP.
func (s *served) at(t *testing.T, address string, question []byte) {
	t.Helper()
	conn, err := net.Dial("udp", address)
	if err != nil {
		t.Skip(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(30 * time.Second)) // for a failure
	send(t, conn, question)
	if answer := unpack(t, receive(t, conn)); !answer.Authoritative {
		t.Errorf("%+v", answer)
	}
}

// A socket that fails again and again is given up, and the other one is closed. One that is closed is given up at once.
func TestServeFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		listener := newMemoryListener()
		s := &Server{Zones: newZones(t), Records: fixed()}
		began := time.Now()
		if err := s.Serve(t.Context(), &brokenSocket{newMemorySocket(), broken}, listener); !errors.Is(err, broken) {
			t.Errorf("Serve: %v", err)
		}
		if took, want := time.Since(began), (maxErrors-1)*errorPause; took != want {
			t.Errorf("given up after %v, want %v", took, want)
		}
		if _, err := listener.Accept(); err == nil {
			t.Error("the listener is open")
		}
		closed := newMemorySocket()
		closed.Close()
		if err := s.Serve(t.Context(), closed, nil); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Serve: %v", err)
		}
	})
}

type brokenSocket struct {
	*memorySocket
	err error
}

func (s *brokenSocket) ReadFrom([]byte) (int, net.Addr, error) { return 0, nil, s.err }

func TestNetworkOf(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.77":          "192.0.2.0/24",
		"::ffff:192.0.2.77":   "192.0.2.0/24",
		"2001:db8:1:2:3::4":   "2001:db8:1:2::/64",
		"fe80::1%eth0":        "fe80::/64",
		"2001:db8:1:2:ffff::": "2001:db8:1:2::/64",
	} {
		if got := networkOf(netip.MustParseAddr(address)); got.String() != want {
			t.Errorf("%s: %v, want %s", address, got, want)
		}
	}
	if got := networkOf(netip.Addr{}); got != (netip.Prefix{}) {
		t.Errorf("no address: %v", got)
	}
}
