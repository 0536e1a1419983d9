package peers

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/storage"
)

// A zoneMember is a process of a fleet that answers for zones of challenges.
type zoneMember struct {
	Addr        string
	Resolver    string // that is asked
	Zones       []string
	Nameservers []string
}

func (m zoneMember) responder(s storage.Store) *solver.Responder {
	return &solver.Responder{Zones: m.Zones, Nameservers: m.Nameservers, Addr: m.Addr, Storage: s}
}

func (m zoneMember) solver(r *solver.Responder) *solver.DNS01 {
	return &solver.DNS01{Provider: r, DNS: &solver.DNS{Resolvers: []string{m.Resolver}}, FollowCNAME: true}
}

// A validationFleet is three members, BIND with the parent zone, which delegates to them, and Unbound, which finds them from
// the root on.
type validationFleet struct {
	members  []zoneMember
	resolver string
	ca       *pebble
}

const members = 3

// startValidationFleet starts all but the members. The challenges for example.test, and a zone for customers, are theirs.
func startValidationFleet(t *testing.T) *validationFleet {
	t.Helper()
	there := newNeighbourhood(t)
	records := []string{
		"_acme-challenge.customer CNAME customer.example.test.acme",
		"_acme-challenge.deep CNAME far",
		"far CNAME a.b.c.acme",
	}
	f := new(validationFleet)
	var nameservers []string
	for i := range members {
		name := fmt.Sprintf("member%d", i+1)
		records = append(records, "_acme-challenge NS "+name, "acme NS "+name, name+" A "+there.host(10+i))
		nameservers = append(nameservers, name+"."+mainZone)
	}
	there.lead(t, 1, startBINDAs(t, there.host(1), records...))
	f.resolver = startUnbound(t, there.host(1))
	f.ca = startPebble(t, pebbleSettings{nameServer: f.resolver})
	for i := range members {
		f.members = append(f.members, zoneMember{there.port53(10 + i), f.resolver, []string{"_acme-challenge." + mainZone, "acme." + mainZone}, nameservers})
	}
	return f
}

// run has a member answer in this process until the test ends.
func (m zoneMember) run(t *testing.T, r *solver.Responder) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	for ctx := within(t); ; {
		_, err := dns.ExchangeContext(ctx, new(dns.Msg).SetQuestion(dns.Fqdn(m.Zones[0]), dns.TypeSOA), m.Addr)
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
}

// A CA finds what a Responder answers by the NS records of the parent zone, and by CNAMEs into it: for a name and its wildcard
// in one order, for names of customers, and through empty non-terminals.
func TestResponderDelegated(t *testing.T) {
	f := startValidationFleet(t)
	store := new(storage.Memory)
	var last *solver.Responder
	for _, m := range f.members {
		last = m.responder(store)
		m.run(t, last)
	}
	for _, names := range [][]string{
		{"example.test", "*.example.test"},
		{"customer.example.test", "*.customer.example.test", "*.deep.example.test"},
	} {
		s := f.members[0].solver(last)
		s.Storage = store
		if err := order(t, f.ca, newAccount(t, f.ca), s, names...); err != nil {
			t.Fatal(err)
		}
	}
	f.ca.wants(t, 2, 2)
	forgetsRecords(t, store)

	// Where nothing leads into the zones, the error says what to set.
	err := order(t, f.ca, newAccount(t, f.ca), f.members[0].solver(last), "*.www.example.test")
	const want = `"_acme-challenge.www.example.test" CNAME "www.example.test._acme-challenge.example.test"`
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("the error does not say %s: %v", want, err)
	}
}

// Of three processes with a manager each one obtains, for which all three must answer. When one is killed, the others answer
// for what any process on the storage presents.
func TestResponderFleet(t *testing.T) {
	f := startValidationFleet(t)
	folder := t.TempDir()
	const name = "*.example.test"
	var processes []*child
	for _, m := range f.members {
		processes = append(processes, startChild(t, f.ca, childConfig{
			Directory: f.ca.directory, Trust: f.ca.front.Certificate().Raw, Storage: folder, Name: name, Responder: &m,
		}))
	}
	var serials []string
	for _, process := range processes {
		serials = append(serials, process.says(t, "serial"))
	}
	if len(slices.Compact(serials)) != 1 {
		t.Errorf("the members serve %q", serials)
	}
	f.ca.wants(t, 1, 1)
	forgetsRecords(t, storage.Dir(folder))

	processes[1].kill(t)
	// This process answers nobody itself.
	s := f.members[0].solver(f.members[0].responder(storage.Dir(folder)))
	s.Storage, s.Propagation.Quorum = storage.Dir(folder), 1
	if err := order(t, f.ca, newAccount(t, f.ca), s, "customer.example.test", "*.customer.example.test", name); err != nil {
		t.Fatal(err)
	}
	f.ca.wants(t, 2, 2)
	processes[0].kill(t)
	processes[2].kill(t)
}

// A manager has a wildcard by a Responder with its checks on, and has nothing to warn of.
func TestManagedResponder(t *testing.T) {
	f := startValidationFleet(t)
	store := new(storage.Memory)
	responder := f.members[0].responder(store)
	for _, m := range f.members[1:] {
		m.run(t, m.responder(store))
	}
	f.members[0].run(t, responder)
	const name = "*.example.test"
	s := startServer(t, f.ca, certmanager.Config{
		Names:   []string{name},
		Storage: store,
		Solvers: []acme.Solver{f.members[0].solver(responder)},
	})
	s.events.wait(t, certmanager.EventObtained, name)
	if warnings, _ := s.events.of(certmanager.EventWarning, name); len(warnings) != 0 {
		t.Errorf("warned: %v", warnings)
	}
	s.stop()
	forgetsRecords(t, store)
}

// What the documentation has users look at with dig is what dig shows.
func TestResponderDig(t *testing.T) {
	dig := lookUp(t, "dig")
	f := startValidationFleet(t)
	store := new(storage.Memory)
	m, r := f.members[0], f.members[0].responder(store)
	m.run(t, r)
	for _, other := range f.members[1:] {
		other.run(t, other.responder(store))
	}
	record := solver.Record{Name: "_acme-challenge.example.test", Value: "LHDhK3oGRvkiefQnx7OOczTY5Tic_xZ6HcMOc_gmtoM"}
	if err := r.AppendRecord(t.Context(), record); err != nil {
		t.Fatal(err)
	}
	member, _, _ := net.SplitHostPort(m.Addr)
	resolver, port, _ := net.SplitHostPort(f.resolver)
	for _, test := range []struct {
		arguments string
		want      []string // in what it prints
	}{
		{"@" + member + " _acme-challenge.example.test SOA", []string{"status: NOERROR", " aa", "hostmaster._acme-challenge.example.test."}},
		{"@" + member + " _acme-challenge.example.test TXT", []string{"status: NOERROR", `"` + record.Value + `"`, "EDNS: version: 0", "udp: 1232"}},
		{"@" + member + " +tcp _acme-challenge.example.test TXT", []string{"status: NOERROR", `"` + record.Value + `"`}},
		{"@" + member + " nothing.acme.example.test TXT", []string{"status: NXDOMAIN"}},
		{"@" + member + " www.example.test A", []string{"status: REFUSED"}},
		{"@" + member + " acme.example.test ANY +notcp", []string{"HINFO"}},
		{"@" + member + " acme.example.test AXFR", []string{"Transfer failed"}},
		{"@" + member + " +edns=7 +noednsneg acme.example.test SOA", []string{"status: BADVERS"}},
		{"@" + member + " acme.example.test IN NS", []string{"member3.example.test."}},
		{"@" + resolver + " -p " + port + " _acme-challenge.example.test NS", []string{"status: NOERROR", "member1.example.test."}},
		{"@" + resolver + " -p " + port + " _acme-challenge.example.test TXT", []string{"status: NOERROR", `"` + record.Value + `"`}},
		{"@" + resolver + " -p " + port + " _acme-challenge.customer.example.test TXT", []string{"customer.example.test.acme.example.test.", "status: NXDOMAIN"}},
	} {
		output, err := exec.CommandContext(within(t), dig, strings.Fields(test.arguments)...).CombinedOutput()
		for _, want := range test.want {
			if !strings.Contains(string(output), want) {
				t.Errorf("dig %s does not print %q (%v):\n%s", test.arguments, want, err, output)
			}
		}
	}
}
