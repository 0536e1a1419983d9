package challenge

import (
	"strings"
	"testing"

	"github.com/everseal/everseal/acme"
)

func TestServerNames(t *testing.T) {
	for _, test := range []struct{ identifierType, value, name string }{
		{acme.TypeDNS, "example.com", "example.com"},
		{acme.TypeDNS, "localhost", "localhost"},
		{acme.TypeDNS, "xn--bcher-kva.example", "xn--bcher-kva.example"},
		{acme.TypeIP, "192.0.2.1", "1.2.0.192.in-addr.arpa"},
		{acme.TypeIP, "0.0.0.0", "0.0.0.0.in-addr.arpa"},
		{acme.TypeIP, "255.254.253.252", "252.253.254.255.in-addr.arpa"},
		{acme.TypeIP, "::", strings.Repeat("0.", 32) + "ip6.arpa"},
		// The example of RFC 3596 §2.5.
		{acme.TypeIP, "4321:0:1:2:3:4:567:89ab", "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.0.0.0.0.1.2.3.4.ip6.arpa"},
	} {
		id := acme.Identifier{Type: test.identifierType, Value: test.value}
		if got := ServerName(id); got != test.name {
			t.Errorf("ServerName(%q) = %q, want %q", id, got, test.name)
		}
		for _, name := range []string{test.name, strings.ToUpper(test.name)} {
			if got, ok := ParseServerName(name); !ok || got != id {
				t.Errorf("ParseServerName(%q) = %q, %t; want %q", name, got, ok, id)
			}
		}
	}
}
