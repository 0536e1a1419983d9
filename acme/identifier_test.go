package acme_test

import (
	"strings"
	"testing"

	"github.com/everseal/everseal/acme"
)

func longName(length int) string {
	name := strings.Repeat(strings.Repeat("a", 49)+".", length/50+1)[:length]
	return strings.TrimSuffix(name, ".") + strings.Repeat("a", length-len(strings.TrimSuffix(name, ".")))
}

func TestParseIdentifier(t *testing.T) {
	for _, test := range []struct{ in, kind, want string }{
		{"example.com", acme.TypeDNS, "example.com"},
		{"EXAMPLE.Com", acme.TypeDNS, "example.com"},
		{"example.com.", acme.TypeDNS, "example.com"},
		{"*.example.com", acme.TypeDNS, "*.example.com"},
		{"*.Example.COM.", acme.TypeDNS, "*.example.com"},
		{"localhost", acme.TypeDNS, "localhost"},
		{"a-b.1.example", acme.TypeDNS, "a-b.1.example"},
		{"4.example", acme.TypeDNS, "4.example"},
		{"bücher.example", acme.TypeDNS, "xn--bcher-kva.example"},
		{"BÜCHER.example", acme.TypeDNS, "xn--bcher-kva.example"},
		{"XN--BCHER-KVA.example", acme.TypeDNS, "xn--bcher-kva.example"},
		{"*.bücher.example", acme.TypeDNS, "*.xn--bcher-kva.example"},
		{"例え。テスト", acme.TypeDNS, "xn--r8jz45g.xn--zckzah"},
		{strings.Repeat("a", 63) + ".example", acme.TypeDNS, strings.Repeat("a", 63) + ".example"},
		{longName(253), acme.TypeDNS, longName(253)},
		{longName(253) + ".", acme.TypeDNS, longName(253)},
		{"*." + longName(251), acme.TypeDNS, "*." + longName(251)},
		{"192.0.2.1", acme.TypeIP, "192.0.2.1"},
		{"::1", acme.TypeIP, "::1"},
		{"2001:DB8:0:0:0:0:0:1", acme.TypeIP, "2001:db8::1"},
		{"[2001:db8::1]", acme.TypeIP, "2001:db8::1"},
		{"::ffff:192.0.2.1", acme.TypeIP, "192.0.2.1"},
		{"::FFFF:c000:0201", acme.TypeIP, "192.0.2.1"},
	} {
		id, err := acme.ParseIdentifier(test.in)
		if err != nil || id.Type != test.kind || id.Value != test.want || id.String() != test.want {
			t.Errorf("%q is %s %q, error %v; want %s %q", test.in, id.Type, id.Value, err, test.kind, test.want)
		}
	}
}

func TestParseIdentifierRefuses(t *testing.T) {
	for _, in := range []string{
		"", " ", ".", "..", "*", "*.", "*..", "example..com", ".example.com", "example.com..", "..example.com",
		"*.*.example.com", "www.*.example.com", "*example.com", "w*.example.com", "**.example.com",
		"_acme.example.com", "a_b.example.com", "-a.example.com", "a-.example.com", "exa mple.com", " example.com", "example.com ",
		"example.com:443", "https://example.com", "//example.com", "example.com/path", "example.com?x", "user@example.com",
		"example.com\n", "example.com\x00", "\x1b[31m.example.com", "\u202eexample.com", "exam\xffple.com", "a,b.example",
		"xn--", "xn--a.example", "xn--\xff.example", "xn--zzzzzzzzz.example", "ab--cd.example",
		strings.Repeat("a", 64) + ".example", longName(254), "*." + longName(252), strings.Repeat("ü", 63) + ".example",
		"1.2.3", "1.2.3.4.5", "1.2.3.256", "1.2.3.04", "192.0.2.1.", "192.0.2.1:443", "[192.0.2.1]", "192.0.2.0/24", "1.",
		"::1%lo", "fe80::1%eth0", "[::1", "::1]", "[::1]:443", "[[::1]]", ":::", "2001:db8::g", "2001:db8::/32", "::ffff:1.2.3.4%eth0", ":", "[]",
		"*.192.0.2.1", "*.::1", "１９２.0.2.1", "192。0。2。1", "*.１９２.0.2.1",
	} {
		id, err := acme.ParseIdentifier(in)
		if err == nil {
			t.Errorf("%q is taken for %s %q", in, id.Type, id.Value)
			continue
		}
		wantPrintable(t, err.Error())
		if !strings.HasPrefix(err.Error(), "acme: ") || id != (acme.Identifier{}) {
			t.Errorf("%q: %v, with the identifier %v", in, err, id)
		}
	}
}

func TestParseIdentifierBoundsItsError(t *testing.T) {
	for _, in := range []string{strings.Repeat("a", 1<<20), strings.Repeat("a.", 1<<19), strings.Repeat("ü", 1<<18), strings.Repeat("1.", 1<<19), strings.Repeat(":", 1<<20), strings.Repeat("_", 1<<20)} {
		_, err := acme.ParseIdentifier(in)
		if err == nil || len(err.Error()) > 1<<12 {
			t.Errorf("%.5q… of %d bytes: an error of %d bytes", in, len(in), len(err.Error()))
		}
	}
}
