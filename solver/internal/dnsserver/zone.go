package dnsserver

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/everseal/everseal/solver/internal/dnsclient"
)

// Zones are what a server has authority for.
type Zones struct {
	zones     []zone                  // the longest names first
	addresses map[string][]netip.Addr // of name servers within zones, by name
	above     map[string]bool         // names in zones that there are because of name servers below them
}

// A zone has what is at its top. The owner's name of a record is that of the question, so that its letters are as there.
type zone struct {
	name        string
	nameservers []dnsmessage.NSResource
	soa         dnsmessage.SOAResource
}

// Nobody transfers the zones, so that the figures of their SOA records mean nothing but for the last: what is not there may be
// there in a moment.
const (
	serial        = 1
	refreshPeriod = 3600
	retryPeriod   = 600
	expirePeriod  = 7 * 24 * 3600
	negativeTTL   = 0
)

const (
	maxNameservers = 16 // of the zones, as resolvers do not try more
	maxAddresses   = 16 // of a name server
)

// NewZones returns zones that all have these name servers. Of those within a zone, the addresses must be known.
func NewZones(names, nameservers []string, addresses map[string][]netip.Addr) (*Zones, error) {
	switch {
	case len(names) == 0:
		return nil, fmt.Errorf("there are no Zones: name those that the parent zone delegates to this server, such as %q", "_acme-challenge.example.com")
	case len(nameservers) == 0:
		return nil, fmt.Errorf("there are no Nameservers: name those that the NS records in the parent zone do, such as %q", "ns1.example.net")
	case len(nameservers) > maxNameservers:
		return nil, fmt.Errorf("there are %d Nameservers, %d are possible", len(nameservers), maxNameservers)
	}
	z := &Zones{addresses: make(map[string][]netip.Addr), above: make(map[string]bool)}
	var ns []dnsmessage.NSResource
	for _, name := range nameservers {
		full, err := dnsclient.QuestionName(dnsclient.BareName(name))
		if err != nil || dnsclient.BareName(name) == "." {
			return nil, fmt.Errorf("the name %.260q in Nameservers is none of a server", name)
		}
		ns = append(ns, dnsmessage.NSResource{NS: full})
	}
	for _, name := range names {
		bare := dnsclient.BareName(name)
		_, err := dnsclient.QuestionName(bare)
		if err != nil || !strings.Contains(strings.Trim(bare, "."), ".") {
			return nil, fmt.Errorf("the name %.260q in Zones is none of a zone that could be delegated", name)
		}
		mailbox, err := dnsmessage.NewName("hostmaster." + bare + ".")
		if err != nil {
			return nil, fmt.Errorf("the name %.260q in Zones is too long", name)
		}
		z.zones = append(z.zones, zone{bare, ns, dnsmessage.SOAResource{
			NS: ns[0].NS, MBox: mailbox, Serial: serial, Refresh: refreshPeriod, Retry: retryPeriod, Expire: expirePeriod, MinTTL: negativeTTL,
		}})
	}
	slices.SortStableFunc(z.zones, func(a, b zone) int { return len(b.name) - len(a.name) })
	if err := z.locate(addresses); err != nil {
		return nil, err
	}
	for _, name := range nameservers {
		if bare := dnsclient.BareName(name); z.Around(bare) != "" && z.addresses[bare] == nil {
			return nil, fmt.Errorf("the name server %.260q is within the zone %.260q, so that only this server can say where it is: add it to Addresses", bare, z.Around(bare))
		}
	}
	return z, nil
}

// locate takes the addresses of names within the zones; those of others are not this server's to tell.
func (z *Zones) locate(addresses map[string][]netip.Addr) error {
	for name, list := range addresses {
		bare := dnsclient.BareName(name)
		around := z.Around(bare)
		if around == "" {
			return fmt.Errorf("the name %.260q in Addresses is within none of the Zones: its addresses belong in the zone that it is in", name)
		}
		if len(list) > maxAddresses || slices.ContainsFunc(list, func(a netip.Addr) bool { return !a.IsValid() || a.Zone() != "" }) {
			return fmt.Errorf("the name %.260q in Addresses has one that is none, or more than %d", name, maxAddresses)
		}
		for _, address := range list {
			z.addresses[bare] = append(z.addresses[bare], address.Unmap())
		}
		for above := bare; above != around; {
			_, above, _ = strings.Cut(above, ".")
			z.above[above] = true
		}
	}
	return nil
}

// Around returns the name of the closest zone that a bare name is in, or "".
func (z *Zones) Around(name string) string {
	if found := z.find(name); found != nil {
		return found.name
	}
	return ""
}

// hasServerAt reports whether a name server is at a name or below it.
func (z *Zones) hasServerAt(name string) bool { return z.above[name] || len(z.addresses[name]) > 0 }

func (z *Zones) find(name string) *zone {
	for i := range z.zones {
		if dnsclient.IsWithin(name, z.zones[i].name) {
			return &z.zones[i]
		}
	}
	return nil
}
