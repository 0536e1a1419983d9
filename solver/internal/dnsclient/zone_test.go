package dnsclient

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/everseal/everseal/solver/internal/solvertest"
	"golang.org/x/net/dns/dnsmessage"
)

func TestZone(t *testing.T) {
	d := solvertest.NewDNS(t)
	s := challengeServer(d)
	s.Add("sub.example.com", "NS", "ns1.sub.example.com")
	sub := d.Zone("sub.example.com", "192.0.2.2")[0]
	sub.Add("deep.sub.example.com", "TXT", "x")
	sub.Add("_acme-challenge.up.sub.example.com", "CNAME", "gone.example.com")
	target := d.Zone("validation.example", "192.0.2.3")[0]
	target.Add("abc.validation.example", "TXT", "x")
	s.Add("_acme-challenge.www.example.com", "CNAME", "abc.validation.example")
	s.Add("_acme-challenge.gone.example.com", "CNAME", "gone.validation.example")
	s.Add("*.wild.example.com", "CNAME", "abc.validation.example")
	s.Add("lame.example.com", "NS", "ns.nowhere.example")
	d.Zone("_acme-challenge.own.example.com", "192.0.2.4")
	for name, want := range map[string]string{
		"example.com":                             "example.com",
		solvertest.ChallengeName:                  "example.com",
		"_acme-challenge.Not.There.EXAMPLE.com.":  "example.com",
		"sub.example.com":                         "sub.example.com",
		"_acme-challenge.sub.example.com":         "sub.example.com",
		"_acme-challenge.deep.sub.example.com":    "sub.example.com",
		"_acme-challenge.www.example.com":         "example.com", // not the target's zone
		"_acme-challenge.gone.example.com":        "example.com",
		"_acme-challenge.up.sub.example.com":      "sub.example.com",
		"_acme-challenge.any.wild.example.com":    "example.com",
		"_acme-challenge.own.example.com":         "_acme-challenge.own.example.com",
		"x.abc.validation.example":                "validation.example",
		"_acme-challenge.lame.example.com":        "",
		"_acme-challenge.nonexistent.invalid":     "",
		".":                                       "",
		"_acme-challenge..example.com":            "",
		strings.Repeat("a.", 100) + "example.com": "example.com",
	} {
		got, err := clientOf(t, d).Zone(t.Context(), name)
		if got != want || (err != nil) != (want == "") {
			t.Errorf("%.80s is in %q, %v; want %q", name, got, err, want)
		}
	}
	_, err := clientOf(t, d).Zone(t.Context(), "_acme-challenge.lame.example.com")
	if !errors.Is(err, RCodeError(dnsmessage.RCodeServerFailure)) {
		t.Errorf("a zone that is delegated to nobody: %v", err)
	}
}

// Forwarders leave out the authority section: the zone is found by walking up.
func TestZoneWithoutAuthorities(t *testing.T) {
	d := solvertest.NewDNS(t)
	challengeServer(d)
	d.Resolver.Answer(func(_ string, _, reply *dnsmessage.Message) [][]byte {
		reply.Authorities = nil
		return solvertest.Pack(reply)
	})
	if got, err := clientOf(t, d).Zone(t.Context(), "_acme-challenge.a.b.example.com"); got != "example.com" {
		t.Errorf("%q, %v", got, err)
	}
	// One that lies is not believed: the zone has to be around the name.
	d.Resolver.Answer(func(_ string, _, reply *dnsmessage.Message) [][]byte {
		reply.Answers, reply.Authorities = nil, []dnsmessage.Resource{solvertest.NewRecord("evil.example", "SOA", ""), solvertest.NewRecord("ple.com", "SOA", "")}
		return solvertest.Pack(reply)
	})
	if got, err := clientOf(t, d).Zone(t.Context(), "a.example.com"); err == nil {
		t.Errorf("got %q", got)
	}
}

func TestNameservers(t *testing.T) {
	d := solvertest.NewDNS(t)
	s := d.Zone("example.com", "192.0.2.1", "2001:db8::2")[0]
	s.Add("ns1.example.com", "AAAA", "2001:db8::1")
	s.Add("example.com", "NS", "NS1.example.com") // again
	s.Add("example.com", "NS", "same.example.com")
	s.Add("same.example.com", "A", "192.0.2.1")
	s.Add("example.com", "NS", "missing.example.com")
	got, err := clientOf(t, d).Nameservers(t.Context(), "Example.com.")
	if err != nil {
		t.Fatal(err)
	}
	var text []string
	for _, ns := range got {
		if cause, ok := errors.AsType[*net.DNSError](ns.Err); ok && cause.IsNotFound && !ns.Addr.IsValid() {
			text = append(text, ns.Name+" nowhere")
			continue
		}
		text = append(text, ns.Name+" "+ns.Addr.String())
	}
	want := []string{"missing.example.com nowhere", "ns1.example.com [2001:db8::1]:53", "ns1.example.com 192.0.2.1:53", "ns2.example.com [2001:db8::2]:53"}
	if !slices.Equal(text, want) {
		t.Errorf("got %q, want %q", text, want)
	}
	if got, err := clientOf(t, d).Nameservers(t.Context(), "www.example.com"); err == nil {
		t.Errorf("no zone has the servers %v", got)
	}
}

func TestNameserversAreBounded(t *testing.T) {
	d := solvertest.NewDNS(t)
	s := challengeServer(d)
	for i := range 50 {
		ns := fmt.Sprintf("ns%02d.example.com", i)
		s.Add("example.com", "NS", ns)
		for j := range 20 {
			s.Add(ns, "A", fmt.Sprintf("198.51.%d.%d", i, j))
			s.Add(ns, "AAAA", fmt.Sprintf("2001:db8:%d::%d", i, j))
		}
	}
	got, err := clientOf(t, d).Nameservers(t.Context(), "example.com")
	if err != nil || len(got) != maxServers {
		t.Errorf("%d servers, %v", len(got), err)
	}
	of := make(map[string]int)
	for _, ns := range got {
		of[ns.Name]++
	}
	if len(of) != maxNameservers || of["ns00.example.com"] > 2 {
		t.Errorf("the servers are %v", of)
	}
	got, err = clientOf(t, d).FewNameservers(t.Context(), "example.com")
	if err != nil || len(got) != someNameservers*someAddresses || !got[0].Addr.Addr().Is6() || !got[1].Addr.Addr().Is4() {
		t.Errorf("%v, %v", got, err)
	}
}

func TestCNAMEChain(t *testing.T) {
	d := solvertest.NewDNS(t)
	s := challengeServer(d)
	target := d.Zone("validation.example", "192.0.2.3")[0]
	s.Add("_acme-challenge.www.example.com", "CNAME", "A.validation.example")
	target.Add("a.validation.example", "CNAME", "b.validation.example")
	s.Add("loop1.example.com", "CNAME", "loop2.example.com")
	s.Add("loop2.example.com", "CNAME", "loop1.example.com")
	s.Add("self.example.com", "CNAME", "self.example.com")
	for i := range 12 {
		s.Add(fmt.Sprintf("l%d.example.com", i), "CNAME", fmt.Sprintf("l%d.example.com", i+1))
	}
	for name, want := range map[string][]string{
		solvertest.ChallengeName:          {solvertest.ChallengeName},
		"None.example.com.":               {"none.example.com"},
		"_acme-challenge.www.example.com": {"_acme-challenge.www.example.com", "a.validation.example", "b.validation.example"},
		"l2.example.com": {"l2.example.com", "l3.example.com", "l4.example.com", "l5.example.com", "l6.example.com", "l7.example.com",
			"l8.example.com", "l9.example.com", "l10.example.com", "l11.example.com", "l12.example.com"},
	} {
		if got, err := clientOf(t, d).CNAMEChain(t.Context(), name); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q, %v; want %q", name, got, err, want)
		}
	}
	for name, want := range map[string]string{"loop1.example.com": "circle", "self.example.com": "circle", "l1.example.com": "more than 10"} {
		if got, err := clientOf(t, d).CNAMEChain(t.Context(), name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}
