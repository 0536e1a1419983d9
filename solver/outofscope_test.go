package solver_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/solver/internal/solvertest"
	"golang.org/x/net/dns/dnsmessage"
)

// A zone may name servers anywhere. Those inside are not asked for a CA on the Internet, which passes over them too.
func TestWaitAsksNoNameServerInside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := solvertest.LeadInside(solvertest.NewMemoryDNS(t))
		s := &solver.DNS01{DNS: dnsBy(log.Dial)}
		begun := time.Now()
		if err := s.Wait(t.Context(), solvertest.NewProof(acme.TypeDNS01, "example.com")); err != nil || len(log.Inside()) > 0 {
			t.Errorf("%v, having dialled %q", err, log.Inside())
		}
		if took := time.Since(begun); took > 0 {
			t.Errorf("those that are not asked were waited for %v", took)
		}
	})
}

func TestWaitForAZoneInside(t *testing.T) {
	for _, address := range solvertest.Insiders() {
		synctest.Test(t, func(t *testing.T) {
			d := solvertest.NewMemoryDNS(t)
			d.Zone("example.com", address)[0].Add(solvertest.ChallengeName, "TXT", solvertest.ValueOf(solvertest.NewProof(acme.TypeDNS01, "example.com")))
			log := &solvertest.DialLog{DNS: d}
			s := &solver.DNS01{DNS: dnsBy(log.Dial)}
			begun := time.Now()
			err := s.Wait(t.Context(), solvertest.NewProof(acme.TypeDNS01, "example.com"))
			if took := time.Since(begun); took > time.Minute {
				t.Errorf("it was waited for %v", took)
			}
			failure, ok := errors.AsType[*solver.PropagationError](err)
			if !ok || len(log.Inside()) > 0 || !strings.Contains(failure.Servers[0].Said, "which no CA on the Internet reaches") || !strings.Contains(err.Error(), "set DNS.Private") {
				t.Errorf("%v, having dialled %q", err, log.Inside())
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
			d.Zone("example.com", "10.0.0.5")[0].Add(solvertest.ChallengeName, "TXT", solvertest.ValueOf(solvertest.NewProof(acme.TypeDNS01, "example.com")))
			p := solvertest.NewProof(acme.TypeDNS01, "example.com")
			p.DirectoryURL = directory
			log := &solvertest.DialLog{DNS: d}
			s := &solver.DNS01{DNS: dnsBy(log.Dial)}
			if err := s.Wait(t.Context(), p); err != nil || len(log.Inside()) == 0 {
				t.Errorf("%s: %v, having dialled %q", directory, err, log.Inside())
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
			d.Zone("example.com", "192.0.2.1")[0].Add(solvertest.ChallengeName, "TXT", solvertest.ValueOf(solvertest.NewProof(acme.TypeDNS01, "example.com")))
			dial := func(ctx context.Context, network, address string) (net.Conn, error) {
				if strings.Contains(address, strings.Trim(strings.TrimSuffix(resolver, ":53"), "[]")) {
					address = net.JoinHostPort(solvertest.ResolverAddr, "53")
				}
				return d.Dial(ctx, network, address)
			}
			s := &solver.DNS01{DNS: &solver.DNS{Resolvers: []string{resolver}, Dial: dial}}
			if err := s.Wait(t.Context(), solvertest.NewProof(acme.TypeDNS01, "example.com")); err != nil {
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
		d.Zone("example.com", "10.0.0.5")[0].Add(solvertest.ChallengeName, "TXT", solvertest.ValueOf(solvertest.NewProof(acme.TypeDNS01, "example.com")))
		var answering atomic.Bool
		d.Resolver.Answer(func(_ string, query, reply *dnsmessage.Message) [][]byte {
			if !answering.Load() && query.Questions[0].Name.String() == "ca.corp.example." {
				reply.RCode, reply.Answers = dnsmessage.RCodeServerFailure, nil
			}
			return solvertest.Pack(reply)
		})
		p := solvertest.NewProof(acme.TypeDNS01, "example.com")
		p.DirectoryURL = "https://ca.corp.example/dir"
		log := &solvertest.DialLog{DNS: d}
		s := &solver.DNS01{DNS: dnsBy(log.Dial), Propagation: solver.Propagation{Timeout: time.Minute}}
		err := s.Wait(t.Context(), p)
		solvertest.RequireError(t, err, "10.0.0.5 is a private address: whether the CA is on a private network too is not known: ")
		if len(log.Inside()) > 0 {
			t.Errorf("dialled %q", log.Inside())
		}
		time.AfterFunc(10*time.Second, func() { answering.Store(true) })
		if err := s.Wait(t.Context(), p); err != nil || len(log.Inside()) == 0 {
			t.Errorf("when the CA is found again: %v, having dialled %q", err, log.Inside())
		}
	})
}

// Translators of a network lead to any CA: that its address is one of theirs tells nothing of where it is.
func TestWaitOfACABehindATranslator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := solvertest.NewMemoryDNS(t)
		d.Zone("ca.example", "192.0.2.7")[0].Add("ca.example", "AAAA", "64:ff9b:1::c000:207")
		d.Zone("example.com", "10.0.0.5")
		p := solvertest.NewProof(acme.TypeDNS01, "example.com")
		p.DirectoryURL = "https://ca.example/dir"
		log := &solvertest.DialLog{DNS: d}
		s := &solver.DNS01{DNS: dnsBy(log.Dial)}
		solvertest.RequireError(t, s.Wait(t.Context(), p), "set DNS.Private")
		if len(log.Inside()) > 0 {
			t.Errorf("dialled %q", log.Inside())
		}
	})
}

// Also the zones that CNAMEs lead through may name servers anywhere.
func TestPresentAsksNoNameServerInside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := solvertest.NewMemoryDNS(t)
		d.Zone("example.net", solvertest.Insiders()...)
		d.Zone("example.com", solvertest.Insiders()...)[0].Add(solvertest.ChallengeName, "CNAME", "abc.example.net")
		log := &solvertest.DialLog{DNS: d}
		s := &solver.DNS01{DNS: dnsBy(log.Dial), Provider: newZones(d, "example.com"), FollowCNAME: true}
		s.Present(t.Context(), solvertest.NewProof(acme.TypeDNS01, "example.com"))
		if len(log.Inside()) > 0 {
			t.Errorf("dialled %q", log.Inside())
		}
	})
}

func TestCostOfWait(t *testing.T) {
	for _, follow := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			log := solvertest.HostileChain(t)
			begun := time.Now()
			s := &solver.DNS01{DNS: dnsBy(log.Dial), FollowCNAME: follow}
			if err := s.Wait(t.Context(), solvertest.NewProof(acme.TypeDNS01, "example.com")); err == nil {
				t.Error("no error")
			}
			if took := time.Since(begun); took > 5*time.Minute {
				t.Errorf("it took %v, advice included", took)
			}
			log.WantCost(t, 3000, 101)
		})
	}
}

func TestCostOfPresent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := solvertest.HostileChain(t)
		s := &solver.DNS01{DNS: dnsBy(log.Dial), Provider: newZones(log.DNS, "example.com"), FollowCNAME: true}
		s.Present(t.Context(), solvertest.NewProof(acme.TypeDNS01, "example.com"))
		log.WantCost(t, 600, 101)
	})
}

// slowChain has the challenge lead along CNAMEs to names of many labels, of which the resolver knows no zone.
func slowChain(t *testing.T) *solvertest.DialLog {
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
	return &solvertest.DialLog{DNS: d}
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
			p := solvertest.NewProof(acme.TypeDNS01, "example.com")
			if name == "dns-persist-01" {
				p = solvertest.Persistent(false)
				at, _, _ := p.TXTRecord()
				log.DNS.Nameserver("192.0.2.1").Add(at, "CNAME", solvertest.ChallengeName)
			}
			begun := time.Now()
			err := s(dnsBy(log.Dial), newZones(log.DNS, "example.com")).Present(t.Context(), p)
			if took := time.Since(begun); err == nil || took > 2*time.Minute || !strings.Contains(err.Error(), "too few answers within 1m0s") {
				t.Errorf("%s: %v after %v", name, err, took)
			}
		})
	}
}
