package solver_test

import (
	"bytes"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/solver/internal/solvertest"
)

// tellingSolvers are the solvers that wait for a record at both name servers of example.com, by a logger.
func tellingSolvers(p *zoneProvider, logger *slog.Logger) []acme.Solver {
	dns, provider := dnsOf(p.dns), &legoProvider{zones: p}
	lego := solver.LegoV5(provider)
	lego.DNS = dns
	dns01 := &solver.DNS01{Provider: p, DNS: dns}
	return []acme.Solver{
		dns01.WithLogger(logger), (*solver.DNSAccount01)(dns01).WithLogger(logger),
		(&solver.DNSPersist01{Provider: p, DNS: dns}).WithLogger(logger), lego.WithLogger(logger),
	}
}

// A wait that takes long is told once, with a server that lacks the record and what it said.
func TestLongWaitIsTold(t *testing.T) {
	for i := range 4 {
		synctest.Test(t, func(t *testing.T) {
			var log bytes.Buffer
			p := newZones(solvertest.NewMemoryDNS(t), "example.com")
			s := tellingSolvers(p, slog.New(slog.NewTextHandler(&log, nil)))[i]
			proof := solvertest.NewProof(s.Type(), "example.com")
			if s.Type() == acme.TypeDNSPersist01 {
				proof = solvertest.Persistent(false)
			}
			name, value := txtOf(t, proof)
			missing := p.zones["example.com"][1]
			missing.Add(name, "TXT", "old\n\x1b[31m"+strings.Repeat("x", 200))
			p.spread = func(_ solver.Record, set func()) {
				p.zones["example.com"][0].Add(name, "TXT", value)
				time.AfterFunc(3*time.Minute, set)
			}
			solvertest.Present(t, s, proof)
			told := "time=" + time.Now().Add(10*time.Second).Format("2006-01-02T15:04:05.000Z07:00")
			if err := wait(t.Context(), s, proof); err != nil {
				t.Fatal(err)
			}
			text := log.String()
			for _, want := range []string{told, "level=INFO", "has not spread yet", "name=" + name, `server="ns2.example.com (192.0.2.2:53)"`, `old\\n\\x1b[31mxxx`, "timeout=5m0s"} {
				if !strings.Contains(text, want) {
					t.Errorf("%s: %q is not in the log: %s", s.Type(), want, text)
				}
			}
			if strings.Count(text, "\n") != 1 || len(text) > 600 {
				t.Errorf("%s: logged is %s", s.Type(), text)
			}
		})
	}
}

// If no server is known, the wait says why.
func TestWaitWithoutServersIsTold(t *testing.T) {
	inZones(t, []string{"example.com"}, func(t *testing.T, d *solver.DNS01, p *zoneProvider) {
		var log bytes.Buffer
		d.Logger, d.Propagation.Timeout = slog.New(slog.NewTextHandler(&log, nil)), time.Minute
		proof := solvertest.NewProof(acme.TypeDNS01, "example.com")
		solvertest.Present(t, d, proof)
		p.dns.Resolver.Answer(solvertest.Failing(dnsmessage.RCodeServerFailure))
		if err := d.Wait(t.Context(), proof); err == nil {
			t.Error("the record is seen")
		}
		if text := log.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, `server=""`) || !strings.Contains(text, "SERVFAIL") {
			t.Errorf("logged is %s", text)
		}
	})
}

// Who has a logger keeps it, and what is given another is not changed.
func TestWithLogger(t *testing.T) {
	p := newZones(solvertest.NewMemoryDNS(t), "example.com")
	own, other := slog.New(slog.DiscardHandler), slog.New(slog.DiscardHandler)
	loggerOf := func(s acme.Solver) *slog.Logger {
		return reflect.ValueOf(s).Elem().FieldByName("Logger").Interface().(*slog.Logger)
	}
	for _, s := range tellingSolvers(p, own) {
		if loggerOf(s) != own {
			t.Errorf("%T has not the logger given", s)
		}
		if with := s.(interface {
			WithLogger(*slog.Logger) acme.Solver
		}).WithLogger(other); loggerOf(with) != own {
			t.Errorf("%T: a logger that is set is replaced", s)
		}
	}
	without := []acme.Solver{new(solver.DNS01), new(solver.DNSAccount01), new(solver.DNSPersist01), new(solver.Lego)}
	for _, s := range without {
		_ = s.(interface {
			WithLogger(*slog.Logger) acme.Solver
		}).WithLogger(own)
		if loggerOf(s) != nil {
			t.Errorf("%T that was given is changed", s)
		}
	}
}

const (
	twiceName      = "_acme-challenge.example.com.example.com"
	twiceReason    = "the TXT record is at " + twiceName + ", with the name of the zone twice, and not at " + solvertest.ChallengeName
	twiceCure      = "give the name to the zone's provider without the zone, as _acme-challenge, or with a final dot"
	inQuotesReason = "the TXT record " + solvertest.ChallengeName + " has the value with quotes or blanks around it, which are part of it"
	inQuotesCure   = "give the value to the zone's provider without quotes and blanks"
)

// A wait that ends without the record says so where it nearly is.
func TestWaitSaysWhereTheRecordIs(t *testing.T) {
	for name, test := range map[string]struct {
		setUp func(p *zoneProvider, value string)
		want  string
	}{
		"a name with the zone twice": {func(p *zoneProvider, value string) {
			p.add("example.com", twiceName, "TXT", value)
		}, ". But " + twiceReason + ": " + twiceCure},
		"a value in quotes": {func(p *zoneProvider, value string) {
			p.add("example.com", solvertest.ChallengeName, "TXT", `"`+value+`"`)
		}, ". But " + inQuotesReason + ": " + inQuotesCure},
		"neither": {func(p *zoneProvider, _ string) {
			p.add("example.com", solvertest.ChallengeName, "TXT", "other")
		}, ". See whether the record was written to the zone that the domain is delegated to"},
	} {
		t.Run(name, func(t *testing.T) {
			inZones(t, []string{"example.com"}, func(t *testing.T, d *solver.DNS01, p *zoneProvider) {
				p.spread = func(solver.Record, func()) {}
				proof := solvertest.NewProof(acme.TypeDNS01, "example.com")
				_, value := txtOf(t, proof)
				solvertest.Present(t, d, proof)
				test.setUp(p, value)
				d.Propagation.Timeout = time.Minute
				if err := d.Wait(t.Context(), proof); err == nil || !strings.HasSuffix(err.Error(), test.want) {
					t.Errorf("the error is %v, want one that ends with %s", err, test.want)
				}
			})
		})
	}
}
