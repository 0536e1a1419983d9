package solver

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// ResolverAddr is where a TestDNS has its resolver.
const ResolverAddr = "192.0.2.53"

// A TestDNS is a Domain Name System of its own: authoritative servers, each with an address and records of
// its own, and a resolver that knows them all. It is reached by Client or Dial alone: over sockets on
// loopback, or in memory, which a synctest bubble needs.
type TestDNS struct {
	// Resolver asks, for each name, the server that first got the zone; that server's Answer does not bear on it.
	Resolver *TestNameserver

	t        testing.TB
	inMemory bool

	mu      sync.Mutex // guards what follows, and the servers' zones and records
	servers map[string]*TestNameserver
	ordered []*TestNameserver
}

// NewTestDNS returns a TestDNS on loopback sockets, which are closed at the test's end.
func NewTestDNS(t testing.TB) *TestDNS { return newTestDNS(t, false) }

// NewMemoryDNS returns a TestDNS in memory.
func NewMemoryDNS(t testing.TB) *TestDNS { return newTestDNS(t, true) }

func newTestDNS(t testing.TB, inMemory bool) *TestDNS {
	d := &TestDNS{t: t, inMemory: inMemory, servers: make(map[string]*TestNameserver)}
	d.Resolver = d.Nameserver(ResolverAddr)
	return d
}

// Client returns a DNS that asks this one.
func (d *TestDNS) Client() *DNS { return &DNS{Resolvers: []string{ResolverAddr}, Dial: d.Dial} }

// Nameserver returns the server at an IP address. One that is new holds no zone.
func (d *TestDNS) Nameserver(address string) *TestNameserver {
	d.t.Helper()
	addr := netip.MustParseAddr(address)
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.servers[addr.String()]
	if s == nil {
		s = &TestNameserver{dns: d, records: make(map[string][]dnsmessage.Resource)}
		if !d.inMemory {
			s.listen(d.t)
		}
		d.servers[addr.String()] = s
		d.ordered = append(d.ordered, s)
	}
	return s
}

// Zone makes a zone that is held by a server at each of the addresses: ns1.<zone>, ns2.<zone> and so on.
func (d *TestDNS) Zone(zone string, addresses ...string) []*TestNameserver {
	d.t.Helper()
	var servers []*TestNameserver
	for _, address := range addresses {
		servers = append(servers, d.Nameserver(address))
	}
	for _, s := range servers {
		s.Hold(zone)
		for i, address := range addresses {
			name := fmt.Sprintf("ns%d.%s", i+1, zone)
			s.Add(zone, "NS", name)
			s.Add(name, map[bool]string{true: "AAAA", false: "A"}[strings.Contains(address, ":")], address)
		}
	}
	return servers
}

// Dial connects to the server at an address. One that is not there fails as if there were no route to it.
func (d *TestDNS) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	s := d.servers[at.Addr().String()]
	d.mu.Unlock()
	if s == nil || at.Port() != 53 {
		return nil, fmt.Errorf("no route to %s: %w", address, syscall.ENETUNREACH)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if d.inMemory {
		client, server := net.Pipe()
		go s.serve(network, server)
		return client, nil
	}
	return new(net.Dialer).DialContext(ctx, network, map[string]string{"udp": s.udp, "tcp": s.tcp}[network])
}

// A TestNameserver is a server of a TestDNS.
type TestNameserver struct {
	dns      *TestDNS
	udp, tcp string // loopback addresses

	zones   []string
	records map[string][]dnsmessage.Resource
	asked   []TestQuery
	answer  TestAnswer
}

// A TestAnswer takes the place of a server's answer: it is given the query and what would be the reply to
// it, and returns the messages to send. See PackDNS.
type TestAnswer func(network string, query, reply *dnsmessage.Message) [][]byte

// Answer sets how the server answers from now on; nil: as its records are.
func (s *TestNameserver) Answer(answer TestAnswer) {
	s.dns.mu.Lock()
	defer s.dns.mu.Unlock()
	s.answer = answer
}

// Silent is the Answer of a server that is not there.
func Silent(string, *dnsmessage.Message, *dnsmessage.Message) [][]byte { return nil }

// Failing is the Answer of a server that has none but a response code.
func Failing(code dnsmessage.RCode) TestAnswer {
	return func(_ string, _, reply *dnsmessage.Message) [][]byte {
		reply.RCode, reply.Authoritative, reply.Answers, reply.Authorities = code, false, nil, nil
		return PackDNS(reply)
	}
}

// PackDNS returns the one message, packed.
func PackDNS(m *dnsmessage.Message) [][]byte {
	packed, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return [][]byte{packed}
}

// A TestQuery is what a server was asked.
type TestQuery struct {
	Network string
	dnsmessage.Message
}

// Queries returns all that the server was asked.
func (s *TestNameserver) Queries() []TestQuery {
	s.dns.mu.Lock()
	defer s.dns.mu.Unlock()
	return slices.Clone(s.asked)
}

// Asked returns how often the server was asked for records of a type at a name.
func (s *TestNameserver) Asked(name, kind string) int {
	n := 0
	for _, m := range s.Queries() {
		if q := m.Questions[0]; sameName(q.Name.String(), name) && typeText(q.Type) == kind {
			n++
		}
	}
	return n
}

// Hold makes the server authoritative for a zone, which gets an SOA record.
func (s *TestNameserver) Hold(zone string) {
	s.dns.mu.Lock()
	s.zones = append(s.zones, bareName(zone))
	s.dns.mu.Unlock()
	s.Add(zone, "SOA", "")
}

// Add adds a record to those of this server alone. A CAA record is written as in a zone file, without quotes.
func (s *TestNameserver) Add(name, kind, value string) {
	s.dns.t.Helper()
	record := testRecord(name, kind, value)
	s.dns.mu.Lock()
	defer s.dns.mu.Unlock()
	s.records[bareName(name)] = append(s.records[bareName(name)], record)
}

// Remove removes the records of a type and a value that this server has at a name, or all of the type if the
// value is empty.
func (s *TestNameserver) Remove(name, kind, value string) {
	removed := testRecord(name, kind, value)
	s.dns.mu.Lock()
	defer s.dns.mu.Unlock()
	var kept []dnsmessage.Resource
	for _, r := range s.records[bareName(name)] {
		if r.Header.Type != removed.Header.Type || (value != "" && r.Body.GoString() != removed.Body.GoString()) {
			kept = append(kept, r)
		}
	}
	delete(s.records, bareName(name))
	if kept != nil {
		s.records[bareName(name)] = kept
	}
}

func testName(name string) dnsmessage.Name {
	return dnsmessage.MustNewName(strings.TrimSuffix(name, ".") + ".")
}

func testRecord(name, kind, value string) dnsmessage.Resource {
	r := dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: testName(name), Class: dnsmessage.ClassINET, TTL: 60}}
	switch kind {
	case "A":
		r.Header.Type, r.Body = dnsmessage.TypeA, new(dnsmessage.AResource)
		if value != "" {
			r.Body = &dnsmessage.AResource{A: netip.MustParseAddr(value).As4()}
		}
	case "AAAA":
		r.Header.Type, r.Body = dnsmessage.TypeAAAA, new(dnsmessage.AAAAResource)
		if value != "" {
			r.Body = &dnsmessage.AAAAResource{AAAA: netip.MustParseAddr(value).As16()}
		}
	case "NS":
		r.Header.Type, r.Body = dnsmessage.TypeNS, &dnsmessage.NSResource{NS: testName(value)}
	case "CNAME":
		r.Header.Type, r.Body = dnsmessage.TypeCNAME, &dnsmessage.CNAMEResource{CNAME: testName(value)}
	case "SOA":
		r.Header.Type, r.Body = dnsmessage.TypeSOA, &dnsmessage.SOAResource{NS: testName(name), MBox: testName(name), Serial: 1, MinTTL: 60}
	case "TXT":
		body := &dnsmessage.TXTResource{}
		for ; len(value) > 255; value = value[255:] {
			body.TXT = append(body.TXT, value[:255])
		}
		body.TXT = append(body.TXT, value)
		r.Header.Type, r.Body = dnsmessage.TypeTXT, body
	case "CAA":
		flags, property, _ := strings.Cut(value, " ")
		tag, text, _ := strings.Cut(property, " ")
		flag, _ := strconv.Atoi(flags)
		data := append([]byte{byte(flag), byte(len(tag))}, tag+text...)
		r.Header.Type, r.Body = 257, &dnsmessage.UnknownResource{Type: 257, Data: data}
	default:
		panic("no record type " + kind)
	}
	return r
}

// reply returns what the server, or the resolver, says. The lock is held.
func (s *TestNameserver) reply(query dnsmessage.Message) *dnsmessage.Message {
	r := &dnsmessage.Message{Questions: query.Questions[:1]}
	r.ID, r.Response, r.RecursionDesired = query.ID, true, query.RecursionDesired
	name, qtype := bareName(query.Questions[0].Name.String()), query.Questions[0].Type
	asked := s
	for range 20 { // as many CNAMEs
		if s == s.dns.Resolver {
			r.RecursionAvailable = true
			asked = s.dns.holder(name)
		}
		next := asked.lookUp(r, name, qtype)
		if next == "" || (s != s.dns.Resolver && asked.zoneOf(next) == "") {
			break
		}
		name = next
	}
	if s == s.dns.Resolver {
		if !r.Authoritative && r.RCode == dnsmessage.RCodeSuccess {
			r.RCode, r.Authorities = dnsmessage.RCodeServerFailure, nil // delegated to nobody
		}
		r.Authoritative = false
	}
	return r
}

// holder returns the first server of the closest zone, or the resolver, which holds none.
func (d *TestDNS) holder(name string) *TestNameserver {
	best := d.Resolver
	for _, s := range d.ordered {
		if len(s.zoneOf(name)) > len(best.zoneOf(name)) {
			best = s
		}
	}
	return best
}

// zoneOf returns the closest zone of the server around a name, or "".
func (s *TestNameserver) zoneOf(name string) string {
	best := ""
	for _, zone := range s.zones {
		if isWithin(name, zone) && len(zone) > len(best) {
			best = zone
		}
	}
	return best
}

// lookUp adds to r what the server has, and returns where a CNAME leads.
func (s *TestNameserver) lookUp(r *dnsmessage.Message, name string, qtype dnsmessage.Type) (next string) {
	zone := s.zoneOf(name)
	if zone == "" {
		r.RCode = dnsmessage.RCodeRefused
		if s == s.dns.Resolver {
			r.RCode = dnsmessage.RCodeNameError
			r.Authorities = []dnsmessage.Resource{testRecord(".", "SOA", "")}
		}
		return ""
	}
	for cut := name; cut != zone; _, cut, _ = strings.Cut(cut, ".") {
		for _, record := range s.records[cut] {
			if record.Header.Type == dnsmessage.TypeNS {
				r.Authorities = append(r.Authorities, record)
			}
		}
		if r.Authorities != nil {
			return ""
		}
	}
	r.Authoritative = true
	found, records := len(r.Answers), s.at(name)
	for _, record := range records {
		record.Header.Name = testName(name)
		cname, isAlias := record.Body.(*dnsmessage.CNAMEResource)
		if record.Header.Type == qtype || isAlias {
			r.Answers = append(r.Answers, record)
		}
		if isAlias && qtype != dnsmessage.TypeCNAME {
			return bareName(cname.CNAME.String())
		}
	}
	if len(r.Answers) == found {
		r.Authorities = []dnsmessage.Resource{testRecord(zone, "SOA", "")}
	}
	if records == nil && !s.hasBelow(name) {
		r.RCode = dnsmessage.RCodeNameError
	}
	return ""
}

// at returns the records at a name, or of the wildcard that stands for it.
func (s *TestNameserver) at(name string) []dnsmessage.Resource {
	if records := s.records[name]; records != nil || s.hasBelow(name) {
		return records
	}
	for closest := name; closest != ""; {
		_, closest, _ = strings.Cut(closest, ".")
		if records := s.records["*."+closest]; records != nil {
			return records
		}
		if s.records[closest] != nil || s.hasBelow(closest) {
			break
		}
	}
	return nil
}

func (s *TestNameserver) hasBelow(name string) bool {
	for other := range s.records {
		if strings.HasSuffix(other, "."+name) {
			return true
		}
	}
	return false
}

// handle returns the messages to send for one that came.
func (s *TestNameserver) handle(network string, message []byte) [][]byte {
	var query dnsmessage.Message
	if err := query.Unpack(message); err != nil || len(query.Questions) != 1 {
		return nil
	}
	s.dns.mu.Lock()
	s.asked = append(s.asked, TestQuery{network, query})
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
	packed := PackDNS(reply)
	if network == "udp" && len(packed[0]) > limit {
		reply.Truncated, reply.Answers, reply.Authorities = true, nil, nil
		packed = PackDNS(reply)
	}
	return packed
}

// serve answers on one connection until it is closed.
func (s *TestNameserver) serve(network string, conn net.Conn) {
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
func (s *TestNameserver) listen(t testing.TB) {
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
