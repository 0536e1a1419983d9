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
		{"xn--bcher-kva.BÜCHER.example", acme.TypeDNS, "xn--bcher-kva.xn--bcher-kva.example"},
		{"xn--i-7iq.ws", acme.TypeDNS, "xn--i-7iq.ws"}, // a heart, which IDNA 2008 does not have
		{"xn--i-7iq.bücher.example", acme.TypeDNS, "xn--i-7iq.xn--bcher-kva.example"},
		{"*.XN--I-7IQ.ws", acme.TypeDNS, "*.xn--i-7iq.ws"},
		{"xn--a-qib.example", acme.TypeDNS, "xn--a-qib.example"}, // not assigned in this version of Unicode
		{"xn--a-qib.bücher.example", acme.TypeDNS, "xn--a-qib.xn--bcher-kva.example"},
		{"xn--a.example", acme.TypeDNS, "xn--a.example"}, // a control character
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
		"xn--", "xn--\xff.example", "xn--zzzzzzzzz.example", "ab--cd.example", "xn--example-.com", "xn--bcher-KVB-.example", "xn--bücher.example",
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

// What is wrong is named, whether a label is of ASCII or not.
func TestParseIdentifierSaysWhatIsWrong(t *testing.T) {
	for in, says := range map[string]string{
		"_acme-challenge.example.com": `the label "_acme-challenge" holds '_'`,
		"a_b.example.com":             `the label "a_b" holds '_'`,
		"_BÜCHER.example":             `holds '_'`,
		"bü_cher.example":             `holds '_'`,
		" example.com":                `the label " example" holds ' '`,
		"example.com\n":               `the label "com\n" holds '\n'`,
		"a,b.example":                 `the label "a,b" holds ','`,
		"*.*.example.com":             `holds '*'`,
		"xn--zzzzzzzzz.example":       `the label "xn--zzzzzzzzz" is no A-label`,
		"xn--example-.com":            `the label "xn--example-" is no A-label`,
		"ab--cd.example":              `the label "ab--cd"`,
		"-a.example.com":              "begins or ends with a hyphen",
		"example..com":                "is empty",
		"192。0。2。1":                   "as only an IP address does",
		"\u2028.example":              "U+2028",
	} {
		_, err := acme.ParseIdentifier(in)
		wantError(t, err, nil, "is not a domain name", says)
		wantPrintable(t, err.Error())
	}
}

// What a private CA may issue for is no business of the parser.
func TestParseIdentifierLeavesTheRestToTheCA(t *testing.T) {
	for _, in := range []string{"localhost", "db", "db.internal", "printer.local", "10.0.0.1", "127.0.0.1", "fd00::1", "169.254.1.1", "0.0.0.0"} {
		if id, err := acme.ParseIdentifier(in); err != nil || id.Value != in {
			t.Errorf("%q is %q, %v", in, id.Value, err)
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
