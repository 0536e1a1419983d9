package diagnose_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver/diagnose"
	"github.com/everseal/everseal/solver/internal/solvertest"
	"golang.org/x/net/dns/dnsmessage"
)

func TestDiagnoseAsksNoNameServerInside(t *testing.T) {
	for _, p := range []acme.Proof{overDNS, overHTTP, solvertest.NewProof(acme.TypeDNSAccount01, "example.com"), solvertest.Persistent(false)} {
		for _, failure := range []error{nil, refusal(acme.ErrDNS, "query timed out")} {
			synctest.Test(t, func(t *testing.T) {
				d := solvertest.NewMemoryDNS(t)
				log := &solvertest.DialLog{DNS: d}
				for _, s := range d.Zone("example.com", solvertest.Insiders()...) {
					s.Add("example.com", "A", "192.0.2.1")
				}
				web := func(context.Context, string, string) (net.Conn, error) { return nil, errUnroutable }
				diagnosis := diagnose.After(t.Context(), p, failure, diagnose.Vantage{DNS: dnsVia(log.Dial), Dial: web})
				requireBounded(t, diagnosis)
				if len(log.Inside()) > 0 {
					t.Errorf("%s: dialled %q", p.Type, log.Inside())
				}
				if (p.Type != acme.TypeHTTP01 || failure != nil) && diagnosis.Cause != diagnose.CausePrivateAddress {
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
		for _, s := range d.Zone("example.com", solvertest.Insiders()...) {
			s.Add("example.com", "A", "192.0.2.1")
		}
		web := func(context.Context, string, string) (net.Conn, error) { return nil, errUnroutable }
		for _, p := range []acme.Proof{overHTTP, overTLS} {
			diagnosis := diagnose.After(t.Context(), p, refusal(acme.ErrConnection, "connection refused"), diagnose.Vantage{DNS: dnsFor(d), Dial: web})
			if diagnosis.Cause != "" {
				t.Errorf("%s: %q, %s", p.Type, diagnosis.Cause, diagnosis)
			}
		}
	})
}

// Without a Dial, a check connects to nothing inside for a CA on the Internet.
func TestVisibleKeepsOut(t *testing.T) {
	for _, address := range []string{"127.0.0.1", "::1"} {
		for _, err := range []error{
			diagnose.Visible(t.Context(), solvertest.NewProof(acme.TypeHTTP01, address), diagnose.Vantage{}), diagnose.Visible(t.Context(), solvertest.NewProof(acme.TypeTLSALPN01, address), diagnose.Vantage{}),
		} {
			solvertest.RequireError(t, err, address+" is a loopback address")
			if !errors.Is(err, diagnose.CausePrivateAddress) {
				t.Errorf("%v is not for its cause", err)
			}
		}
	}
	inside := solvertest.NewProof(acme.TypeHTTP01, "127.0.0.1")
	inside.DirectoryURL = "https://127.0.0.1:14000/dir"
	if err := diagnose.Visible(t.Context(), inside, diagnose.Vantage{}); err == nil || strings.Contains(err.Error(), "is a loopback address") {
		t.Errorf("for a CA on this machine: %v", err)
	}
}

// What is an address need not be looked up, so that Dial has no say in it.
func TestVisibleWithADialAsksNoAddressInside(t *testing.T) {
	dial := func(_ context.Context, _, address string) (net.Conn, error) {
		t.Errorf("dialled %s", address)
		return nil, errUnroutable
	}
	for _, challengeType := range []string{acme.TypeHTTP01, acme.TypeTLSALPN01} {
		err := diagnose.Visible(t.Context(), solvertest.NewProof(challengeType, "10.0.0.5"), diagnose.Vantage{Dial: dial})
		if !errors.Is(err, diagnose.CausePrivateAddress) {
			t.Errorf("%s: %v", challengeType, err)
		}
	}
}

// With a Dial, which finds out itself where names lead, a redirect to an address inside is not followed all the same.
func TestVisibleWithADialKeepsRedirectsOut(t *testing.T) {
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
		server := solvertest.ServeHTTP(t, redirect(target))
		from := diagnose.Vantage{Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			dialled = append(dialled, address)
			return solvertest.DialTo(server)(ctx, network, address)
		}}
		solvertest.RequireError(t, diagnose.Visible(t.Context(), overHTTP, from), want)
		if len(dialled) != 1 {
			t.Errorf("a redirect to %s: dialled %q", target, dialled)
		}
	}
}

func TestCostOfDiagnose(t *testing.T) {
	for _, failure := range []error{nil, refusal(acme.ErrDNS, "query timed out")} {
		for _, p := range []acme.Proof{overDNS, overHTTP} {
			synctest.Test(t, func(t *testing.T) {
				log := solvertest.HostileChain(t)
				web := func(context.Context, string, string) (net.Conn, error) { return nil, errUnroutable }
				begun := time.Now()
				diagnose.After(t.Context(), p, failure, diagnose.Vantage{DNS: dnsVia(log.Dial), Dial: web})
				if took := time.Since(begun); took > 30*time.Second {
					t.Errorf("it took %v", took)
				}
				log.WantCost(t, 430, 101)
			})
		}
	}
}

// While it is not known where the CA is, what leads inside is no cause.
func TestDiagnoseWhileTheCAIsNotFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := solvertest.NewMemoryDNS(t)
		d.Zone("corp.example", "192.0.2.7")[0].Add("ca.corp.example", "A", "10.1.1.1")
		d.Zone("example.com", "10.0.0.5")
		d.Resolver.Answer(func(_ string, query, reply *dnsmessage.Message) [][]byte {
			if query.Questions[0].Name.String() == "ca.corp.example." {
				reply.RCode, reply.Answers = dnsmessage.RCodeServerFailure, nil
			}
			return solvertest.Pack(reply)
		})
		log := &solvertest.DialLog{DNS: d}
		d.Nameserver("10.0.0.5").Add("example.com", "A", "10.0.0.6")
		web := func(_ context.Context, _, address string) (net.Conn, error) {
			t.Errorf("dialled %s", address)
			return nil, errUnroutable
		}
		atHost := overHTTP
		atHost.DirectoryURL = "https://ca.corp.example/dir"
		if diagnosis := diagnose.Before(t.Context(), atHost, diagnose.Vantage{DNS: dnsVia(log.Dial), Dial: web}); diagnosis.Cause != "" {
			t.Errorf("%q, %s", diagnosis.Cause, diagnosis)
		}
		if len(log.Inside()) > 0 {
			t.Errorf("dialled %q", log.Inside())
		}
	})
}
