package peers

import (
	"net"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// startResolver starts a DNS server over TCP, the only way Pebble asks, and returns its address. Every name has the
// address 127.0.0.1 and no other record, but for those below nowhere.test, which have none.
func startResolver(t testing.TB) string {
	ln := listen(t)
	resolver := &dns.Server{Listener: ln, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, query *dns.Msg) {
		answer := new(dns.Msg)
		answer.SetReply(query)
		for _, question := range query.Question {
			name := strings.ToLower(question.Name)
			if question.Qtype != dns.TypeA || dns.IsSubDomain("nowhere.test.", name) {
				continue
			}
			answer.Answer = append(answer.Answer, &dns.A{
				Hdr: dns.RR_Header{Name: question.Name, Rrtype: dns.TypeA, Class: dns.ClassINET},
				A:   net.IPv4(127, 0, 0, 1),
			})
		}
		_ = w.WriteMsg(answer)
	})}
	started := make(chan struct{})
	resolver.NotifyStartedFunc = func() { close(started) }
	ended := make(chan error, 1)
	go func() { ended <- resolver.ActivateAndServe() }()
	<-started
	t.Cleanup(func() {
		if err := resolver.Shutdown(); err != nil {
			t.Errorf("DNS server: %v", err)
		}
		if err := <-ended; err != nil {
			t.Errorf("DNS server: %v", err)
		}
	})
	return ln.Addr().String()
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
