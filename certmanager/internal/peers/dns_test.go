package peers

import (
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"
)

// A resolver is a DNS server over TCP, the only way Pebble asks. Every name has the address 127.0.0.1, but for those
// below nowhere.test, which have none, and the TXT records that it is told of.
type resolver struct {
	net.Listener
	texts sync.Map // []string by name in lower case, with a final dot
}

func startResolver(t testing.TB) *resolver {
	r := &resolver{Listener: listen(t)}
	server := &dns.Server{Listener: r, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, query *dns.Msg) {
		answer := new(dns.Msg)
		answer.SetReply(query)
		for _, question := range query.Question {
			answer.Answer = append(answer.Answer, r.answer(question)...)
		}
		_ = w.WriteMsg(answer)
	})}
	started := make(chan struct{})
	server.NotifyStartedFunc = func() { close(started) }
	ended := make(chan error, 1)
	go func() { ended <- server.ActivateAndServe() }()
	<-started
	t.Cleanup(func() {
		if err := server.Shutdown(); err != nil {
			t.Errorf("DNS server: %v", err)
		}
		if err := <-ended; err != nil {
			t.Errorf("DNS server: %v", err)
		}
	})
	return r
}

func (r *resolver) answer(question dns.Question) (records []dns.RR) {
	header := dns.RR_Header{Name: question.Name, Rrtype: question.Qtype, Class: dns.ClassINET}
	name := strings.ToLower(question.Name)
	switch question.Qtype {
	case dns.TypeA:
		if !dns.IsSubDomain("nowhere.test.", name) {
			records = append(records, &dns.A{Hdr: header, A: net.IPv4(127, 0, 0, 1)})
		}
	case dns.TypeTXT:
		held, _ := r.texts.Load(name)
		values, _ := held.([]string)
		for _, value := range values {
			records = append(records, &dns.TXT{Hdr: header, Txt: []string{value}})
		}
	}
	return records
}

// setTXT gives the name these TXT records in place of those it had.
func (r *resolver) setTXT(name string, values ...string) {
	r.texts.Store(dns.Fqdn(strings.ToLower(name)), slices.Clone(values))
}

// listen returns a listener on a free port of the loopback address. Whoever serves on it closes it.
func listen(t testing.TB) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}
