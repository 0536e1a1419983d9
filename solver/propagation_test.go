package solver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/solver/internal/dnsclient"
	"github.com/everseal/everseal/solver/internal/solvertest"
	"golang.org/x/net/dns/dnsmessage"
)

// wait waits for a TXT record.
func (p *Propagation) wait(ctx context.Context, c *dnsclient.Client, name, value string) error {
	return p.waitFor(ctx, &spread{dns: c, name: name, match: textMatch{text: value}})
}

// propagate waits for the value "value" at solvertest.ChallengeName, and returns how long that took.
func propagate(t *testing.T, d *solvertest.DNS, p Propagation) (time.Duration, error) {
	t.Helper()
	begun := time.Now()
	err := p.wait(t.Context(), dnsOf(d).client(t.Context(), ""), solvertest.ChallengeName, "value")
	return time.Since(begun), err
}

func wantSpread(t *testing.T, d *solvertest.DNS, p Propagation, after time.Duration) {
	t.Helper()
	if took, err := propagate(t, d, p); err != nil || took != after {
		t.Errorf("spread after %v, %v; want %v", took, err, after)
	}
}

func wantNotSpread(t *testing.T, d *solvertest.DNS, p Propagation) *PropagationError {
	t.Helper()
	took, err := propagate(t, d, p)
	failure, ok := errors.AsType[*PropagationError](err)
	timeout := p.Timeout
	if timeout == 0 {
		timeout = 5 * time.Minute
	}
	if !ok || took != timeout {
		t.Fatalf("after %v, want %v: %v", took, timeout, err)
	}
	return failure
}

// spreadOver makes the zone example.com on some servers, with the record on the first alone.
func spreadOver(d *solvertest.DNS, addresses ...string) []*solvertest.Nameserver {
	servers := d.Zone("example.com", addresses...)
	servers[0].Add(solvertest.ChallengeName, "TXT", "value")
	return servers
}

// What the strongest of the peers did not do: one server that has the record is not enough.
func TestPropagationAsksAllServers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := solvertest.NewMemoryDNS(t)
		servers := spreadOver(d, "192.0.2.1", "2001:db8::2", "192.0.2.3")
		for _, s := range servers {
			s.Add(solvertest.ChallengeName, "TXT", "another order's")
		}
		time.AfterFunc(3*time.Second, func() { servers[1].Add(solvertest.ChallengeName, "TXT", "value") })
		time.AfterFunc(7*time.Second, func() { servers[2].Add(solvertest.ChallengeName, "TXT", "value") })
		wantSpread(t, d, Propagation{}, 9500*time.Millisecond) // asked at 0, 2, 5 and 9.5 s
		for i, want := range []int{1, 3, 4} {
			if n := servers[i].Asked(solvertest.ChallengeName, "TXT"); n != want {
				t.Errorf("server %d was asked %d times, want %d", i+1, n, want)
			}
		}
		wantSpread(t, d, Propagation{}, 0)
	})
}

// Nor is one error the end.
func TestPropagationOutlastsErrors(t *testing.T) {
	for name, answer := range map[string]solvertest.Answer{
		"SERVFAIL": solvertest.Failing(dnsmessage.RCodeServerFailure),
		"REFUSED":  solvertest.Failing(dnsmessage.RCodeRefused),
		"silent":   solvertest.Silent,
		"garbage":  func(string, *dnsmessage.Message, *dnsmessage.Message) [][]byte { return [][]byte{{1, 2, 3}} },
	} {
		for _, failing := range []string{"a server", "all servers", "the resolver"} {
			t.Run(name+" from "+failing, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					d := solvertest.NewMemoryDNS(t)
					servers := spreadOver(d, "192.0.2.1", "192.0.2.2")
					servers[1].Add(solvertest.ChallengeName, "TXT", "value")
					chosen := map[string][]*solvertest.Nameserver{"a server": servers[1:], "all servers": servers, "the resolver": {d.Resolver}}[failing]
					for _, s := range chosen {
						s.Answer(answer)
						time.AfterFunc(12*time.Second, func() { s.Answer(nil) })
					}
					if took, err := propagate(t, d, Propagation{}); err != nil || took < 12*time.Second || took > 30*time.Second {
						t.Errorf("after %v: %v", took, err)
					}
				})
			})
		}
	}
}

// Nor does one order's wait hold up another's.
func TestPropagationsSideBySide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := solvertest.NewMemoryDNS(t)
		spreadOver(d, "192.0.2.1")[0].Answer(solvertest.Silent)
		d.Zone("example.org", "192.0.2.2")[0].Add("_acme-challenge.example.org", "TXT", "value")
		client, p := dnsOf(d), new(Propagation)
		var waiting sync.WaitGroup
		waiting.Go(func() {
			if err := p.wait(t.Context(), client.client(t.Context(), ""), solvertest.ChallengeName, "value"); err == nil {
				t.Error("a silent server has the record")
			}
		})
		synctest.Wait() // its question is under way
		begun := time.Now()
		if err := p.wait(t.Context(), client.client(t.Context(), ""), "_acme-challenge.example.org", "value"); err != nil || time.Since(begun) != 0 {
			t.Errorf("after %v: %v", time.Since(begun), err)
		}
		waiting.Wait()
	})
}

// Which servers "all" leaves out, and when.
func TestPropagationLeavesOut(t *testing.T) {
	for name, test := range map[string]struct {
		set   func(d *solvertest.DNS, second *solvertest.Nameserver)
		after time.Duration // zero: never
	}{
		"no route": {func(d *solvertest.DNS, second *solvertest.Nameserver) { d.Unroute("192.0.2.2") }, 1},
		"no such host": {func(d *solvertest.DNS, second *solvertest.Nameserver) {
			d.Nameserver("192.0.2.1").Remove("ns2.example.com", "A", "")
		}, 1},
		"silent": {func(_ *solvertest.DNS, second *solvertest.Nameserver) { second.Answer(solvertest.Silent) }, 18 * time.Second},
		"lame":   {func(_ *solvertest.DNS, second *solvertest.Nameserver) { second.Unhold() }, 16250 * time.Millisecond},
		"SERVFAIL": {func(_ *solvertest.DNS, second *solvertest.Nameserver) {
			second.Answer(solvertest.Failing(dnsmessage.RCodeServerFailure))
		}, 16250 * time.Millisecond},
		"no authority":   {func(_ *solvertest.DNS, second *solvertest.Nameserver) { second.Answer(withoutAuthority) }, 16250 * time.Millisecond},
		"record missing": {func(*solvertest.DNS, *solvertest.Nameserver) {}, 0},
		"another value": {func(_ *solvertest.DNS, second *solvertest.Nameserver) {
			second.Add(solvertest.ChallengeName, "TXT", "other")
		}, 0},
		"silent later": {func(_ *solvertest.DNS, second *solvertest.Nameserver) {
			time.AfterFunc(time.Second, func() { second.Answer(solvertest.Silent) })
		}, 0},
		"SERVFAIL later": {func(_ *solvertest.DNS, second *solvertest.Nameserver) {
			time.AfterFunc(time.Second, func() { second.Answer(solvertest.Failing(dnsmessage.RCodeServerFailure)) })
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := solvertest.NewMemoryDNS(t)
				test.set(d, spreadOver(d, "192.0.2.1", "192.0.2.2")[1])
				switch test.after {
				case 0:
					wantNotSpread(t, d, Propagation{})
				case 1:
					wantSpread(t, d, Propagation{}, 0)
				default:
					wantSpread(t, d, Propagation{}, test.after)
				}
			})
		})
	}
}

func withoutAuthority(_ string, _, reply *dnsmessage.Message) [][]byte {
	reply.Authoritative = false
	reply.Answers = []dnsmessage.Resource{solvertest.NewRecord(solvertest.ChallengeName, "TXT", "value")}
	return solvertest.Pack(reply)
}

func TestPropagationQuorum(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := solvertest.NewMemoryDNS(t)
		servers := spreadOver(d, "192.0.2.1", "192.0.2.2", "192.0.2.3")
		wantSpread(t, d, Propagation{Quorum: 1}, 0)
		wantNotSpread(t, d, Propagation{Quorum: 2, Timeout: time.Minute})
		servers[1].Add(solvertest.ChallengeName, "TXT", "value")
		wantSpread(t, d, Propagation{Quorum: 2}, 0)
		servers[2].Answer(solvertest.Silent)
		wantNotSpread(t, d, Propagation{Quorum: 3, Timeout: time.Minute}) // a number is a number
		servers[2].Answer(nil)
		servers[2].Add(solvertest.ChallengeName, "TXT", "value")
		wantSpread(t, d, Propagation{Quorum: 9}, 0)
	})
}

func TestPropagationFollowsCNAMEs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := solvertest.NewMemoryDNS(t)
		s := d.Zone("example.com", "192.0.2.1")[0]
		s.Add(solvertest.ChallengeName, "CNAME", "first.validation.example")
		s.Add("*.example.com", "TXT", "value")
		target := d.Zone("validation.example", "192.0.2.2")[0]
		target.Add("second.validation.example", "TXT", "value")
		failure := wantNotSpread(t, d, Propagation{Timeout: 10 * time.Second})
		const want = `solver: the TXT record "_acme-challenge.example.com", which leads to "first.validation.example", with "value" was ` +
			`not seen at 1 of 1 servers within 10s: ns1.validation.example (192.0.2.2:53) says that there is no such name (NXDOMAIN). ` +
			`See whether the record was written to the zone that the domain is delegated to`
		if failure.Error() != want {
			t.Errorf("the error is\n%v, want\n%s", failure, want)
		}
		// The CNAME is put right in the meantime.
		time.AfterFunc(12*time.Second, func() {
			s.Remove(solvertest.ChallengeName, "CNAME", "")
			s.Add(solvertest.ChallengeName, "CNAME", "second.validation.example")
		})
		wantSpread(t, d, Propagation{}, reconsiderInterval)
	})
}

// A server that is one no longer is neither waited for nor asked.
func TestPropagationForgetsServers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := solvertest.NewMemoryDNS(t)
		servers := spreadOver(d, "192.0.2.1", "192.0.2.2", "192.0.2.3")
		time.AfterFunc(12*time.Second, func() { servers[0].Remove("example.com", "NS", "ns2.example.com") })
		failure := wantNotSpread(t, d, Propagation{})
		if len(failure.Servers) != 2 || failure.Servers[1].Server != "ns3.example.com" {
			t.Errorf("the servers are %v", failure.Servers)
		}
		asked, since := servers[1].Asked(solvertest.ChallengeName, "TXT"), servers[2].Asked(solvertest.ChallengeName, "TXT")
		if asked > 7 || since < 30 {
			t.Errorf("asked %d times until shortly after 30 s and %d times in 5 min", asked, since)
		}
		servers[2].Add(solvertest.ChallengeName, "TXT", "value")
		wantSpread(t, d, Propagation{}, 0)
	})
}

func TestPropagationAsksResolvers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := solvertest.NewMemoryDNS(t)
		s := spreadOver(d, "192.0.2.1")[0]
		s.Answer(solvertest.Silent)
		second := d.SecondResolver("192.0.2.54")
		client := dnsOf(d)
		client.Resolvers = append(client.Resolvers, "192.0.2.54")
		second.Answer(solvertest.Failing(dnsmessage.RCodeNameError))
		time.AfterFunc(55*time.Second, func() { d.SecondResolver("192.0.2.54") })
		begun := time.Now()
		p := &Propagation{Recursive: true, Interval: 10 * time.Second}
		if err := p.wait(t.Context(), client.client(t.Context(), ""), solvertest.ChallengeName, "value"); err != nil || time.Since(begun) != time.Minute {
			t.Errorf("after %v: %v", time.Since(begun), err)
		}
		if n := len(s.Queries()); n != 0 {
			t.Errorf("the authoritative server was asked %d times", n)
		}
		client.Resolvers[0] = "192.0.2.55" // no route leads there
		err := (&Propagation{Recursive: true, Quorum: 2, Timeout: time.Second}).wait(t.Context(), client.client(t.Context(), ""), solvertest.ChallengeName, "value")
		const want = `not seen at 1 of 2 servers within 1s: 192.0.2.55:53 says nothing: ` +
			`udp: no route to 192.0.2.55:53: network is unreachable; tcp: no route to 192.0.2.55:53: network is unreachable. A resolver keeps`
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %s", err, want)
		}
		for _, q := range second.Queries() {
			if !q.RecursionDesired {
				t.Error("the resolver was not asked to resolve")
			}
		}
	})
}

func TestPropagationOffAndDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := solvertest.NewMemoryDNS(t)
		wantSpread(t, d, Propagation{Off: true}, 0)
		wantSpread(t, d, Propagation{Off: true, Delay: time.Minute}, time.Minute)
		if n := len(d.Resolver.Queries()); n != 0 {
			t.Errorf("asked %d times", n)
		}
		spreadOver(d, "192.0.2.1")
		wantSpread(t, d, Propagation{Delay: time.Hour}, time.Hour)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := (&Propagation{Delay: time.Hour}).wait(ctx, dnsOf(d).client(ctx, ""), solvertest.ChallengeName, "value")
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), solvertest.ChallengeName) {
			t.Errorf("got %v", err)
		}
	})
}

func TestPropagationInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := solvertest.NewMemoryDNS(t)
		second := spreadOver(d, "192.0.2.1", "192.0.2.2")[1]
		wantNotSpread(t, d, Propagation{Interval: 7 * time.Second, Timeout: 29 * time.Second})
		if n := second.Asked(solvertest.ChallengeName, "TXT"); n != 5 {
			t.Errorf("asked %d times in 29 s, want 5 at intervals of 7 s", n)
		}
		wantNotSpread(t, d, Propagation{Interval: time.Minute, Timeout: 290 * time.Second})
		if n := second.Asked(solvertest.ChallengeName, "TXT"); n != 5+5 {
			t.Errorf("asked %d times in 290 s, want 5 at intervals of 1 min", n-5)
		}
		wantNotSpread(t, d, Propagation{})
		if n := second.Asked(solvertest.ChallengeName, "TXT") - 10; n > 60 {
			t.Errorf("asked %d times in 5 min", n)
		}
	})
}

func TestPropagationError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := solvertest.NewMemoryDNS(t)
		servers := spreadOver(d, "192.0.2.1", "192.0.2.2", "2001:db8::3", "192.0.2.4", "192.0.2.5", "192.0.2.6")
		for i := range 6 {
			servers[1].Add(solvertest.ChallengeName, "TXT", fmt.Sprintf("\x1b[31m%d", i))
		}
		servers[2].Answer(solvertest.Failing(dnsmessage.RCodeServerFailure))
		servers[3].Add("elsewhere.example.com", "TXT", "")
		servers[3].Add(solvertest.ChallengeName, "CNAME", "elsewhere.example.com")
		servers[3].Remove("elsewhere.example.com", "TXT", "")
		servers[4].Answer(solvertest.Silent)
		servers[5].Answer(withoutAuthority)
		failure := wantNotSpread(t, d, Propagation{Timeout: 9 * time.Second})
		const want = `solver: the TXT record "_acme-challenge.example.com" with "value" was not seen at 5 of 6 servers within 9s: ` +
			`ns2.example.com (192.0.2.2:53) says TXT "\x1b[31m0", "\x1b[31m1", "\x1b[31m2", "\x1b[31m3" and 2 more; ` +
			`ns3.example.com ([2001:db8::3]:53) says SERVFAIL; ` +
			`ns4.example.com (192.0.2.4:53) says a CNAME to "elsewhere.example.com" without a TXT record; ` +
			`ns5.example.com (192.0.2.5:53) says nothing: no answer by udp within 2s: i/o timeout; ` +
			`no answer by udp within 2s: i/o timeout; no answer by tcp within 4s: i/o timeout; ` +
			`ns6.example.com (192.0.2.6:53) says TXT "value", without authority for the zone. ` +
			`See why the zone does not get to all of its servers, give it more time by Propagation.Timeout, or set Propagation.Quorum`
		if failure.Error() != want {
			t.Errorf("the error is\n%v, want\n%s", failure, want)
		}
		found := slices.IndexFunc(failure.Servers, func(a ServerAnswer) bool { return a.Found })
		if len(failure.Servers) != 6 || found != 0 || failure.After != 9*time.Second || failure.Err != nil ||
			failure.Name != solvertest.ChallengeName || failure.Target != solvertest.ChallengeName || failure.Value != "value" {
			t.Errorf("%+v", failure)
		}
	})
}

func TestPropagationErrorIsBounded(t *testing.T) {
	e := &PropagationError{Name: strings.Repeat("n", 1000), Target: strings.Repeat("t", 1000), Value: strings.Repeat("v", 100_000)}
	for range 1000 {
		e.Servers = append(e.Servers, ServerAnswer{Server: "ns.example", Address: "192.0.2.1:53", Said: strings.Repeat("s", 300)})
	}
	if text := e.Error(); len(text) > 4000 || !strings.Contains(text, "; and 992 more") {
		t.Errorf("%d bytes: %.4000s", len(text), text)
	}
}

func TestPropagationWithoutServers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := solvertest.NewMemoryDNS(t)
		d.Resolver.Answer(solvertest.Failing(dnsmessage.RCodeServerFailure))
		failure := wantNotSpread(t, d, Propagation{})
		const want = `solver: the TXT record "_acme-challenge.example.com" with "value" was not asked for, as its name servers are not known, ` +
			`within 5m0s: no resolver has an answer for CNAME "_acme-challenge.example.com": "192.0.2.53:53": SERVFAIL. ` +
			`Name the zone by the solver's Zone, have resolvers asked by Propagation.Recursive, or leave out the check by Propagation.Off`
		if failure.Error() != want || !errors.Is(failure, dnsclient.RCodeError(dnsmessage.RCodeServerFailure)) {
			t.Errorf("the error is\n%v, want\n%s", failure, want)
		}
		d.Resolver.Answer(nil)
		for _, s := range spreadOver(d, "192.0.2.1", "192.0.2.2") {
			s.Answer(solvertest.Silent)
		}
		if failure := wantNotSpread(t, d, Propagation{}); !strings.HasSuffix(failure.Error(), "set Propagation.Recursive") {
			t.Errorf("the error is %v", failure)
		}
	})
}

func TestPropagationEndsWithItsContext(t *testing.T) {
	for _, silent := range []string{"192.0.2.2", solvertest.ResolverAddr} {
		synctest.Test(t, func(t *testing.T) {
			d := solvertest.NewMemoryDNS(t)
			spreadOver(d, "192.0.2.1", "192.0.2.2")
			d.Nameserver(silent).Answer(solvertest.Silent)
			cause := errors.New("shutting down")
			ctx, cancel := context.WithCancelCause(t.Context())
			time.AfterFunc(time.Second, func() { cancel(cause) })
			begun := time.Now()
			err := new(Propagation).wait(ctx, dnsOf(d).client(ctx, ""), solvertest.ChallengeName, "value")
			failure, ok := errors.AsType[*PropagationError](err)
			if !ok || !errors.Is(err, cause) || time.Since(begun) != time.Second {
				t.Fatalf("after %v: %v", time.Since(begun), err)
			}
			const want = "within 1s: shutting down: ns2.example.com (192.0.2.2:53) says nothing yet."
			if silent != solvertest.ResolverAddr && (len(failure.Servers) != 2 || !strings.Contains(err.Error(), want)) {
				t.Errorf("%v does not say %q", err, want)
			}
		})
	}
}

// The names of servers come from the network, and get no further unescaped.
func TestPropagationEscapesNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := solvertest.NewMemoryDNS(t)
		s := d.Zone("example.com", "192.0.2.1")[0]
		s.Add("example.com", "NS", "a\r\n\x1b\"<b>.example.com")
		failure := wantNotSpread(t, d, Propagation{Timeout: time.Second})
		for _, text := range []string{failure.Error(), failure.Servers[0].Server, failure.Servers[0].Said} {
			if strings.ContainsAny(text, "\r\n\x1b") || !strings.Contains(text, `\r\n`) {
				t.Errorf("shown as it is: %q", text)
			}
		}
	})
}

func TestPropagationOnLoopback(t *testing.T) {
	d := solvertest.NewDNS(t)
	servers := spreadOver(d, "192.0.2.1", "2001:db8::2")
	p := &Propagation{Interval: time.Millisecond, Timeout: 20 * time.Second}
	servers[1].Answer(func(_ string, _, reply *dnsmessage.Message) [][]byte {
		servers[1].Answer(nil)
		servers[1].Add(solvertest.ChallengeName, "TXT", "value")
		return solvertest.Failing(dnsmessage.RCodeServerFailure)("", nil, reply)
	})
	if err := p.wait(t.Context(), dnsOf(d).client(t.Context(), ""), solvertest.ChallengeName, "value"); err != nil {
		t.Fatal(err)
	}
	if n := servers[1].Asked(solvertest.ChallengeName, "TXT"); n != 2 {
		t.Errorf("the second server was asked %d times, want 2", n)
	}
}

// A hostile zone that names many servers is asked with bounds, and costs no other resource than time.
func TestPropagationOfAHostileZone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := solvertest.NewMemoryDNS(t)
		s := d.Zone("example.com", "192.0.2.1")[0]
		for i := range 100 {
			s.Add("example.com", "NS", fmt.Sprintf("ns-%d.example.com", i))
			for j := range 50 {
				s.Add(fmt.Sprintf("ns-%d.example.com", i), "A", fmt.Sprintf("198.51.%d.%d", i, j))
			}
		}
		open := new(openConns)
		client := dnsOf(d)
		client.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			if strings.HasPrefix(address, "192.0.2.") {
				return d.Dial(ctx, network, address)
			}
			open.add(1)
			conn, silent := net.Pipe()
			go io.Copy(io.Discard, silent)
			return &countedConn{Conn: conn, open: open}, nil
		}
		if err := (&Propagation{Timeout: time.Minute}).wait(t.Context(), client.client(t.Context(), ""), solvertest.ChallengeName, "value"); err == nil {
			t.Error("no error")
		}
		if open.most < 16 || open.most > 24 || open.now != 0 {
			t.Errorf("%d connections at once, and %d are left", open.most, open.now)
		}
	})
}

type openConns struct {
	mu        sync.Mutex
	now, most int
}

func (o *openConns) add(n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.now += n
	o.most = max(o.most, o.now)
}

// However it ends, no goroutine and no connection is left.
func TestPropagationLeavesNothing(t *testing.T) {
	for _, quorum := range []int{0, 1} {
		synctest.Test(t, func(t *testing.T) {
			d := solvertest.NewMemoryDNS(t)
			spreadOver(d, "192.0.2.1", "192.0.2.2")[1].Answer(solvertest.Silent)
			open := new(openConns)
			client := dnsOf(d)
			client.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				conn, err := d.Dial(ctx, network, address)
				if err == nil {
					open.add(1)
					conn = &countedConn{Conn: conn, open: open, lingers: time.Second}
				}
				return conn, err
			}
			p := &Propagation{Quorum: quorum, Timeout: 20 * time.Second}
			err := p.wait(t.Context(), client.client(t.Context(), ""), solvertest.ChallengeName, "value")
			if (err == nil) != (quorum == 1) || open.now != 0 || open.most == 0 {
				t.Errorf("%d connections are left of %d: %v", open.now, open.most, err)
			}
		})
	}
}

// A countedConn is one of the open connections until it is closed.
type countedConn struct {
	net.Conn
	open    *openConns
	lingers time.Duration
	closed  sync.Once
}

func (c *countedConn) Close() error {
	time.Sleep(c.lingers)
	c.closed.Do(func() { c.open.add(-1) })
	return c.Conn.Close()
}

// A dial that fails for a moment does not leave the server out.
func TestDialFailureIsNoMissingRoute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := solvertest.NewMemoryDNS(t)
		spreadOver(d, "192.0.2.1", "192.0.2.2") // ns2 lacks the record
		client := dnsOf(d)
		start := time.Now()
		client.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			if address == "192.0.2.2:53" && time.Since(start) < time.Second {
				return nil, &net.OpError{Op: "dial", Net: network, Err: os.NewSyscallError("socket", syscall.EMFILE)}
			}
			return d.Dial(ctx, network, address)
		}
		p := Propagation{Timeout: time.Minute}
		if err := p.wait(t.Context(), client.client(t.Context(), ""), solvertest.ChallengeName, "value"); err == nil {
			t.Errorf("spread after %v, though ns2 never had the record", time.Since(start))
		}
	})
}

// dnsOf returns a DNS that asks d.
func dnsOf(d *solvertest.DNS) *DNS {
	return &DNS{Resolvers: []string{solvertest.ResolverAddr}, Dial: d.Dial}
}

func TestPropagationErrorHasExtendedErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := solvertest.NewMemoryDNS(t)
		servers := d.Zone("example.com", "192.0.2.1", "192.0.2.2", "192.0.2.3")
		servers[0].Answer(solvertest.WithExtended(dnsmessage.RCodeRefused, 20, "no such zone here\n"))
		servers[1].Answer(solvertest.Silent)
		failure := wantNotSpread(t, d, Propagation{Timeout: time.Minute})
		for _, want := range []string{
			`ns1.example.com (192.0.2.1:53) says REFUSED (extended error 20, Not Authoritative: no such zone here\n)`,
			"ns2.example.com (192.0.2.2:53) says nothing: no answer by udp",
		} {
			if !strings.Contains(failure.Error(), want) {
				t.Errorf("%v\ndoes not say %s", failure, want)
			}
		}
	})
}
