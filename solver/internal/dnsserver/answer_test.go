package dnsserver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// summary returns a message in a few words: code, flags, and the records of the three sections but OPT.
func summary(m *dnsmessage.Message) string {
	words := []string{strings.TrimPrefix(m.RCode.String(), "RCode")}
	for flag, set := range map[string]bool{"aa": m.Authoritative, "tc": m.Truncated, "ra": m.RecursionAvailable, "ad": m.AuthenticData} {
		if set {
			words = append(words, flag)
		}
	}
	slices.Sort(words[1:])
	for _, section := range [][]dnsmessage.Resource{m.Answers, m.Authorities, m.Additionals} {
		words = append(words, "|")
		for _, r := range section {
			if r.Header.Type != dnsmessage.TypeOPT {
				words = append(words, fmt.Sprint(r.Header.Name, " ", r.Header.TTL, " ", body(r)))
			}
		}
	}
	return strings.Join(words, " ")
}

func body(r dnsmessage.Resource) string {
	switch b := r.Body.(type) {
	case *dnsmessage.TXTResource:
		return fmt.Sprintf("TXT %q", b.TXT)
	case *dnsmessage.NSResource:
		return "NS " + b.NS.String()
	case *dnsmessage.AResource:
		return fmt.Sprint("A ", b.A)
	case *dnsmessage.AAAAResource:
		return fmt.Sprintf("AAAA %x", b.AAAA)
	case *dnsmessage.SOAResource:
		return fmt.Sprint("SOA ", b.NS, " ", b.MBox, " ", b.Serial, " ", b.MinTTL)
	case *dnsmessage.UnknownResource:
		return fmt.Sprintf("%d %q", b.Type, b.Data)
	}
	return r.Body.GoString()
}

const (
	soaOfName = "_acme-challenge.example.com. 0 SOA ns1.acme.example.net. hostmaster._acme-challenge.example.com. 1 0"
	soaOfAll  = "acme.example.net. 0 SOA ns1.acme.example.net. hostmaster.acme.example.net. 1 0"
)

// What is asked and what is answered, over UDP and TCP alike.
func TestAnswer(t *testing.T) {
	s := serve(t, &Server{Zones: newZones(t), Records: fixed(
		nameZone, "one", nameZone, "two",
		"shop.customer.acme.example.net", "three",
		"ns9.example.org", "outside",
	)})
	const (
		typeDS, typeHTTPS, typeIXFR, typeAXFR, typeMAILB = 43, 65, 251, 252, 253
	)
	for _, test := range []struct {
		name string
		kind dnsmessage.Type
		want string
	}{
		{"_acme-challenge.example.com.", dnsmessage.TypeTXT, `Success aa | _acme-challenge.example.com. 0 TXT ["one"] _acme-challenge.example.com. 0 TXT ["two"] | |`},
		{"_aCMe-ChaLLenge.eXample.COM.", dnsmessage.TypeTXT, `Success aa | _aCMe-ChaLLenge.eXample.COM. 0 TXT ["one"] _aCMe-ChaLLenge.eXample.COM. 0 TXT ["two"] | |`},
		{"_acme-challenge.example.com.", dnsmessage.TypeSOA, "Success aa | " + soaOfName + " | |"},
		{"_acme-challenge.example.com.", dnsmessage.TypeNS, "Success aa | _acme-challenge.example.com. 300 NS ns1.acme.example.net. _acme-challenge.example.com. 300 NS ns.example.org. | | ns1.acme.example.net. 300 A [192 0 2 1] ns1.acme.example.net. 300 AAAA 20010db8000000000000000000000001"},
		{"_acme-challenge.example.com.", dnsmessage.TypeA, "Success aa | | " + soaOfName + " |"},
		{"_acme-challenge.example.com.", typeDS, "Success aa | | " + soaOfName + " |"},
		{"_acme-challenge.example.com.", dnsmessage.TypeALL, `Success aa | _acme-challenge.example.com. 0 13 "\aRFC8482\x00" | |`},
		{"below._acme-challenge.example.com.", dnsmessage.TypeTXT, "NameError aa | | " + soaOfName + " |"},
		{"ACME.example.net.", dnsmessage.TypeTXT, "Success aa | | " + strings.Replace(soaOfAll, "acme.example.net.", "ACME.example.net.", 1) + " |"},

		// An empty non-terminal, as it is met with QNAME minimisation (RFC 9156), and the name below.
		{"customer.acme.example.net.", dnsmessage.TypeA, "Success aa | | " + soaOfAll + " |"},
		{"customer.acme.example.net.", dnsmessage.TypeTXT, "Success aa | | " + soaOfAll + " |"},
		{"customer.acme.example.net.", dnsmessage.TypeNS, "Success aa | | " + soaOfAll + " |"},
		{"customer.acme.example.net.", dnsmessage.TypeSOA, "Success aa | | " + soaOfAll + " |"},
		{"shop.customer.acme.example.net.", dnsmessage.TypeTXT, `Success aa | shop.customer.acme.example.net. 0 TXT ["three"] | |`},
		{"shop.customer.acme.example.net.", typeHTTPS, "Success aa | | " + soaOfAll + " |"},
		{"shop.customer.acme.example.net.", dnsmessage.TypeALL, `Success aa | shop.customer.acme.example.net. 0 13 "\aRFC8482\x00" | |`},

		{"ns1.acme.example.net.", dnsmessage.TypeA, "Success aa | ns1.acme.example.net. 300 A [192 0 2 1] | |"},
		{"ns1.acme.example.net.", dnsmessage.TypeAAAA, "Success aa | ns1.acme.example.net. 300 AAAA 20010db8000000000000000000000001 | |"},
		{"ns1.acme.example.net.", dnsmessage.TypeTXT, "Success aa | | " + soaOfAll + " |"},
		{"ns2.acme.example.net.", dnsmessage.TypeA, "NameError aa | | " + soaOfAll + " |"},
		{"other.acme.example.net.", dnsmessage.TypeALL, "NameError aa | | " + soaOfAll + " |"},

		{"example.com.", dnsmessage.TypeTXT, "Refused | | |"},
		{"ns9.example.org.", dnsmessage.TypeTXT, "Refused | | |"},
		{"xacme.example.net.", dnsmessage.TypeTXT, "Refused | | |"},
		{"net.", dnsmessage.TypeNS, "Refused | | |"},
		{".", dnsmessage.TypeNS, "Refused | | |"},
		{"acme.example.net.", typeAXFR, "Refused | | |"},
		{"acme.example.net.", typeIXFR, "Refused | | |"},
		{"acme.example.net.", typeMAILB, "Refused | | |"},
		{"acme.example.net.", dnsmessage.TypeOPT, "Refused | | |"},
	} {
		query := newQuery(test.name, test.kind)
		query.RecursionDesired, query.CheckingDisabled = true, true
		for way, exchange := range map[string]func(testing.TB, []byte) []byte{"UDP": s.overUDP, "TCP": s.overTCP} {
			answer := unpack(t, exchange(t, pack(t, query)))
			if got := summary(answer); got != test.want {
				t.Errorf("%s %v over %s:\n%s\nwant\n%s", test.name, test.kind, way, got, test.want)
			}
			if answer.ID != query.ID || !answer.Response || !answer.RecursionDesired || !answer.CheckingDisabled ||
				len(answer.Questions) != 1 || answer.Questions[0] != query.Questions[0] {
				t.Errorf("%s %v over %s: the question is repeated as %+v, %+v", test.name, test.kind, way, answer.Header, answer.Questions)
			}
		}
	}
}

// Names of the question and of the records are written once, so that answers are short.
func TestAnswerIsShort(t *testing.T) {
	s := &Server{Zones: newZones(t), Records: fixed(nameZone, strings.Repeat("v", 43))}
	for kind, more := range map[dnsmessage.Type]int{
		dnsmessage.TypeTXT: 12 + 44, // pointer, type, class, TTL, length; the string
		dnsmessage.TypeA:   12 + len("ns1.acme.example.net.") + 1 + len("hostmaster") + 1 + 2 + 20,
	} {
		name := "_acme-challenge.example.com."
		if kind == dnsmessage.TypeTXT {
			name = "_ACME-challenge.EXAMPLE.com."
		}
		query := newQuery(name, kind)
		q, _ := parse(pack(t, query))
		a, _ := newAnswerer(s.Zones, &q)
		if got := len(s.answer(t.Context(), a).pack(nil, maxOverUDP)); got != q.length+more {
			t.Errorf("%v: the question has %d bytes and the answer %d, want %d", kind, q.length, got, q.length+more)
		}
	}
}

// A question that is wrong gets the code that says how, with no more than its header where it could not be read.
func TestWrongQuestion(t *testing.T) {
	s := serve(t, &Server{Zones: newZones(t), Records: fixed()})
	ask := func(change func(*dnsmessage.Message)) []byte {
		query := newQuery("acme.example.net.", dnsmessage.TypeSOA)
		change(query)
		return pack(t, query)
	}
	for name, test := range map[string]struct {
		message []byte
		want    dnsmessage.RCode
		asked   bool // the question is repeated
	}{
		"no question":       {ask(func(m *dnsmessage.Message) { m.Questions = nil }), dnsmessage.RCodeFormatError, false},
		"two questions":     {ask(func(m *dnsmessage.Message) { m.Questions = append(m.Questions, m.Questions[0]) }), dnsmessage.RCodeFormatError, false},
		"two OPT":           {ask(func(m *dnsmessage.Message) { m.Additionals = append(m.Additionals, m.Additionals[0]) }), dnsmessage.RCodeFormatError, true},
		"OPT with an owner": {ask(func(m *dnsmessage.Message) { m.Additionals[0].Header.Name = dnsmessage.MustNewName("a.") }), dnsmessage.RCodeFormatError, true},
		"many records": {ask(func(m *dnsmessage.Message) {
			ns := dnsmessage.Resource{Header: header(m.Questions[0].Name, 0), Body: &dnsmessage.NSResource{NS: m.Questions[0].Name}}
			m.Answers = slices.Repeat([]dnsmessage.Resource{ns}, maxRecords)
		}), dnsmessage.RCodeFormatError, false},
		"a name cut off": {ask(func(*dnsmessage.Message) {})[:20], dnsmessage.RCodeFormatError, false},
		"a header alone": {ask(func(*dnsmessage.Message) {})[:headerLength], dnsmessage.RCodeFormatError, false},
		"a notification": {ask(func(m *dnsmessage.Message) { m.OpCode = 4 }), dnsmessage.RCodeNotImplemented, false},
		"an update":      {ask(func(m *dnsmessage.Message) { m.OpCode = 5 }), dnsmessage.RCodeNotImplemented, false},
		"class CHAOS":    {ask(func(m *dnsmessage.Message) { m.Questions[0].Class = dnsmessage.ClassCHAOS }), dnsmessage.RCodeRefused, true},
		"any class":      {ask(func(m *dnsmessage.Message) { m.Questions[0].Class = dnsmessage.ClassANY }), dnsmessage.RCodeRefused, true},
	} {
		answer := unpack(t, s.overUDP(t, test.message))
		if answer.RCode != test.want || answer.ID != 4711 || (len(answer.Questions) == 1) != test.asked || len(answer.Answers)+len(answer.Authorities) > 0 {
			t.Errorf("%s: %+v", name, answer)
		}
	}
}

// What is no question, or an answer itself, gets none: two servers would answer each other for ever.
func TestSilence(t *testing.T) {
	s := serve(t, &Server{Zones: newZones(t), Records: fixed()})
	answer := newQuery("acme.example.net.", dnsmessage.TypeSOA)
	answer.Response = true
	last := newQuery("acme.example.net.", dnsmessage.TypeSOA)
	last.ID = 1
	conn := s.dial(t, "udp", s.packets.LocalAddr())
	for _, message := range [][]byte{{}, {0}, pack(t, last)[:headerLength-1], pack(t, answer), pack(t, last)} {
		send(t, conn, message)
	}
	if first := unpack(t, receive(t, conn)); first.ID != last.ID {
		t.Errorf("an answer came to another message: %+v", first)
	}
	stream := s.dial(t, "tcp", s.stream.Addr())
	send(t, stream, framed(pack(t, answer)))
	if message, err := readFramed(stream); err == nil {
		t.Errorf("over TCP %x came", message)
	}
}

// EDNS (RFC 6891) is answered with EDNS, and a version that is not known with the one that is.
func TestEDNS(t *testing.T) {
	s := serve(t, &Server{Zones: newZones(t), Records: fixed()})
	const (
		badVersion = 1 // of the 8 upper bits: 16
		doBit      = 1 << 15
	)
	for name, test := range map[string]struct {
		option *dnsmessage.Resource
		code   uint8
	}{
		"none":      {nil, 0},
		"DO":        {new(newOPT(1232, 0, true)), 0},
		"no DO":     {new(newOPT(512, 0, false)), 0},
		"version 1": {new(newOPT(1232, 1, false)), badVersion},
		"version 2": {new(newOPT(1232, 2, true)), badVersion},
	} {
		query := newQuery("acme.example.net.", dnsmessage.TypeSOA)
		query.Additionals = nil
		if test.option != nil {
			query.Additionals = []dnsmessage.Resource{*test.option}
		}
		answer := unpack(t, s.overUDP(t, pack(t, query)))
		if test.option == nil {
			if len(answer.Additionals) != 0 {
				t.Errorf("%s: %+v", name, answer.Additionals)
			}
			continue
		}
		if len(answer.Additionals) != 1 {
			t.Fatalf("%s: %+v", name, answer.Additionals)
		}
		got := answer.Additionals[0].Header
		if got.Type != dnsmessage.TypeOPT || got.Class != maxOverUDP || got.TTL&doBit != test.option.Header.TTL&doBit ||
			uint8(got.TTL>>24) != test.code || uint8(got.TTL>>16) != 0 {
			t.Errorf("%s: OPT is %+v", name, got)
		}
		if answered := len(answer.Answers) > 0; answered != (test.code == 0) {
			t.Errorf("%s: %+v", name, answer.Answers)
		}
	}
}

// If records can't be had, nothing is said of what there is, but one that was known is answered still.
func TestRecordsFail(t *testing.T) {
	known, err := fixed("a.acme.example.net", "known")(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		records *Records
		asked   string
		want    dnsmessage.RCode
	}{
		"none known":    {nil, "a.acme.example.net.", dnsmessage.RCodeServerFailure},
		"another known": {known, "b.acme.example.net.", dnsmessage.RCodeServerFailure},
		"known":         {known, "a.acme.example.net.", dnsmessage.RCodeSuccess},
		"the zone":      {nil, "acme.example.net.", dnsmessage.RCodeServerFailure},
	} {
		s := serve(t, &Server{Zones: newZones(t), Records: func(context.Context) (*Records, error) { return test.records, errors.New("no storage") }})
		answer := unpack(t, s.overUDP(t, pack(t, newQuery(test.asked, dnsmessage.TypeTXT))))
		if answer.RCode != test.want || (len(answer.Answers) == 1) != (test.want == dnsmessage.RCodeSuccess) {
			t.Errorf("%s: %+v", name, answer)
		}
		if answer := unpack(t, s.overUDP(t, pack(t, newQuery("acme.example.net.", dnsmessage.TypeNS)))); len(answer.Answers) != 2 {
			t.Errorf("%s: what needs no records is answered with %+v", name, answer)
		}
	}
}
