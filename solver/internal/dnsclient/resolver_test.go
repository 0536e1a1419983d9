package dnsclient

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/solver/internal/solvertest"
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
	_, err := New(t.Context(), &Settings{Resolvers: []string{"192.0.2.1", "192.0.2.1:99999"}}, "").Resolve(t.Context(), "example.com", dnsmessage.TypeA)
	if err == nil || !strings.Contains(err.Error(), "192.0.2.1:99999") {
		t.Errorf("got %v", err)
	}
}

// The zero value, and none, ask the resolvers of this machine.
func TestSystemResolvers(t *testing.T) {
	configured, _ := os.ReadFile("/etc/resolv.conf") // only some systems have it
	for _, zero := range []*Settings{nil, {}} {
		got, err := New(t.Context(), zero, "").Resolvers(t.Context())
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
func txt(t *testing.T, client *Client, name string) ([]string, error) {
	r, err := client.Resolve(t.Context(), name, dnsmessage.TypeTXT)
	if err != nil {
		return nil, err
	}
	return r.Texts(name), nil
}

func TestResolve(t *testing.T) {
	d := solvertest.NewDNS(t)
	s := challengeServer(d)
	s.Add("alias.example.com", "CNAME", solvertest.ChallengeName)
	values, err := txt(t, clientOf(t, d), "Alias.Example.com.")
	if err != nil || !slices.Equal(values, []string{"value"}) {
		t.Errorf("%q, %v", values, err)
	}
	for name, code := range map[string]dnsmessage.RCode{"none.example.com": dnsmessage.RCodeNameError, "example.com": dnsmessage.RCodeSuccess} {
		r, err := clientOf(t, d).Resolve(t.Context(), name, dnsmessage.TypeTXT)
		if err != nil || r.RCode != code || len(r.Answers) != 0 {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
	if q := d.Resolver.Queries()[0]; !q.RecursionDesired {
		t.Error("the resolver was not asked to resolve")
	}
}

func TestResolveAsksTheNextResolver(t *testing.T) {
	for name, test := range map[string]struct {
		answer solvertest.Answer
		took   time.Duration
		asked  int // of the second
	}{
		"fine":     {nil, 0, 0},
		"SERVFAIL": {solvertest.Failing(dnsmessage.RCodeServerFailure), 0, 1},
		"REFUSED":  {solvertest.Failing(dnsmessage.RCodeRefused), 0, 1},
		"silent":   {solvertest.Silent, resolverInterval, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := solvertest.NewMemoryDNS(t)
				challengeServer(d)
				second := d.SecondResolver("192.0.2.54")
				client := New(t.Context(), &Settings{Resolvers: []string{solvertest.ResolverAddr, "192.0.2.54"}, Dial: d.Dial}, "")
				d.Resolver.Answer(test.answer)
				begun := time.Now()
				values, err := txt(t, client, solvertest.ChallengeName)
				if err != nil || !slices.Equal(values, []string{"value"}) {
					t.Errorf("%q, %v", values, err)
				}
				if took := time.Since(begun); took != test.took {
					t.Errorf("took %v, want %v", took, test.took)
				}
				if n := second.Asked(solvertest.ChallengeName, "TXT"); n != test.asked {
					t.Errorf("the second was asked %d times, want %d", n, test.asked)
				}
			})
		})
	}
}

func TestResolveFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := solvertest.NewMemoryDNS(t)
		second := d.SecondResolver("192.0.2.54")
		client := New(t.Context(), &Settings{Resolvers: []string{solvertest.ResolverAddr, "192.0.2.54"}, Dial: d.Dial}, "")
		d.Resolver.Answer(solvertest.Failing(dnsmessage.RCodeServerFailure))
		second.Answer(solvertest.Failing(dnsmessage.RCodeRefused))
		_, err := client.Resolve(t.Context(), "bad\x1bname.example", 257)
		const want = `no resolver has an answer for CAA "bad\x1bname.example": ` +
			`"192.0.2.53:53": SERVFAIL; "192.0.2.54:53": REFUSED`
		if err == nil || err.Error() != want {
			t.Errorf("the error is\n%v, want\n%s", err, want)
		}
		if !errors.Is(err, RCodeError(dnsmessage.RCodeServerFailure)) {
			t.Error("that it was SERVFAIL cannot be told")
		}
		second.Answer(solvertest.Silent)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		begun := time.Now()
		if _, err := client.Resolve(ctx, "example.com", dnsmessage.TypeA); !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) != 3*time.Second {
			t.Errorf("after %v: %v", time.Since(begun), err)
		}
	})
}
