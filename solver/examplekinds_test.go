package solver_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver"
)

// DNSAccount01 has the fields of DNS01, and a name of the account's own for the record.
func ExampleDNSAccount01() {
	zone := new(zoneFile)
	dnsAccount01 := &solver.DNSAccount01{
		Provider:    zone,
		Zone:        "example.com",
		Propagation: solver.Propagation{Off: true}, // there is no DNS to ask here
	}
	proof := exampleProof(acme.TypeDNSAccount01)
	proof.AccountURL = "https://ca.example/account/1"
	if err := dnsAccount01.Present(context.Background(), proof); err != nil {
		log.Fatal(err)
	}
	fmt.Println(zone.lines)
	// Output:
	// [_pojxwzjfwxpygt3s._acme-challenge.example.com. 60 TXT "04FEUjFOxaHp6zvUgC1OFsYs6Dqec8CtURUEUAF0QQo"]
}

// DNSPersist01 with a Provider sets a record once. CleanUp leaves it there.
func ExampleDNSPersist01() {
	zone := new(zoneFile)
	dnsPersist01 := &solver.DNSPersist01{
		Provider:    zone,
		Zone:        "example.com",
		Propagation: solver.Propagation{Off: true}, // there is no DNS to ask here
	}
	proof := acme.Proof{
		Challenge: acme.Challenge{
			Type:       acme.TypeDNSPersist01,
			Issuers:    []string{"ca.example"},
			AccountURI: "https://ca.example/account/1",
		},
		Identifier: acme.Identifier{Type: acme.TypeDNS, Value: "example.com"},
		Wildcard:   true,
	}
	ctx := context.Background()
	if err := dnsPersist01.Present(ctx, proof); err != nil {
		log.Fatal(err)
	}
	if err := dnsPersist01.CleanUp(ctx, proof); err != nil {
		log.Fatal(err)
	}
	fmt.Println(zone.lines)
	// Output:
	// [_validation-persist.example.com. 3600 TXT "ca.example; accounturi=https://ca.example/account/1; policy=wildcard"]
}

// A Provider of one's own: a type with the two methods, here a zone in memory. A record is told from others of
// the same name by its value, and each call may be repeated.
func ExampleProvider() {
	var provider solver.Provider = new(zoneFile)
	ctx := context.Background()
	record := func(value string) solver.Record {
		return solver.Record{Zone: "example.com", Name: "_acme-challenge.example.com", Value: value, TTL: time.Minute}
	}
	for _, value := range []string{"one", "two", "two"} {
		if err := provider.AppendRecord(ctx, record(value)); err != nil {
			log.Fatal(err)
		}
	}
	if err := provider.DeleteRecord(ctx, record("one")); err != nil {
		log.Fatal(err)
	}
	fmt.Println(provider.(*zoneFile).lines)
	// Output:
	// [_acme-challenge.example.com. 60 TXT "two"]
}

// A service of one's own that is called to set records.
func ExampleWebhook() {
	service := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		user, _, _ := r.BasicAuth()
		body, _ := io.ReadAll(r.Body)
		fmt.Println(user, r.URL.Path, strings.TrimSpace(string(body)))
	}))
	defer service.Close()

	dns01 := &solver.DNS01{
		Provider: &solver.Webhook{
			URL:        service.URL + "/acme",
			Username:   "web",
			Password:   "secret",
			HTTPClient: service.Client(),
		},
		Zone:        "example.com",
		Propagation: solver.Propagation{Off: true}, // there is no DNS to ask here
	}
	proof := exampleProof(acme.TypeDNS01)
	ctx := context.Background()
	if err := dns01.Present(ctx, proof); err != nil {
		log.Fatal(err)
	}
	if err := dns01.CleanUp(ctx, proof); err != nil {
		log.Fatal(err)
	}
	// Output:
	// web /acme/present {"fqdn":"_acme-challenge.example.com.","value":"04FEUjFOxaHp6zvUgC1OFsYs6Dqec8CtURUEUAF0QQo"}
	// web /acme/cleanup {"fqdn":"_acme-challenge.example.com.","value":"04FEUjFOxaHp6zvUgC1OFsYs6Dqec8CtURUEUAF0QQo"}
}

// An oldProvider stands for one of github.com/go-acme/lego/v4/providers/dns.
type oldProvider struct{}

func (oldProvider) Present(domain, _, _ string) error {
	fmt.Println("present", domain)
	return nil
}

func (oldProvider) CleanUp(domain, _, _ string) error {
	fmt.Println("clean up", domain)
	return nil
}

// A provider of lego's version 4, which takes no context.
func ExampleLegoV4() {
	lego := solver.LegoV4(oldProvider{})
	if err := lego.Present(context.Background(), exampleProof(acme.TypeDNS01)); err != nil {
		log.Fatal(err)
	}
	// Output:
	// present example.com
}

// A network that lets DNS out to one resolver alone, and a zone whose servers take long to have a record.
func ExamplePropagation() {
	dns01 := &solver.DNS01{
		Provider: new(zoneFile),
		Zone:     "example.com",
		DNS:      &solver.DNS{Resolvers: []string{"192.0.2.53"}},
		Propagation: solver.Propagation{
			Recursive: true,
			Delay:     30 * time.Second,
			Timeout:   20 * time.Minute,
		},
	}
	fmt.Println(dns01.Supports(acme.Identifier{Type: acme.TypeDNS, Value: "www.example.com"}, false))
	// Output:
	// true
}

// In a split-horizon network, the resolvers of the Internet tell which servers a zone has, and a dialer gets there.
func ExampleDNS() {
	byTheGateway := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1)}}
	dns01 := &solver.DNS01{
		Provider: new(zoneFile),
		DNS: &solver.DNS{
			Resolvers: []string{"192.0.2.53", "[2001:db8::53]:5353"},
			Dial:      byTheGateway.DialContext,
		},
	}
	fmt.Println(dns01.Supports(acme.Identifier{Type: acme.TypeDNS, Value: "example.com"}, true))
	// Output:
	// true
}
