package main

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/everseal/everseal/solver"
	"github.com/miekg/dns"
)

// The key by which updates are signed.
const (
	tsigName   = "everseal."
	tsigSecret = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
)

// A zone is a DNS server, by TCP, for one zone that takes signed updates of TXT records (RFC 2136).
type zone struct {
	name    string // with a final dot
	address string
	changed func(name string, values ...string)

	mu    sync.Mutex // guards what follows
	texts []*dns.TXT
	added int
}

// startZone starts the server. It is told of the values at a name when they change.
func startZone(t *testing.T, name string, changed func(string, ...string)) *zone {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	z := &zone{name: dns.Fqdn(name), address: listener.Addr().String(), changed: changed}
	server := &dns.Server{
		Listener:      listener,
		Handler:       dns.HandlerFunc(z.answer),
		TsigSecret:    map[string]string{tsigName: tsigSecret},
		MsgAcceptFunc: func(dns.Header) dns.MsgAcceptAction { return dns.MsgAccept },
	}
	started, ended := make(chan struct{}), make(chan error, 1)
	server.NotifyStartedFunc = func() { close(started) }
	go func() { ended <- server.ActivateAndServe() }()
	<-started
	t.Cleanup(func() {
		if err := server.Shutdown(); err != nil {
			t.Error(err)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return z
}

// dns returns a DNS that asks this server alone.
func (z *zone) dns() *solver.DNS {
	return &solver.DNS{
		Resolvers: []string{z.address},
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			if network != "tcp" {
				return nil, errors.New("the server listens by TCP alone")
			}
			return new(net.Dialer).DialContext(ctx, network, z.address)
		},
	}
}

// count returns how many records were added, and how many are there.
func (z *zone) count() (added, left int) {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.added, len(z.texts)
}

func (z *zone) answer(w dns.ResponseWriter, message *dns.Msg) {
	reply := new(dns.Msg)
	if message.Opcode != dns.OpcodeUpdate {
		reply.SetReply(message)
		z.look(reply)
		_ = w.WriteMsg(reply)
		return
	}
	reply.SetReply(message)
	signed := message.IsTsig()
	if signed == nil || w.TsigStatus() != nil {
		reply.Rcode = dns.RcodeRefused
		_ = w.WriteMsg(reply)
		return
	}
	z.update(message.Ns)
	reply.SetTsig(signed.Hdr.Name, signed.Algorithm, signed.Fudge, int64(signed.TimeSigned))
	_ = w.WriteMsg(reply)
}

// update adds records, or takes away those of class NONE (RFC 2136 §2.5).
func (z *zone) update(records []dns.RR) {
	z.mu.Lock()
	defer z.mu.Unlock()
	for _, record := range records {
		text, ok := record.(*dns.TXT)
		if !ok {
			continue
		}
		same := func(other *dns.TXT) bool {
			return strings.EqualFold(other.Hdr.Name, text.Hdr.Name) && slices.Equal(other.Txt, text.Txt)
		}
		z.texts = slices.DeleteFunc(z.texts, same)
		if text.Hdr.Class == dns.ClassINET {
			z.texts = append(z.texts, text)
			z.added++
		}
		z.changed(strings.TrimSuffix(text.Hdr.Name, "."), z.values(text.Hdr.Name)...)
	}
}

// values returns those at a name. The lock is held.
func (z *zone) values(name string) (values []string) {
	for _, text := range z.texts {
		if strings.EqualFold(text.Hdr.Name, name) {
			values = append(values, strings.Join(text.Txt, ""))
		}
	}
	return values
}

// look answers a question.
func (z *zone) look(reply *dns.Msg) {
	z.mu.Lock()
	defer z.mu.Unlock()
	question := reply.Question[0]
	reply.Authoritative = true
	header := dns.RR_Header{Name: question.Name, Rrtype: question.Qtype, Class: dns.ClassINET, Ttl: 60}
	apex := strings.EqualFold(question.Name, z.name)
	switch {
	case question.Qtype == dns.TypeNS && apex:
		reply.Answer = append(reply.Answer, &dns.NS{Hdr: header, Ns: "ns." + z.name})
	case question.Qtype == dns.TypeA && strings.EqualFold(question.Name, "ns."+z.name):
		reply.Answer = append(reply.Answer, &dns.A{Hdr: header, A: net.IPv4(127, 0, 0, 1)})
	case question.Qtype == dns.TypeTXT:
		for _, text := range z.texts {
			if strings.EqualFold(text.Hdr.Name, question.Name) {
				reply.Answer = append(reply.Answer, text)
			}
		}
	}
	if len(reply.Answer) == 0 {
		header.Name, header.Rrtype = z.name, dns.TypeSOA
		reply.Ns = append(reply.Ns, &dns.SOA{Hdr: header, Ns: "ns." + z.name, Mbox: "hostmaster." + z.name, Serial: 1, Minttl: 1})
	}
}
