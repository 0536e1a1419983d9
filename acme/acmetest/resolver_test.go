package acmetest_test

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/everseal/everseal/acme/acmetest"
)

// A nameServer answers over TCP at 192.0.2.53 of a network, for names below example.com.
type nameServer struct {
	network *network
	txt     map[string]string
}

// dial is for a net.Resolver, whatever servers the machine has.
func (s *nameServer) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	return s.network.DialContext(ctx, "tcp", "192.0.2.53:53")
}

func (s *nameServer) serve(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer func() { _ = conn.Close() }()
			for {
				var size [2]byte
				if _, err := io.ReadFull(conn, size[:]); err != nil {
					return
				}
				query := make([]byte, binary.BigEndian.Uint16(size[:]))
				if _, err := io.ReadFull(conn, query); err != nil {
					return
				}
				answer, err := s.answer(query)
				if err != nil {
					return
				}
				if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...)); err != nil {
					return
				}
			}
		}()
	}
}

func (s *nameServer) answer(query []byte) ([]byte, error) {
	var message dnsmessage.Message
	if err := message.Unpack(query); err != nil {
		return nil, err
	}
	message.Response, message.Additionals = true, nil
	question := message.Questions[0]
	header := dnsmessage.ResourceHeader{Name: question.Name, Type: question.Type, Class: question.Class}
	value, known := s.txt[question.Name.String()]
	switch {
	case question.Type == dnsmessage.TypeTXT && known:
		message.Answers = []dnsmessage.Resource{{Header: header, Body: &dnsmessage.TXTResource{TXT: []string{value}}}}
	case question.Type == dnsmessage.TypeA && question.Name.String() == "example.com.":
		message.Answers = []dnsmessage.Resource{{Header: header, Body: &dnsmessage.AResource{A: [4]byte{192, 0, 2, 1}}}}
	case question.Name.String() != "example.com.":
		message.RCode = dnsmessage.RCodeNameError
	}
	return message.Pack()
}

// What the tables do not have is looked up in the DNS, and what they have is not.
func TestResolver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		dns := &nameServer{network: n, txt: make(map[string]string)}
		listener, err := n.Listen("tcp", "192.0.2.53:53")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = listener.Close() }()
		go dns.serve(listener)
		ca := n.newCA(t, func(ca *acmetest.Server) { ca.Resolver = &net.Resolver{PreferGo: true, Dial: dns.dial} })
		ca.SetHost("*", "")
		ca.SetHost("table.example.com", "192.0.2.1")
		c := newAccount(t, ca)
		byRecord := func(host string) challenge {
			return n.validate(c, host, "dns-01", func(id identifier, keyAuthorization string) {
				dns.txt["_acme-challenge."+id.Value+"."] = digest(keyAuthorization)
			})
		}
		byWeb := func(host string) challenge {
			return n.validate(c, host, "http-01", func(id identifier, keyAuthorization string) {
				n.present(id, "http-01", keyAuthorization)
			})
		}
		byRecord("*.example.com").wantProblem(t, "", "")
		ca.SetTXT("_acme-challenge.example.com", "other")
		byRecord("example.com").wantProblem(t, "incorrectResponse", "other")
		ca.SetTXT("_acme-challenge.example.com")
		byWeb("example.com").wantProblem(t, "", "")
		byWeb("table.example.com").wantProblem(t, "", "")
		byWeb("missing.example.com").wantProblem(t, "dns", "no such host")
		dns.txt = nil
		n.validate(c, "example.com", "dns-01", func(identifier, string) {}).wantProblem(t, "dns", "_acme-challenge.example.com")
		c.get(ca.URL).want(http.StatusOK, "")
	})
	// The look-ups of the bubble leave nothing behind that others can't use.
	if _, err := net.DefaultResolver.LookupHost(t.Context(), "localhost"); err != nil {
		t.Error(err)
	}
}
