package certmanager_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/solver/diagnose"
)

// A zones is the Domain Name System in memory, as one server of all zones: each two labels at the end of a
// name make one. Every name has the address 192.0.2.1, unless it is absent.
type zones struct {
	mu     sync.Mutex
	absent map[string]bool
	texts  map[string][]string // TXT records by name
}

// vantage returns a vantage point that asks the zones, and that dial connects to servers.
func (z *zones) vantage(dial func(ctx context.Context, network, address string) (net.Conn, error)) diagnose.Vantage {
	return diagnose.Vantage{DNS: &solver.DNS{Resolvers: []string{"192.0.2.53"}, Dial: z.dial}, Dial: dial, Private: true}
}

// remove lets a name no longer exist.
func (z *zones) remove(name string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.absent == nil {
		z.absent = make(map[string]bool)
	}
	z.absent[name] = true
}

// restore lets a name exist again.
func (z *zones) restore(name string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	delete(z.absent, name)
}

// dial connects to the server, in memory.
func (z *zones) dial(_ context.Context, network, _ string) (net.Conn, error) {
	if network != "udp" {
		return nil, errors.New("connection refused")
	}
	client, server := net.Pipe()
	go func() {
		defer server.Close()
		packet := make([]byte, 4096)
		for {
			size, err := server.Read(packet)
			if err != nil {
				return
			}
			answer, err := z.answer(packet[:size])
			if err != nil {
				return
			}
			if _, err := io.Copy(server, strings.NewReader(string(answer))); err != nil {
				return
			}
		}
	}()
	return client, nil
}

func (z *zones) answer(packet []byte) ([]byte, error) {
	var query dnsmessage.Message
	if err := query.Unpack(packet); err != nil {
		return nil, err
	}
	answer := dnsmessage.Message{Header: query.Header, Questions: query.Questions}
	answer.Response, answer.Authoritative, answer.RecursionAvailable = true, true, true
	question := query.Questions[0]
	name := strings.TrimSuffix(question.Name.String(), ".")
	labels := strings.Split(name, ".")
	zone := strings.Join(labels[max(0, len(labels)-2):], ".")
	add := func(body dnsmessage.ResourceBody) {
		answer.Answers = append(answer.Answers, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: question.Name, Type: question.Type, Class: question.Class, TTL: 60}, Body: body})
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	switch {
	case z.absent[name]:
		answer.RCode = dnsmessage.RCodeNameError
	case question.Type == dnsmessage.TypeA:
		add(&dnsmessage.AResource{A: [4]byte{192, 0, 2, 1}})
	case question.Type == dnsmessage.TypeSOA && name == zone:
		server := dnsmessage.MustNewName("ns." + zone + ".")
		add(&dnsmessage.SOAResource{NS: server, MBox: server, Serial: 1})
	case question.Type == dnsmessage.TypeNS && name == zone:
		add(&dnsmessage.NSResource{NS: dnsmessage.MustNewName("ns." + zone + ".")})
	case question.Type == dnsmessage.TypeTXT:
		for _, text := range z.texts[name] {
			add(&dnsmessage.TXTResource{TXT: []string{text}})
		}
	}
	return answer.Pack()
}
