package solver_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/solver/internal/solvertest"
	"golang.org/x/net/dns/dnsmessage"
)

// A dialLog notes what is dialled on the way to a DNS in memory. Servers that are not in it take connections, and say
// nothing.
type dialLog struct {
	dns *solvertest.DNS

	mu        sync.Mutex // guards what follows
	addresses []string
	open      int
	mostOpen  int
}

func (l *dialLog) client() *solver.DNS {
	return &solver.DNS{Resolvers: []string{solvertest.ResolverAddr}, Dial: l.dial}
}

func (l *dialLog) dial(ctx context.Context, network, address string) (net.Conn, error) {
	l.mu.Lock()
	l.addresses = append(l.addresses, address)
	l.open++
	l.mostOpen = max(l.mostOpen, l.open)
	l.mu.Unlock()
	conn, err := l.dns.Dial(ctx, network, address)
	if err != nil {
		var silent net.Conn
		conn, silent = net.Pipe()
		go io.Copy(io.Discard, silent)
	}
	return &loggedConn{Conn: conn, log: l}, nil
}

// inside returns the addresses dialled that are not of the Internet.
func (l *dialLog) inside() (addresses []string) {
	for _, address := range l.addresses {
		addr := netip.MustParseAddrPort(address).Addr().Unmap()
		if addr.IsLoopback() || addr.IsPrivate() || addr.IsLinkLocalUnicast() || addr.IsUnspecified() || addr.IsMulticast() {
			addresses = append(addresses, address)
		}
	}
	return addresses
}

// targets returns how many addresses were dialled.
func (l *dialLog) targets() int {
	different := make(map[string]bool)
	for _, address := range l.addresses {
		different[address] = true
	}
	return len(different)
}

type loggedConn struct {
	net.Conn
	log    *dialLog
	closed sync.Once
}

func (c *loggedConn) Close() error {
	c.closed.Do(func() {
		c.log.mu.Lock()
		c.log.open--
		c.log.mu.Unlock()
	})
	return c.Conn.Close()
}

// insiders are addresses that no CA on the Internet reaches.
var insiders = []string{
	"127.0.0.1", "169.254.169.254", "10.0.0.5", "0.0.0.0", "224.0.0.251", "::1", "fd00::5", "fe80::1", "::ffff:127.0.0.1",
	"64:ff9b::a9fe:a9fe", "::ffff:0:10.0.0.5", "2001:0:c000:201::f5ff:fffa",
}

// leadInside has the zone example.com name servers at the insiders too. All have the record that answers overDNS.
func leadInside(d *solvertest.DNS) *dialLog {
	servers := d.Zone("example.com", append([]string{"192.0.2.1"}, insiders...)...)
	for _, s := range servers {
		s.Add(solvertest.ChallengeName, "TXT", valueOf(overDNS))
	}
	return &dialLog{dns: d}
}

// A zone may name servers anywhere. Those inside are not asked for a CA on the Internet, which passes over them too.
func TestWaitAsksNoNameServerInside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := leadInside(solvertest.NewMemoryDNS(t))
		s := &solver.DNS01{DNS: log.client()}
		begun := time.Now()
		if err := s.Wait(t.Context(), overDNS); err != nil || len(log.inside()) > 0 {
			t.Errorf("%v, having dialled %q", err, log.inside())
		}
		if took := time.Since(begun); took > 0 {
			t.Errorf("those that are not asked were waited for %v", took)
		}
	})
}

func TestWaitForAZoneInside(t *testing.T) {
	for _, address := range insiders {
		synctest.Test(t, func(t *testing.T) {
			d := solvertest.NewMemoryDNS(t)
			d.Zone("example.com", address)[0].Add(solvertest.ChallengeName, "TXT", valueOf(overDNS))
			log := &dialLog{dns: d}
			s := &solver.DNS01{DNS: log.client()}
			begun := time.Now()
			err := s.Wait(t.Context(), overDNS)
			if took := time.Since(begun); took > time.Minute {
				t.Errorf("it was waited for %v", took)
			}
			failure, ok := errors.AsType[*solver.PropagationError](err)
			if !ok || len(log.inside()) > 0 || !strings.Contains(failure.Servers[0].Said, "which no CA on the Internet reaches") || !strings.Contains(err.Error(), "set DNS.Private") {
				t.Errorf("%v, having dialled %q", err, log.inside())
			}
		})
	}
}

// A CA that is inside itself asks what is inside.
func TestWaitOfAPrivateCA(t *testing.T) {
	for _, directory := range []string{
		"https://127.0.0.1:14000/dir", "https://[::1]/dir", "https://localhost/dir", "https://ca.localhost:14000/dir", "https://10.1.1.1/acme/acme/directory", "https://ca.corp.example/dir",
	} {
		synctest.Test(t, func(t *testing.T) {
			d := solvertest.NewMemoryDNS(t)
			d.Zone("corp.example", "192.0.2.7")[0].Add("ca.corp.example", "A", "10.1.1.1")
			d.Zone("example.com", "10.0.0.5")[0].Add(solvertest.ChallengeName, "TXT", valueOf(overDNS))
			p := overDNS
			p.DirectoryURL = directory
			log := &dialLog{dns: d}
			s := &solver.DNS01{DNS: log.client()}
			if err := s.Wait(t.Context(), p); err != nil || len(log.inside()) == 0 {
				t.Errorf("%s: %v, having dialled %q", directory, err, log.inside())
			}
			if n := d.Resolver.Asked("ca.corp.example", "A"); n > 1 {
				t.Errorf("%s: asked %d times where it is", directory, n)
			}
		})
	}
}

// Resolvers may be anywhere, as those of clusters and containers are.
func TestResolversInside(t *testing.T) {
	for _, resolver := range []string{"10.96.0.10", "127.0.0.11", "169.254.169.253", "[fe80::1%eth0]:53"} {
		synctest.Test(t, func(t *testing.T) {
			d := solvertest.NewMemoryDNS(t)
			d.Zone("example.com", "192.0.2.1")[0].Add(solvertest.ChallengeName, "TXT", valueOf(overDNS))
			dial := func(ctx context.Context, network, address string) (net.Conn, error) {
				if strings.Contains(address, strings.Trim(strings.TrimSuffix(resolver, ":53"), "[]")) {
					address = net.JoinHostPort(solvertest.ResolverAddr, "53")
				}
				return d.Dial(ctx, network, address)
			}
			s := &solver.DNS01{DNS: &solver.DNS{Resolvers: []string{resolver}, Dial: dial}}
			if err := s.Wait(t.Context(), overDNS); err != nil {
				t.Error(err)
			}
		})
	}
}

// While it is not known where the CA is, servers inside are not given up, nor asked.
func TestWaitWhileTheCAIsNotFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := solvertest.NewMemoryDNS(t)
		d.Zone("corp.example", "192.0.2.7")[0].Add("ca.corp.example", "A", "10.1.1.1")
		d.Zone("example.com", "10.0.0.5")[0].Add(solvertest.ChallengeName, "TXT", valueOf(overDNS))
		var answering atomic.Bool
		d.Resolver.Answer(func(_ string, query, reply *dnsmessage.Message) [][]byte {
			if !answering.Load() && query.Questions[0].Name.String() == "ca.corp.example." {
				reply.RCode, reply.Answers = dnsmessage.RCodeServerFailure, nil
			}
			return solvertest.Pack(reply)
		})
		p := overDNS
		p.DirectoryURL = "https://ca.corp.example/dir"
		log := &dialLog{dns: d}
		s := &solver.DNS01{DNS: log.client(), Propagation: solver.Propagation{Timeout: time.Minute}}
		err := s.Wait(t.Context(), p)
		requireError(t, err, "10.0.0.5 is a private address: whether the CA is on a private network too is not known: ")
		if len(log.inside()) > 0 {
			t.Errorf("dialled %q", log.inside())
		}
		// What is not known is no cause.
		d.Nameserver("10.0.0.5").Add("example.com", "A", "10.0.0.6")
		web := func(_ context.Context, _, address string) (net.Conn, error) {
			t.Errorf("dialled %s", address)
			return nil, errUnroutable
		}
		atHost := overHTTP
		atHost.DirectoryURL = p.DirectoryURL
		if diagnosis := solver.Diagnose(t.Context(), atHost, nil, solver.Vantage{DNS: log.client(), Dial: web}); diagnosis.Cause != "" {
			t.Errorf("%q, %s", diagnosis.Cause, diagnosis)
		}
		time.AfterFunc(10*time.Second, func() { answering.Store(true) })
		if err := s.Wait(t.Context(), p); err != nil || len(log.inside()) == 0 {
			t.Errorf("when the CA is found again: %v, having dialled %q", err, log.inside())
		}
	})
}

// Translators of a network lead to any CA: that its address is one of theirs tells nothing of where it is.
func TestWaitOfACABehindATranslator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := solvertest.NewMemoryDNS(t)
		d.Zone("ca.example", "192.0.2.7")[0].Add("ca.example", "AAAA", "64:ff9b:1::c000:207")
		d.Zone("example.com", "10.0.0.5")
		p := overDNS
		p.DirectoryURL = "https://ca.example/dir"
		log := &dialLog{dns: d}
		s := &solver.DNS01{DNS: log.client()}
		requireError(t, s.Wait(t.Context(), p), "set DNS.Private")
		if len(log.inside()) > 0 {
			t.Errorf("dialled %q", log.inside())
		}
	})
}

// Also the zones that CNAMEs lead through may name servers anywhere.
func TestPresentAsksNoNameServerInside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := solvertest.NewMemoryDNS(t)
		d.Zone("example.net", insiders...)
		d.Zone("example.com", insiders...)[0].Add(solvertest.ChallengeName, "CNAME", "abc.example.net")
		log := &dialLog{dns: d}
		s := &solver.DNS01{DNS: log.client(), Provider: newZones(d, "example.com"), FollowCNAME: true}
		s.Present(t.Context(), overDNS)
		if len(log.inside()) > 0 {
			t.Errorf("dialled %q", log.inside())
		}
	})
}

func TestDiagnoseAsksNoNameServerInside(t *testing.T) {
	for _, p := range []acme.Proof{overDNS, overHTTP, newProof(acme.TypeDNSAccount01, "example.com"), persistent(false)} {
		for _, failure := range []error{nil, refusal(acme.ErrDNS, "query timed out")} {
			synctest.Test(t, func(t *testing.T) {
				d := solvertest.NewMemoryDNS(t)
				log := &dialLog{dns: d}
				for _, s := range d.Zone("example.com", insiders...) {
					s.Add("example.com", "A", "192.0.2.1")
				}
				web := func(context.Context, string, string) (net.Conn, error) { return nil, errUnroutable }
				diagnosis := solver.Diagnose(t.Context(), p, failure, solver.Vantage{DNS: log.client(), Dial: web})
				requireBounded(t, diagnosis)
				if len(log.inside()) > 0 {
					t.Errorf("%s: dialled %q", p.Type, log.inside())
				}
				if (p.Type != acme.TypeHTTP01 || failure != nil) && diagnosis.Cause != solver.CausePrivateAddress {
					t.Errorf("%s after %v: %q, %s", p.Type, failure, diagnosis.Cause, diagnosis)
				}
				if diagnosis.Cause != "" && !strings.HasSuffix(diagnosis.Cure, "; for a CA on that network, set Vantage.Private") {
					t.Errorf("%s after %v: the cure is %s", p.Type, failure, diagnosis.Cure)
				}
			})
		}
	}
}

// Name servers of no use are no cause if the CA does not complain of the DNS.
func TestDiagnoseBlamesNoNameServerForAnotherFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := solvertest.NewMemoryDNS(t)
		for _, s := range d.Zone("example.com", insiders...) {
			s.Add("example.com", "A", "192.0.2.1")
		}
		web := func(context.Context, string, string) (net.Conn, error) { return nil, errUnroutable }
		for _, p := range []acme.Proof{overHTTP, overTLS} {
			diagnosis := solver.Diagnose(t.Context(), p, refusal(acme.ErrConnection, "connection refused"), solver.Vantage{DNS: dnsOf(d), Dial: web})
			if diagnosis.Cause != "" {
				t.Errorf("%s: %q, %s", p.Type, diagnosis.Cause, diagnosis)
			}
		}
	})
}

// Without a Dial, a check connects to nothing inside for a CA on the Internet.
func TestChecksKeepOut(t *testing.T) {
	h, s := new(solver.HTTP01), new(solver.TLSALPN01)
	for _, address := range []string{"127.0.0.1", "::1"} {
		for _, err := range []error{
			h.Check(t.Context(), newProof(acme.TypeHTTP01, address)), s.Check(t.Context(), newProof(acme.TypeTLSALPN01, address)),
		} {
			requireError(t, err, address+" is a loopback address")
		}
	}
	inside := newProof(acme.TypeHTTP01, "127.0.0.1")
	inside.DirectoryURL = "https://127.0.0.1:14000/dir"
	if err := h.Check(t.Context(), inside); err == nil || strings.Contains(err.Error(), "is a loopback address") {
		t.Errorf("for a CA on this machine: %v", err)
	}
}

// With a Dial, which finds out itself where names lead, a redirect to an address inside is not followed all the same.
func TestChecksWithADialKeepRedirectsOut(t *testing.T) {
	for target, want := range map[string]string{
		"http://10.0.0.5/":               "a redirect to 10.0.0.5, a private address",
		"http://127.0.0.1/":              "a redirect to 127.0.0.1, a loopback address",
		"https://169.254.169.254/latest": "a redirect to 169.254.169.254, a link-local address",
		"http://[::ffff:0:10.0.0.5]/":    "a redirect to ::ffff:0:a00:5, a private address",
		"http://127.1/":                  `a redirect to "127.1", which is no host`,
		"http://127.0.0.1./":             `a redirect to "127.0.0.1.", which is no host`,
		"http://0x7f000001/":             `a redirect to "0x7f000001", which is no host`,
		"http://a.0X7f/":                 `a redirect to "a.0X7f", which is no host`,
		"http://2130706433:80/":          `a redirect to "2130706433", which is no host`,
		"http://0177.0.0.01/":            `a redirect to "0177.0.0.01", which is no host`,
	} {
		var dialled []string
		server := serveHTTP(t, redirect(target))
		h := &solver.HTTP01{Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			dialled = append(dialled, address)
			return dialTo(server)(ctx, network, address)
		}}
		requireError(t, h.Check(t.Context(), overHTTP), want)
		if len(dialled) != 1 {
			t.Errorf("a redirect to %s: dialled %q", target, dialled)
		}
	}
}

// hostileChain has the challenge lead along ten CNAMEs through as many zones, each with a thousand servers that take
// connections and are silent.
func hostileChain(t *testing.T) *dialLog {
	d := solvertest.NewMemoryDNS(t)
	name := solvertest.ChallengeName
	for i := range 11 {
		zone := map[bool]string{true: "example.com", false: fmt.Sprintf("hostile%d.example", i)}[i == 0]
		s := d.Zone(zone, fmt.Sprintf("192.0.2.%d", 100+i))[0]
		for j := range 50 {
			ns := fmt.Sprintf("silent%d.%s", j, zone)
			s.Add(zone, "NS", ns)
			for k := range 20 {
				s.Add(ns, "A", fmt.Sprintf("%d.%d.1.%d", 11+i, j, k))
			}
		}
		s.Remove(zone, "NS", "ns1."+zone)
		if next := fmt.Sprintf("_acme-challenge.hostile%d.example", i+1); i < 10 {
			s.Add(name, "CNAME", next)
			name = next
		}
	}
	return &dialLog{dns: d}
}

// wantCost fails the test if more was sent than that.
func (l *dialLog) wantCost(t *testing.T, packets, targets int) {
	t.Helper()
	const sockets = 40
	t.Logf("%d packets, to %d targets, by %d sockets at once", len(l.addresses), l.targets(), l.mostOpen)
	if len(l.addresses) > packets || l.targets() > targets || l.mostOpen > sockets {
		t.Errorf("more than %d packets, %d targets or %d sockets", packets, targets, sockets)
	}
	if l.open != 0 {
		t.Errorf("%d sockets are left", l.open)
	}
}

func TestCostOfWait(t *testing.T) {
	for _, follow := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			log := hostileChain(t)
			begun := time.Now()
			s := &solver.DNS01{DNS: log.client(), FollowCNAME: follow}
			if err := s.Wait(t.Context(), overDNS); err == nil {
				t.Error("no error")
			}
			if took := time.Since(begun); took > 5*time.Minute {
				t.Errorf("it took %v, advice included", took)
			}
			log.wantCost(t, 3000, 101)
		})
	}
}

func TestCostOfPresent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := hostileChain(t)
		s := &solver.DNS01{DNS: log.client(), Provider: newZones(log.dns, "example.com"), FollowCNAME: true}
		s.Present(t.Context(), overDNS)
		log.wantCost(t, 600, 101)
	})
}

func TestCostOfDiagnose(t *testing.T) {
	for _, failure := range []error{nil, refusal(acme.ErrDNS, "query timed out")} {
		for _, p := range []acme.Proof{overDNS, overHTTP} {
			synctest.Test(t, func(t *testing.T) {
				log := hostileChain(t)
				web := func(context.Context, string, string) (net.Conn, error) { return nil, errUnroutable }
				begun := time.Now()
				solver.Diagnose(t.Context(), p, failure, solver.Vantage{DNS: log.client(), Dial: web})
				if took := time.Since(begun); took > 30*time.Second {
					t.Errorf("it took %v", took)
				}
				log.wantCost(t, 430, 101)
			})
		}
	}
}

// slowChain has the challenge lead along CNAMEs to names of many labels, of which the resolver knows no zone.
func slowChain(t *testing.T) *dialLog {
	d := solvertest.NewMemoryDNS(t)
	s := d.Zone("example.com", "192.0.2.1")[0]
	name := solvertest.ChallengeName
	for i := range 9 {
		next := fmt.Sprintf("_acme-challenge%s.slow%d.example.com", strings.Repeat(".a", 50), i)
		s.Add(name, "CNAME", next)
		name = next
	}
	d.Resolver.Answer(func(_ string, query, reply *dnsmessage.Message) [][]byte {
		if query.Questions[0].Type == dnsmessage.TypeSOA {
			return nil
		}
		return solvertest.Pack(reply)
	})
	return &dialLog{dns: d}
}

// A chain that leads nowhere in many steps holds up no order for long.
func TestSlowChainsAreGivenUp(t *testing.T) {
	for name, s := range map[string]func(d *solver.DNS, p solver.Provider) acme.Solver{
		"dns-01": func(d *solver.DNS, p solver.Provider) acme.Solver {
			return &solver.DNS01{DNS: d, Provider: p, FollowCNAME: true}
		},
		"dns-persist-01": func(d *solver.DNS, p solver.Provider) acme.Solver { return &solver.DNSPersist01{DNS: d, Provider: p} },
	} {
		synctest.Test(t, func(t *testing.T) {
			log := slowChain(t)
			p := overDNS
			if name == "dns-persist-01" {
				p = persistent(false)
				at, _, _ := p.TXTRecord()
				log.dns.Nameserver("192.0.2.1").Add(at, "CNAME", solvertest.ChallengeName)
			}
			begun := time.Now()
			err := s(log.client(), newZones(log.dns, "example.com")).Present(t.Context(), p)
			if took := time.Since(begun); err == nil || took > 2*time.Minute || !strings.Contains(err.Error(), "too few answers within 1m0s") {
				t.Errorf("%s: %v after %v", name, err, took)
			}
		})
	}
}
