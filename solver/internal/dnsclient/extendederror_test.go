package dnsclient

import (
	"strings"
	"testing"

	"github.com/everseal/everseal/solver/internal/solvertest"
	"golang.org/x/net/dns/dnsmessage"
)

func TestExtendedErrors(t *testing.T) {
	message := func(additionals ...dnsmessage.Resource) []byte {
		return solvertest.Pack(&dnsmessage.Message{
			Header:      dnsmessage.Header{ID: 0x1234, Response: true, RCode: dnsmessage.RCodeServerFailure},
			Questions:   []dnsmessage.Question{{Name: solvertest.NewName(solvertest.ChallengeName), Type: dnsmessage.TypeTXT, Class: dnsmessage.ClassINET}},
			Additionals: additionals,
		})[0]
	}
	for name, test := range map[string]struct {
		message []byte
		want    string
	}{
		"none":           {message(), ""},
		"an OPT record":  {message(solvertest.NewOPT()), ""},
		"a code":         {message(solvertest.NewOPT([]byte{0, 6})), "extended error 6, DNSSEC Bogus"},
		"words":          {message(solvertest.NewOPT([]byte("\x00\x07expired at noon\x00"))), "extended error 7, Signature Expired: expired at noon"},
		"behind glue":    {message(solvertest.NewRecord("ns.example.com", "A", "192.0.2.1"), solvertest.NewOPT([]byte{0, 22})), "extended error 22, No Reachable Authority"},
		"two":            {message(solvertest.NewOPT([]byte{0, 22}, []byte("\x00\x17timed out"))), "extended error 22, No Reachable Authority; extended error 23, Network Error: timed out"},
		"too short":      {message(solvertest.NewOPT([]byte{6})), ""},
		"an unknown one": {message(solvertest.NewOPT([]byte{0xc0, 0})), "extended error 49152"},
		"escapes":        {message(solvertest.NewOPT([]byte("\x00\x00\x1b[31m\r\n\xff"))), `extended error 0, Other Error: \x1b[31m\r\n\xff`},
		"at length":      {message(solvertest.NewOPT([]byte("\x00\x00" + strings.Repeat("x", 900)))), "extended error 0, Other Error: " + strings.Repeat("x", maxExtraText)},
		"long ones": {message(solvertest.NewOPT([]byte("\x00\x00"+strings.Repeat("\x00", 150)+"x"), []byte("\x00\x01"))),
			"extended error 0, Other Error: " + strings.Repeat(`\x00`, 67) + `\…`},
		"many":             {message(solvertest.NewOPT([]byte{0, 1}, []byte{0, 1}, []byte{0, 1}, []byte{0, 1}, []byte{0, 1})), strings.Repeat("; extended error 1, Unsupported DNSKEY Algorithm", maxExtended)[2:]},
		"cut off":          {message(solvertest.NewOPT([]byte{0, 6}))[:len(message(solvertest.NewOPT([]byte{0, 6})))-1], ""},
		"a record too few": {append([]byte{}, message(solvertest.NewOPT([]byte{0, 6}))[:40]...), ""},
	} {
		r, err := parseReply(test.message, sentQuery(t))
		if name == "a record too few" {
			continue // it may be unreadable, but does no harm
		}
		if err != nil || r.RCode != dnsmessage.RCodeServerFailure {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := ExtendedText(r.Extended); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

// A response code beyond 15 has its upper bits in the OPT record (RFC 6891 §6.1.3).
func TestExtendedResponseCode(t *testing.T) {
	opt := solvertest.NewOPT()
	opt.Header.TTL = 1 << 24
	message := dnsmessage.Message{
		Header:      dnsmessage.Header{ID: 0x1234, Response: true, Authoritative: true},
		Questions:   []dnsmessage.Question{{Name: solvertest.NewName(solvertest.ChallengeName), Type: dnsmessage.TypeTXT, Class: dnsmessage.ClassINET}},
		Additionals: []dnsmessage.Resource{opt},
	}
	if r, err := parseReply(solvertest.Pack(&message)[0], sentQuery(t)); err != nil || r.RCode != 16 {
		t.Errorf("%+v, %v", r, err)
	}
}

func FuzzExtendedError(f *testing.F) {
	f.Add([]byte{0, 6})
	f.Add([]byte("\x00\x07expired\x00"))
	f.Add([]byte("\xff\xff\x1b[31m\r\n\xe2\x80\xae"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) < 2 {
			return
		}
		text := parseExtendedError(data).String()
		if len(text) > 100+4*maxExtraText || strings.ContainsAny(text, "\r\n\x00\x1b") {
			t.Errorf("%q", text)
		}
	})
}
