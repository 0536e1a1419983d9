package solver_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"slices"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/storage"
)

// A zoneFile is a DNS service: it has the records of one zone in memory.
type zoneFile struct{ lines []string }

func (z *zoneFile) AppendRecord(_ context.Context, r solver.Record) error {
	line := fmt.Sprintf("%s. %d TXT %q", r.Name, r.TTL/time.Second, r.Value)
	if !slices.Contains(z.lines, line) {
		z.lines = append(z.lines, line)
	}
	return nil
}

func (z *zoneFile) DeleteRecord(_ context.Context, r solver.Record) error {
	line := fmt.Sprintf("%s. %d TXT %q", r.Name, r.TTL/time.Second, r.Value)
	z.lines = slices.DeleteFunc(z.lines, func(other string) bool { return other == line })
	return nil
}

// DNS01 with a Provider of one's own. The zone is set and the look for the record left out, as there is no
// DNS to ask here.
func ExampleDNS01() {
	zone := new(zoneFile)
	dns01 := &solver.DNS01{
		Provider:    zone,
		Storage:     new(storage.Memory),
		Zone:        "example.com",
		Propagation: solver.Propagation{Off: true},
	}
	proof := exampleProof(acme.TypeDNS01)
	ctx := context.Background()
	if err := dns01.Present(ctx, proof); err != nil {
		log.Fatal(err)
	}
	fmt.Println(zone.lines)
	if err := dns01.CleanUp(ctx, proof); err != nil {
		log.Fatal(err)
	}
	fmt.Println(zone.lines)
	// Output:
	// [_acme-challenge.example.com. 60 TXT "04FEUjFOxaHp6zvUgC1OFsYs6Dqec8CtURUEUAF0QQo"]
	// []
}

// Wildcards for customers, each of whom has set one CNAME, as for customer.example
//
//	_acme-challenge.customer.example.  CNAME  customer.example.acme.example.net.
//
// The zone acme.example.net is delegated to both machines that run this, with a storage in common.
func ExampleResponder() {
	store := storage.Dir("/shared/certificates")
	responder := &solver.Responder{
		Zones:       []string{"acme.example.net"},
		Nameservers: []string{"ns1.example.net", "ns2.example.net"},
		Storage:     store,
	}
	dns01 := &solver.DNS01{
		Provider:    responder,
		FollowCNAME: true,
		Propagation: solver.Propagation{Quorum: 1},
		Storage:     store,
	}
	fmt.Println(dns01.Ready())
	// go responder.Run(ctx), and give dns01 to what obtains certificates.

	err := responder.AppendRecord(context.Background(), solver.Record{Name: "_acme-challenge.other.example", Value: "a value"})
	fmt.Println(err)
	// Output:
	// <nil>
	// solver: Responder: "_acme-challenge.other.example" is in none of its Zones, which are ["acme.example.net"]: have it lead into one by the record "_acme-challenge.other.example" CNAME "other.example.acme.example.net", with FollowCNAME set, or delegate it by NS records and add it to Zones
}

// What an issuance by DNSPersist01 fails with tells what to set. It may be shown in any form.
func ExampleStandingRecordError() {
	var err error = fmt.Errorf("no certificate: %w", &solver.StandingRecordError{
		Record: solver.Record{
			Name:  "_validation-persist.example.com",
			Value: "ca.example; accounturi=https://ca.example/account/1",
			TTL:   time.Hour,
		},
		Err: errors.New("no server has it"),
	})
	if missing, ok := errors.AsType[*solver.StandingRecordError](err); ok {
		r := missing.Record
		fmt.Printf("%s. %d TXT %q\n", r.Name, r.TTL/time.Second, r.Value)
	}
	// Output:
	// _validation-persist.example.com. 3600 TXT "ca.example; accounturi=https://ca.example/account/1"
}

// dnsProvider stands for one of github.com/go-acme/lego/v5/providers/dns.
type dnsProvider struct{}

func (dnsProvider) Present(_ context.Context, domain, _, _ string) error {
	fmt.Println("present", domain)
	return nil
}

func (dnsProvider) CleanUp(_ context.Context, domain, _, _ string) error {
	fmt.Println("clean up", domain)
	return nil
}

// A provider of lego as it is, such as the one that cloudflare.NewDNSProviderConfig returns.
func ExampleLegoV5() {
	lego := solver.LegoV5(dnsProvider{})
	lego.Propagation.Delay = 5 * time.Second // in addition to what is seen

	proof := exampleProof(acme.TypeDNS01)
	if err := lego.Present(context.Background(), proof); err != nil {
		log.Fatal(err)
	}
	if err := lego.CleanUp(context.Background(), proof); err != nil {
		log.Fatal(err)
	}
	// Output:
	// present example.com
	// clean up example.com
}
