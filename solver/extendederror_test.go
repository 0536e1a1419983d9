package solver

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// WithExtended returns an Answer that is as the server's would be, with a response code and an extended error.
func WithExtended(code dnsmessage.RCode, extended uint16, text string) TestAnswer {
	return func(network string, query, reply *dnsmessage.Message) [][]byte {
		if code != dnsmessage.RCodeSuccess {
			reply.RCode, reply.Authoritative, reply.Answers, reply.Authorities = code, false, nil, nil
		}
		reply.Additionals = []dnsmessage.Resource{optRecord(append([]byte{byte(extended >> 8), byte(extended)}, text...))}
		return PackDNS(reply)
	}
}

// optRecord returns an OPT record with an option for each extended error.
func optRecord(errs ...[]byte) dnsmessage.Resource {
	options := []dnsmessage.Option{{Code: 10, Data: []byte("a cookie")}}
	for _, data := range errs {
		options = append(options, dnsmessage.Option{Code: optionExtendedError, Data: data})
	}
	record := dnsmessage.Resource{Body: &dnsmessage.OPTResource{Options: options}}
	if err := record.Header.SetEDNS0(udpSize, dnsmessage.RCodeSuccess, false); err != nil {
		panic(err)
	}
	return record
}

func TestExtendedErrors(t *testing.T) {
	message := func(additionals ...dnsmessage.Resource) []byte {
		return PackDNS(&dnsmessage.Message{
			Header:      dnsmessage.Header{ID: 0x1234, Response: true, RCode: dnsmessage.RCodeServerFailure},
			Questions:   []dnsmessage.Question{{Name: testName(challengeName), Type: dnsmessage.TypeTXT, Class: dnsmessage.ClassINET}},
			Additionals: additionals,
		})[0]
	}
	for name, test := range map[string]struct {
		message []byte
		want    string
	}{
		"none":           {message(), ""},
		"an OPT record":  {message(optRecord()), ""},
		"a code":         {message(optRecord([]byte{0, 6})), "extended error 6, DNSSEC Bogus"},
		"words":          {message(optRecord([]byte("\x00\x07expired at noon\x00"))), "extended error 7, Signature Expired: expired at noon"},
		"behind glue":    {message(testRecord("ns.example.com", "A", "192.0.2.1"), optRecord([]byte{0, 22})), "extended error 22, No Reachable Authority"},
		"two":            {message(optRecord([]byte{0, 22}, []byte("\x00\x17timed out"))), "extended error 22, No Reachable Authority; extended error 23, Network Error: timed out"},
		"too short":      {message(optRecord([]byte{6})), ""},
		"an unknown one": {message(optRecord([]byte{0xc0, 0})), "extended error 49152"},
		"escapes":        {message(optRecord([]byte("\x00\x00\x1b[31m\r\n\xff"))), `extended error 0, Other Error: \x1b[31m\r\n\xff`},
		"at length":      {message(optRecord([]byte("\x00\x00" + strings.Repeat("x", 900)))), "extended error 0, Other Error: " + strings.Repeat("x", maxExtraText)},
		"long ones": {message(optRecord([]byte("\x00\x00"+strings.Repeat("\x00", 150)+"x"), []byte("\x00\x01"))),
			"extended error 0, Other Error: " + strings.Repeat(`\x00`, 67) + `\…`},
		"many":             {message(optRecord([]byte{0, 1}, []byte{0, 1}, []byte{0, 1}, []byte{0, 1}, []byte{0, 1})), strings.Repeat("; extended error 1, Unsupported DNSKEY Algorithm", maxExtended)[2:]},
		"cut off":          {message(optRecord([]byte{0, 6}))[:len(message(optRecord([]byte{0, 6})))-1], ""},
		"a record too few": {append([]byte{}, message(optRecord([]byte{0, 6}))[:40]...), ""},
	} {
		r, err := parseReply(test.message, sentQuery(t))
		if name == "a record too few" {
			continue // it may be unreadable, but does no harm
		}
		if err != nil || r.RCode != dnsmessage.RCodeServerFailure {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := extendedText(r.Extended); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

// A response code beyond 15 has its upper bits in the OPT record (RFC 6891 §6.1.3).
func TestExtendedResponseCode(t *testing.T) {
	opt := optRecord()
	opt.Header.TTL = 1 << 24
	message := dnsmessage.Message{
		Header:      dnsmessage.Header{ID: 0x1234, Response: true, Authoritative: true},
		Questions:   []dnsmessage.Question{{Name: testName(challengeName), Type: dnsmessage.TypeTXT, Class: dnsmessage.ClassINET}},
		Additionals: []dnsmessage.Resource{opt},
	}
	if r, err := parseReply(PackDNS(&message)[0], sentQuery(t)); err != nil || r.RCode != 16 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestPropagationErrorHasExtendedErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := NewMemoryDNS(t)
		servers := d.Zone("example.com", "192.0.2.1", "192.0.2.2", "192.0.2.3")
		servers[0].Answer(WithExtended(dnsmessage.RCodeRefused, 20, "no such zone here\n"))
		servers[1].Answer(Silent)
		failure := wantNotSpread(t, d, Propagation{Timeout: time.Minute})
		for _, want := range []string{
			`ns1.example.com (192.0.2.1:53) says REFUSED (extended error 20, Not Authoritative: no such zone here\n)`,
			"ns2.example.com (192.0.2.2:53) says nothing: no answer by udp",
		} {
			if !strings.Contains(failure.Error(), want) {
				t.Errorf("%v\ndoes not say %s", failure, want)
			}
		}
	})
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
