package dnsserver

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestNewZones(t *testing.T) {
	address := []netip.Addr{netip.MustParseAddr("192.0.2.1")}
	for name, test := range map[string]struct {
		zones, nameservers []string
		addresses          map[string][]netip.Addr
		want               string // in the error
	}{
		"no zone":                {nil, []string{"ns.example"}, nil, "there are no Zones"},
		"no name server":         {[]string{"a.example"}, nil, nil, "there are no Nameservers"},
		"many name servers":      {[]string{"a.example"}, slices.Repeat([]string{"ns.example"}, maxNameservers+1), nil, "16 are possible"},
		"the root":               {[]string{"."}, []string{"ns.example"}, nil, "none of a zone"},
		"a registry":             {[]string{"com."}, []string{"ns.example"}, nil, "none of a zone"},
		"an empty label":         {[]string{"a..example"}, []string{"ns.example"}, nil, "none of a zone"},
		"a long zone":            {[]string{strings.Repeat("a.", 124) + "bcd"}, []string{"ns.example"}, nil, "is too long"},
		"a broken server":        {[]string{"a.example"}, []string{"ns..example"}, nil, "none of a server"},
		"the root as a server":   {[]string{"a.example"}, []string{"."}, nil, "none of a server"},
		"a server nowhere":       {[]string{"a.example"}, []string{"ns.A.example"}, nil, "add it to Addresses"},
		"a server elsewhere":     {[]string{"a.example"}, []string{"ns.example"}, map[string][]netip.Addr{"ns.example": address}, "within none of the Zones"},
		"no address":             {[]string{"a.example"}, []string{"ns.a.example"}, map[string][]netip.Addr{"ns.a.example": {{}}}, "has one that is none"},
		"an address of a link":   {[]string{"a.example"}, []string{"ns.a.example"}, map[string][]netip.Addr{"ns.a.example": {netip.MustParseAddr("fe80::1%eth0")}}, "has one that is none"},
		"many addresses":         {[]string{"a.example"}, []string{"ns.a.example"}, map[string][]netip.Addr{"ns.a.example": slices.Repeat(address, maxAddresses+1)}, "more than 16"},
		"a server elsewhere, ok": {[]string{"a.example"}, []string{"ns.example"}, nil, ""},
		"a server within, ok":    {[]string{"A.example."}, []string{"ns.a.example."}, map[string][]netip.Addr{"NS.a.example": address}, ""},
	} {
		_, err := NewZones(test.zones, test.nameservers, test.addresses)
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Of zones one within the other, the inner one is it.
func TestZonesAround(t *testing.T) {
	z, err := NewZones([]string{"example.net", "acme.example.net"}, []string{"ns.example"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"a.acme.example.net": "acme.example.net", "acme.example.net": "acme.example.net", "xacme.example.net": "example.net", "net": "", "": "", ".": "",
	} {
		if got := z.Around(name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}
