package solver_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/acme/acmetest"
	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/solver/internal/solvertest"
)

// A zoneProvider is a Provider that edits the zones of a solvertest.DNS.
type zoneProvider struct {
	dns   *solvertest.DNS
	zones map[string][]*solvertest.Nameserver

	mu      sync.Mutex // guards what follows
	records []solver.Record
	calls   []string
	fail    func(action string, r solver.Record) error // if set, called first
	spread  func(r solver.Record, set func())          // if set, sets an appended record when it likes
	ca      *acmetest.Server                           // if set, sees the records
	shown   []solver.Record                            // to the CA
	aliases map[string]string                          // names by where their CNAMEs lead, for the CA
}

var errProvider = errors.New("the provider's error")

// newZones returns a solvertest.DNS with zones, each held by two servers, and a provider for them.
func newZones(d *solvertest.DNS, zones ...string) *zoneProvider {
	p := &zoneProvider{dns: d, zones: make(map[string][]*solvertest.Nameserver), aliases: make(map[string]string)}
	for i, zone := range zones {
		p.zones[zone] = d.Zone(zone, fmt.Sprintf("192.0.2.%d", 2*i+1), fmt.Sprintf("192.0.2.%d", 2*i+2))
	}
	return p
}

// add adds a record to the servers of a zone, past the provider.
func (p *zoneProvider) add(zone, name, kind, value string) {
	for _, s := range p.zones[zone] {
		s.Add(name, kind, value)
	}
}

func (p *zoneProvider) remove(zone, name, kind, value string) {
	for _, s := range p.zones[zone] {
		s.Remove(name, kind, value)
	}
}

func (p *zoneProvider) AppendRecord(ctx context.Context, r solver.Record) error {
	return p.edit(ctx, "append", r)
}

func (p *zoneProvider) DeleteRecord(ctx context.Context, r solver.Record) error {
	return p.edit(ctx, "delete", r)
}

func (p *zoneProvider) edit(ctx context.Context, action string, r solver.Record) error {
	there, err := p.note(ctx, action, r)
	switch {
	case err != nil:
		return err
	case action == "append" && !there:
		set := func() {
			p.add(r.Zone, r.Name, "TXT", r.Value)
			p.show(r, true)
		}
		if p.spread != nil {
			p.spread(r, set)
		} else {
			set()
		}
	case action == "delete" && there:
		p.remove(r.Zone, r.Name, "TXT", r.Value)
		p.show(r, false)
	}
	return nil
}

// note notes the call, and what the provider's records are after it.
func (p *zoneProvider) note(ctx context.Context, action string, r solver.Record) (there bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = append(p.calls, fmt.Sprintf("%s %s in %s", action, r.Name, r.Zone))
	if p.fail != nil {
		if err := p.fail(action, r); err != nil {
			return false, err
		}
	}
	if err := ctx.Err(); err != nil {
		return false, err
	}
	if p.zones[r.Zone] == nil {
		return false, fmt.Errorf("there is no zone %q", r.Zone)
	}
	there = slices.Contains(p.records, r)
	if action == "append" && !there {
		p.records = append(p.records, r)
	} else if action == "delete" {
		p.records = slices.DeleteFunc(p.records, func(other solver.Record) bool { return other == r })
	}
	return there, nil
}

// show has the CA see a record, or no longer see it, also at the name that leads to it.
func (p *zoneProvider) show(r solver.Record, is bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shown = slices.DeleteFunc(p.shown, func(other solver.Record) bool { return other == r })
	if is {
		p.shown = append(p.shown, r)
	}
	if p.ca == nil {
		return
	}
	var values []string
	for _, other := range p.shown {
		if other.Name == r.Name {
			values = append(values, other.Value)
		}
	}
	p.ca.SetTXT(r.Name, values...)
	if alias := p.aliases[r.Name]; alias != "" {
		p.ca.SetTXT(alias, values...)
	}
}

// failing sets how the provider fails from now on; nil: not at all.
func (p *zoneProvider) failing(fail func(action string, r solver.Record) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fail = fail
}

// failOn is a failure of one action.
func failOn(failing string) func(string, solver.Record) error {
	return func(action string, _ solver.Record) error {
		if action == failing {
			return errProvider
		}
		return nil
	}
}

// wantRecords checks which records the provider has set.
func (p *zoneProvider) wantRecords(t *testing.T, want ...solver.Record) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.records) != len(want) || slices.ContainsFunc(want, func(r solver.Record) bool { return !slices.Contains(p.records, r) }) {
		t.Errorf("the records are %+v, want %+v", p.records, want)
	}
}

// wantCalls checks what the provider was asked for, and forgets it.
func (p *zoneProvider) wantCalls(t *testing.T, want ...string) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if !slices.Equal(p.calls, want) {
		t.Errorf("the calls are %q, want %q", p.calls, want)
	}
	p.calls = nil
}

// txtOf returns the name and value of the record that answers the proof.
func txtOf(t *testing.T, p acme.Proof) (name, value string) {
	t.Helper()
	name, value, err := p.TXTRecord()
	if err != nil {
		t.Fatal(err)
	}
	return name, value
}

// wait calls the solver's Wait.
func wait(ctx context.Context, s acme.Solver, p acme.Proof) error {
	return s.(interface {
		Wait(context.Context, acme.Proof) error
	}).Wait(ctx, p)
}

// dnsOf returns a DNS that asks d.
func dnsOf(d *solvertest.DNS) *solver.DNS { return dnsBy(d.Dial) }

// dnsBy returns a DNS that asks by dial.
func dnsBy(dial func(ctx context.Context, network, address string) (net.Conn, error)) *solver.DNS {
	return &solver.DNS{Resolvers: []string{solvertest.ResolverAddr}, Dial: dial}
}
