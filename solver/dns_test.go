package solver

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

func TestServerAddress(t *testing.T) {
	for server, want := range map[string]string{
		"192.0.2.1":               "192.0.2.1:53",
		"192.0.2.1:5353":          "192.0.2.1:5353",
		"2001:db8::1":             "[2001:db8::1]:53",
		"[2001:db8::1]":           "[2001:db8::1]:53",
		"[2001:db8::1]:5353":      "[2001:db8::1]:5353",
		"fe80::1%eth0":            "[fe80::1%eth0]:53",
		"[fe80::1%eth0]":          "[fe80::1%eth0]:53",
		"[fe80::1%eth0]:5353":     "[fe80::1%eth0]:5353",
		"resolver.internal":       "resolver.internal:53",
		"resolver.internal:5353":  "resolver.internal:5353",
		"":                        "",
		":53":                     "",
		"192.0.2.1:":              "",
		"192.0.2.1:0":             "",
		"192.0.2.1:65536":         "",
		"192.0.2.1:domain":        "",
		"[2001:db8::1":            "",
		"[2001:db8::1]x":          "",
		"2001:db8::1::53":         "",
		"https://resolver.test":   "",
		"https://192.0.2.1:443/q": "",
		"two words":               "",
		"192.0.2.1\r\nX: y":       "",
	} {
		got, err := serverAddress(server)
		if got != want || (err != nil) != (want == "") {
			t.Errorf("%q is %q, %v; want %q", server, got, err, want)
		}
		if err != nil && strings.ContainsAny(err.Error(), "\r\n") {
			t.Errorf("%q is shown as it is: %q", server, err)
		}
	}
	_, err := (&DNS{Resolvers: []string{"192.0.2.1", "192.0.2.1:99999"}}).resolve(t.Context(), "example.com", dnsmessage.TypeA)
	if err == nil || !strings.Contains(err.Error(), "192.0.2.1:99999") {
		t.Errorf("got %v", err)
	}
}

// The zero value, and none, ask the resolvers of this machine.
func TestSystemResolvers(t *testing.T) {
	configured, _ := os.ReadFile("/etc/resolv.conf") // only some systems have it
	for _, dns := range []*DNS{nil, {}} {
		got, err := dns.resolvers(t.Context())
		if err != nil || len(got) == 0 {
			t.Fatalf("%q, %v", got, err)
		}
		if distinct := slices.Compact(slices.Sorted(slices.Values(got))); len(distinct) != len(got) {
			t.Errorf("%q has one twice", got)
		}
		for _, address := range got {
			if _, err := netip.ParseAddrPort(address); err != nil {
				t.Error(err)
			}
		}
		n := 0
		for line := range strings.Lines(string(configured)) {
			fields := strings.Fields(line)
			if len(fields) < 2 || fields[0] != "nameserver" || n == 3 { // of more, none takes notice
				continue
			}
			if addr, err := netip.ParseAddr(fields[1]); err == nil && !slices.Contains(got, netip.AddrPortFrom(addr, 53).String()) {
				t.Errorf("%q lacks %s of /etc/resolv.conf", got, addr)
			}
			n++
		}
	}
}

// txt returns the TXT values that a client's resolvers see.
func txt(t *testing.T, client *DNS, name string) ([]string, error) {
	r, err := client.resolve(t.Context(), name, dnsmessage.TypeTXT)
	if err != nil {
		return nil, err
	}
	return textValues(r, name), nil
}

func TestResolve(t *testing.T) {
	d := NewTestDNS(t)
	s := challengeServer(d)
	s.Add("alias.example.com", "CNAME", challengeName)
	values, err := txt(t, d.Client(), "Alias.Example.com.")
	if err != nil || !slices.Equal(values, []string{"value"}) {
		t.Errorf("%q, %v", values, err)
	}
	for name, code := range map[string]dnsmessage.RCode{"none.example.com": dnsmessage.RCodeNameError, "example.com": dnsmessage.RCodeSuccess} {
		r, err := d.Client().resolve(t.Context(), name, dnsmessage.TypeTXT)
		if err != nil || r.RCode != code || len(r.Answers) != 0 {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
	if q := d.Resolver.Queries()[0]; !q.RecursionDesired {
		t.Error("the resolver was not asked to resolve")
	}
}

// twoResolvers returns a client with a second resolver at 192.0.2.54, which has the same answers.
func twoResolvers(d *TestDNS) (*DNS, *TestNameserver) {
	second := d.Nameserver("192.0.2.54")
	second.Answer(func(_ string, query, _ *dnsmessage.Message) [][]byte {
		d.mu.Lock()
		defer d.mu.Unlock()
		return PackDNS(d.Resolver.reply(*query))
	})
	client := d.Client()
	client.Resolvers = []string{ResolverAddr, "192.0.2.54"}
	return client, second
}

func TestResolveAsksTheNextResolver(t *testing.T) {
	for name, test := range map[string]struct {
		answer TestAnswer
		took   time.Duration
		asked  int // of the second
	}{
		"fine":     {nil, 0, 0},
		"SERVFAIL": {Failing(dnsmessage.RCodeServerFailure), 0, 1},
		"REFUSED":  {Failing(dnsmessage.RCodeRefused), 0, 1},
		"silent":   {Silent, resolverPatience, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := NewMemoryDNS(t)
				challengeServer(d)
				client, second := twoResolvers(d)
				d.Resolver.Answer(test.answer)
				begun := time.Now()
				values, err := txt(t, client, challengeName)
				if err != nil || !slices.Equal(values, []string{"value"}) {
					t.Errorf("%q, %v", values, err)
				}
				if took := time.Since(begun); took != test.took {
					t.Errorf("took %v, want %v", took, test.took)
				}
				if n := second.Asked(challengeName, "TXT"); n != test.asked {
					t.Errorf("the second was asked %d times, want %d", n, test.asked)
				}
			})
		})
	}
}

func TestResolveFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := NewMemoryDNS(t)
		client, second := twoResolvers(d)
		d.Resolver.Answer(Failing(dnsmessage.RCodeServerFailure))
		second.Answer(Failing(dnsmessage.RCodeRefused))
		_, err := client.resolve(t.Context(), "bad\x1bname.example", 257)
		const want = `solver: no resolver has an answer for CAA "bad\x1bname.example": ` +
			`"192.0.2.53:53": SERVFAIL; "192.0.2.54:53": REFUSED`
		if err == nil || err.Error() != want {
			t.Errorf("the error is\n%v, want\n%s", err, want)
		}
		if !errors.Is(err, rcodeError(dnsmessage.RCodeServerFailure)) {
			t.Error("that it was SERVFAIL cannot be told")
		}
		second.Answer(Silent)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		begun := time.Now()
		if _, err := client.resolve(ctx, "example.com", dnsmessage.TypeA); !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) != 3*time.Second {
			t.Errorf("after %v: %v", time.Since(begun), err)
		}
	})
}

func TestTypeText(t *testing.T) {
	for qtype, want := range map[dnsmessage.Type]string{dnsmessage.TypeTXT: "TXT", dnsmessage.TypeAAAA: "AAAA", 257: "CAA", 48: "TYPE48"} {
		if got := typeText(qtype); got != want {
			t.Errorf("type %d is %q, want %q", qtype, got, want)
		}
	}
}

func TestAddresses(t *testing.T) {
	d := NewTestDNS(t)
	s := challengeServer(d)
	s.Add("www.example.com", "CNAME", "host.example.com")
	s.Add("host.example.com", "A", "192.0.2.80")
	s.Add("host.example.com", "AAAA", "2001:db8::80")
	s.Add("host.example.com", "A", "192.0.2.81")
	got, err := d.Client().addresses(t.Context(), "www.example.com")
	want := []netip.Addr{netip.MustParseAddr("2001:db8::80"), netip.MustParseAddr("192.0.2.80"), netip.MustParseAddr("192.0.2.81")}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
	for _, host := range []string{"example.com", "none.example.com"} {
		_, err := d.Client().addresses(t.Context(), host)
		if cause, ok := errors.AsType[*net.DNSError](err); !ok || !cause.IsNotFound || !strings.Contains(err.Error(), host) {
			t.Errorf("%s: %v", host, err)
		}
	}
	// A server that fails at AAAA is common and no reason to miss A.
	failing := func(types ...dnsmessage.Type) TestAnswer {
		return func(network string, query, reply *dnsmessage.Message) [][]byte {
			if slices.Contains(types, query.Questions[0].Type) {
				return Failing(dnsmessage.RCodeServerFailure)(network, query, reply)
			}
			return PackDNS(reply)
		}
	}
	d.Resolver.Answer(failing(dnsmessage.TypeAAAA))
	if got, err := d.Client().addresses(t.Context(), "www.example.com"); err != nil || !slices.Equal(got, want[1:]) {
		t.Errorf("%v, %v, want %v", got, err, want[1:])
	}
	d.Resolver.Answer(failing(dnsmessage.TypeAAAA, dnsmessage.TypeA))
	if _, err := d.Client().addresses(t.Context(), "www.example.com"); !errors.Is(err, rcodeError(dnsmessage.RCodeServerFailure)) {
		t.Errorf("got %v", err)
	}
}
