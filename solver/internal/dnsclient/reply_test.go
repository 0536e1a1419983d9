package dnsclient

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/everseal/everseal/solver/internal/solvertest"
	"golang.org/x/net/dns/dnsmessage"
)

// sentQuery is challengeQuery as sent, with a fixed ID.
func sentQuery(t testing.TB) packedQuery {
	t.Helper()
	sent, err := challengeQuery.pack()
	if err != nil {
		t.Fatal(err)
	}
	sent.id = 0x1234
	return sent
}

// answerWith returns an answer to sentQuery with these records, packed.
func answerWith(records ...dnsmessage.Resource) []byte {
	return solvertest.Pack(&dnsmessage.Message{
		Header:    dnsmessage.Header{ID: 0x1234, Response: true, Authoritative: true, AuthenticData: true},
		Questions: []dnsmessage.Question{{Name: solvertest.NewName(solvertest.ChallengeName), Type: dnsmessage.TypeTXT, Class: dnsmessage.ClassINET}},
		Answers:   records,
	})[0]
}

func TestParseReply(t *testing.T) {
	chaos := solvertest.NewRecord(solvertest.ChallengeName, "TXT", "of another class")
	chaos.Header.Class = dnsmessage.ClassCHAOS
	r, err := parseReply(answerWith(
		solvertest.NewRecord("_ACME-challenge.Example.com", "TXT", "value"),
		solvertest.NewRecord("other.example.com", "TXT", "elsewhere"),
		chaos,
		solvertest.NewRecord(solvertest.ChallengeName, "CAA", `0 issue ca.example`),
		solvertest.NewRecord(solvertest.ChallengeName, "TXT", strings.Repeat("long", 100)),
		solvertest.NewRecord(solvertest.ChallengeName, "TXT", ""),
	), sentQuery(t))
	if err != nil {
		t.Fatal(err)
	}
	wantValues(t, r, "value", strings.Repeat("long", 100), "")
	if !r.Authoritative || !r.Authenticated || r.Truncated || r.RCode != dnsmessage.RCodeSuccess {
		t.Errorf("the header is read as %+v", r)
	}
	if len(r.Answers) != 5 {
		t.Errorf("%d records, want all 5 of class IN", len(r.Answers))
	}
	if caa, ok := r.Answers[2].Body.(*dnsmessage.UnknownResource); !ok || !bytes.Equal(caa.Data, []byte("\x00\x05issueca.example")) {
		t.Errorf("the CAA record is %#v", r.Answers[2].Body)
	}
}

// first.last@example.com is first\.last.example.com in an SOA record, a name that dnsmessage does not read.
func TestParseReplyWithADotInALabel(t *testing.T) {
	soa := solvertest.NewRecord("example.com", "SOA", "")
	soa.Body.(*dnsmessage.SOAResource).MBox = solvertest.NewName("first-last.example.com")
	message := bytes.Replace(answerWith(soa, solvertest.NewRecord(solvertest.ChallengeName, "TXT", "value")), []byte("first-last"), []byte("first.last"), 1)
	r, err := parseReply(message, sentQuery(t))
	if err != nil {
		t.Fatal(err)
	}
	wantValues(t, r, "value")
	if _, ok := r.Answers[0].Body.(*dnsmessage.UnknownResource); !ok || r.Answers[0].Header.Type != dnsmessage.TypeSOA {
		t.Errorf("the SOA record is %s, want one that is not read", r.Answers[0].GoString())
	}
}

func TestParseReplyIsBounded(t *testing.T) {
	record := solvertest.NewRecord(solvertest.ChallengeName, "TXT", "v")
	if _, err := parseReply(answerWith(slices.Repeat([]dnsmessage.Resource{record}, maxRecords-1)...), sentQuery(t)); err != nil {
		t.Errorf("%d records: %v", maxRecords-1, err)
	}
	if r, err := parseReply(answerWith(slices.Repeat([]dnsmessage.Resource{record}, maxRecords+1)...), sentQuery(t)); err == nil || r != nil {
		t.Errorf("%d records are taken", maxRecords+1)
	}
	// Counts that the message does not hold.
	message := answerWith(record)
	message[6], message[7] = 0xff, 0xff
	if _, err := parseReply(message, sentQuery(t)); err == nil {
		t.Error("65535 records in a message with one are taken")
	}
	message = answerWith(record)
	message[4], message[5] = 0, 2
	if _, err := parseReply(message, sentQuery(t)); err == nil || errors.Is(err, errStray) {
		t.Errorf("two questions: %v", err)
	}
}

func TestFollow(t *testing.T) {
	r := &Reply{Answers: []dnsmessage.Resource{
		solvertest.NewRecord("c.example", "A", "192.0.2.7"),
		solvertest.NewRecord("b.example", "CNAME", "C.example"),
		solvertest.NewRecord("A.example", "CNAME", "b.EXAMPLE"),
		solvertest.NewRecord("c.example", "AAAA", "2001:db8::7"),
		solvertest.NewRecord("d.example", "A", "192.0.2.8"),
		solvertest.NewRecord("x.example", "CNAME", "y.example"),
		solvertest.NewRecord("y.example", "CNAME", "x.example"),
	}}
	for name, want := range map[string]string{
		"a.example.": "c.example", "B.example": "c.example", "c.example": "c.example", "d.example": "d.example",
	} {
		if got := r.Follow(name); !SameName(got, want) {
			t.Errorf("%s leads to %s, want %s", name, got, want)
		}
	}
	if got := r.Follow("x.example"); got != "x.example" && got != "y.example" {
		t.Errorf("a circle leads to %s", got)
	}
	want := []netip.Addr{netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("2001:db8::7")}
	if got := r.Addresses("a.example"); !slices.Equal(got, want) {
		t.Errorf("a.example has %v, want %v", got, want)
	}
}

func TestBareName(t *testing.T) {
	for name, want := range map[string]string{
		"Example.COM.": "example.com", "example.com": "example.com", ".": ".", "": "", "\xc4\xff.": "\xc4\xff", "K.example": "k.example",
	} {
		if got := BareName(name); got != want {
			t.Errorf("%q is %q, want %q", name, got, want)
		}
	}
	if SameName("\u212a.example", "k.example") {
		t.Error("the Kelvin sign is no k in DNS")
	}
}

func TestReplyText(t *testing.T) {
	for want, r := range map[string]Reply{
		`TXT "value"`:                           {Authoritative: true, Answers: []dnsmessage.Resource{solvertest.NewRecord(solvertest.ChallengeName, "TXT", "value")}},
		`that there is no TXT record`:           {Authoritative: true},
		`that there is no such name (NXDOMAIN)`: {Authoritative: true, RCode: dnsmessage.RCodeNameError},
		`that there is no such name (NXDOMAIN), without authority for the zone`: {RCode: dnsmessage.RCodeNameError},
		`that it does not hold the zone`:                                        {Authorities: []dnsmessage.Resource{solvertest.NewRecord("com", "NS", "a.example")}},
		`a CNAME to "b.example" without a TXT record`:                           {Authoritative: true, Answers: []dnsmessage.Resource{solvertest.NewRecord(solvertest.ChallengeName, "CNAME", "b.example")}},
		`FORMERR`:  {RCode: dnsmessage.RCodeFormatError},
		`SERVFAIL`: {RCode: dnsmessage.RCodeServerFailure},
		`NOTIMP`:   {RCode: dnsmessage.RCodeNotImplemented},
		`REFUSED`:  {RCode: dnsmessage.RCodeRefused, Authoritative: true},
		`NOTAUTH`:  {RCode: 9},
		`RCODE 15`: {RCode: 15},
	} {
		if got := r.Text(challengeQuery); got != want {
			t.Errorf("the reply is %q, want %q", got, want)
		}
	}
}

func FuzzParseReply(f *testing.F) {
	sent := sentQuery(f)
	f.Add(answerWith(solvertest.NewRecord(solvertest.ChallengeName, "TXT", "value")))
	f.Add(answerWith(solvertest.NewRecord(solvertest.ChallengeName, "CNAME", "b.example.com"), solvertest.NewRecord("b.example.com", "CNAME", solvertest.ChallengeName)))
	f.Add(answerWith(solvertest.NewRecord(solvertest.ChallengeName, "A", "192.0.2.1"), solvertest.NewRecord(solvertest.ChallengeName, "AAAA", "2001:db8::1")))
	f.Add(answerWith(solvertest.NewRecord("example.com", "SOA", ""), solvertest.NewRecord("example.com", "NS", "ns1.example.com")))
	f.Add(answerWith(solvertest.NewRecord(solvertest.ChallengeName, "CAA", "128 issue ca.example; accounturi=x")))
	f.Add(solvertest.WithExtended(dnsmessage.RCodeServerFailure, 6, "bogus\x1b")("", nil, &dnsmessage.Message{
		Header:    dnsmessage.Header{ID: 0x1234, Response: true},
		Questions: []dnsmessage.Question{{Name: solvertest.NewName(solvertest.ChallengeName), Type: dnsmessage.TypeTXT, Class: dnsmessage.ClassINET}},
	})[0])
	f.Add([]byte("\x12\x34\x84\x00\x00\x01\x00\x01\x00\x00\x00\x00\xc0\x0c\x00\x10\x00\x01"))
	f.Fuzz(func(t *testing.T, message []byte) {
		r, err := parseReply(message, sent)
		if (r == nil) == (err == nil) {
			t.Fatalf("reply %v and error %v", r, err)
		}
		if err != nil {
			return
		}
		if len(r.Answers) > maxRecords || len(r.Authorities) > maxRecords {
			t.Errorf("%d answers, %d authorities", len(r.Answers), len(r.Authorities))
		}
		for _, record := range slices.Concat(r.Answers, r.Authorities) {
			if record.Body == nil || record.Header.Class != dnsmessage.ClassINET {
				t.Errorf("record %s", record.GoString())
			}
		}
		for _, text := range []string{r.Text(challengeQuery), valuesText(r.Texts(solvertest.ChallengeName))} {
			if len(text) > 5000 || strings.ContainsFunc(text, func(c rune) bool { return c < ' ' || c == 0x7f }) {
				t.Errorf("the text is %d bytes: %q", len(text), text)
			}
		}
		r.Addresses(solvertest.ChallengeName)
	})
}

// CNAMEs are followed as far as CAs do.
func TestAliasChainEnds(t *testing.T) {
	r := &Reply{}
	long := strings.Repeat("a23456789.", 23)
	for i := range 1000 {
		r.Answers = append(r.Answers, solvertest.NewRecord(fmt.Sprintf("n%d.%s", i, long), "CNAME", fmt.Sprintf("n%d.%s", i+1, long)))
	}
	if end := r.Follow("n0." + long); strings.HasPrefix(end, "n1000.") {
		t.Error("a thousand CNAMEs were followed")
	}
}

func TestTypeText(t *testing.T) {
	for qtype, want := range map[dnsmessage.Type]string{dnsmessage.TypeTXT: "TXT", dnsmessage.TypeAAAA: "AAAA", 257: "CAA", 48: "TYPE48"} {
		if got := TypeText(qtype); got != want {
			t.Errorf("type %d is %q, want %q", qtype, got, want)
		}
	}
}
