package solver

import (
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// TXT returns the values of the TXT records at a name as the resolver has them.
func (d *TestDNS) TXT(t testing.TB, name string) []string {
	t.Helper()
	r, err := d.Client().resolve(t.Context(), name, dnsmessage.TypeTXT)
	if err != nil {
		t.Fatal(err)
	}
	return textValues(r, name)
}
