package record_test

import (
	"bytes"
	"crypto"
	"fmt"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"crypto/x509"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager/internal/record"
)

func TestNew(t *testing.T) {
	ca, key := newTestCA(t), newKey(t)
	issued := ca.issue(t, key.Public(), "example.com")
	meta := record.Meta{Issuer: "ca", Names: []string{"example.com"}, KeyType: "ecdsa-p256", Obtained: begin}
	c, err := record.New(meta, record.Key{Signer: key}, issued, new(record.Intermediates))
	if err != nil {
		t.Fatal(err)
	}
	end := begin.AddDate(0, 0, 90)
	want := &record.Certificate{Meta: meta, Key: record.Key{Signer: key}, Chain: issued.Chain, Serial: "0abc", NotBefore: begin, NotAfter: end, End: end}
	if shown(c) != shown(want) {
		t.Errorf("%s\nwant\n%s", shown(c), shown(want))
	}
	if &c.Chain[0][0] == &issued.Chain[0][0] {
		t.Error("the record keeps the CA's answer in memory")
	}
	for name, test := range map[string]struct {
		key    crypto.Signer
		issued *acme.Certificate
		want   string
	}{
		"nothing":         {key, nil, "there is no certificate"},
		"no leaf":         {key, &acme.Certificate{Chain: issued.Chain}, "there is no certificate"},
		"no key":          {nil, issued, "for another key"},
		"another key":     {newKey(t), issued, "for another key"},
		"no chain":        {key, &acme.Certificate{Leaf: issued.Leaf}, "does not begin with the certificate"},
		"another's chain": {key, &acme.Certificate{Leaf: issued.Leaf, Chain: issued.Chain[1:]}, "does not begin with the certificate"},
		"no certificates": {key, &acme.Certificate{Leaf: issued.Leaf, Chain: [][]byte{issued.Leaf.Raw, []byte("none")}}, "certificate 2 of the chain"},
	} {
		_, err := record.New(meta, record.Key{Signer: test.key}, test.issued, new(record.Intermediates))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want %q", name, err, test.want)
		}
	}
}

// A certificate is as good as its path: what ends first, ends it.
func TestEnd(t *testing.T) {
	root := newCA(t, nil, "Root", 30)
	short := newCA(t, root, "Short\x1b", 60)
	other := newCA(t, root, "Other", 50)
	long := newCA(t, root, "Long", 1000)
	ended, now := newCA(t, root, "Ended", 10), newCA(t, root, "Now", 20)
	days := func(n int) time.Time { return begin.AddDate(0, 0, n) }
	der := func(c *testCA) []byte { return c.parsed.Raw }
	for name, test := range map[string]struct {
		above [][]byte
		end   time.Time
		endOf string
		ended string
	}{
		"alone":              {nil, days(90), "", ""},
		"longer":             {[][]byte{der(long)}, days(90), "", ""},
		"shorter":            {[][]byte{der(short)}, days(60), "CN=Short\ufffd", ""},
		"longer, shorter":    {[][]byte{der(long), der(short)}, days(60), "CN=Short\ufffd", ""},
		"shortest first":     {[][]byte{der(other), der(short), der(long)}, days(50), "CN=Other", ""},
		"with a root":        {[][]byte{der(long), der(root)}, days(90), "", ""},
		"a root in between":  {[][]byte{der(root), der(long)}, days(30), "CN=Root", ""},
		"shorter and a root": {[][]byte{der(short), der(root)}, days(60), "CN=Short\ufffd", ""},
		"one had ended":      {[][]byte{der(ended)}, days(90), "", "CN=Ended"},
		"one ends with it":   {[][]byte{der(now)}, days(90), "", "CN=Now"},
		"one had, one will":  {[][]byte{der(ended), der(other), der(short)}, days(50), "CN=Other", "CN=Ended"},
	} {
		key := newKey(t)
		issued := long.issue(t, key.Public(), "example.com")
		issued.Chain = append(issued.Chain[:1], test.above...)
		c, err := record.New(record.Meta{Names: []string{"example.com"}, Obtained: days(20)}, record.Key{Signer: key}, issued, new(record.Intermediates))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		again, err := record.DecodeCertificate(encode(t, c), dns("example.com"), new(record.Intermediates))
		if err != nil || shown(again) != shown(c) {
			t.Errorf("%s: is read as %+v, %v", name, again, err)
		}
		if !c.End.Equal(test.end) || c.EndOf != test.endOf || c.Ended != test.ended || !c.NotAfter.Equal(days(90)) {
			t.Errorf("%s: ends at %v with %q, ended %q; want %v with %q, %q", name, c.End, c.EndOf, c.Ended, test.end, test.endOf, test.ended)
		}
	}
}

func TestNewerThan(t *testing.T) {
	ca, key := newTestCA(t), newKey(t)
	a, b := ca.record(t, key, "example.com"), ca.record(t, key, "example.com")
	b.Obtained, b.NotAfter = a.Obtained.Add(1), a.NotAfter.Add(-time.Hour)
	for name, wrong := range map[string]bool{
		"the later one is not newer":      !b.NewerThan(a, begin),
		"the earlier one is newer":        a.NewerThan(b, begin),
		"one is newer than itself":        a.NewerThan(a, begin),
		"none is newer":                   !a.NewerThan(nil, begin),
		"it is not the same as itself":    !a.Same(a),
		"another certificate is the same": a.Same(b),
		"none is the same":                a.Same(nil),
	} {
		if wrong {
			t.Error(name)
		}
	}
}

func TestReference(t *testing.T) {
	ca, key := newTestCA(t), newKey(t)
	c := ca.record(t, key, "example.com")
	c.Key.Reference = "kms://eu/keys/7"
	value := encode(t, c)
	if bytes.Contains(value, []byte("PRIVATE")) || !bytes.HasPrefix(value, []byte("everseal certificate 2 {")) {
		t.Errorf("it is written as\n%s", value)
	}
	read, err := record.DecodeCertificate(value, dns("example.com"), new(record.Intermediates))
	if err != nil || read.Key != (record.Key{Reference: "kms://eu/keys/7"}) {
		t.Fatalf("%+v, %v", read, err)
	}
	if err := read.SetSigner(newKey(t)); err == nil || !strings.Contains(err.Error(), "not the certificate's") || read.Key.Signer != nil {
		t.Errorf("another key: %v, %v", err, read.Key)
	}
	if err := read.SetSigner(nil); err == nil {
		t.Error("no key is set")
	}
	if err := read.SetSigner(key); err != nil || shown(read) != shown(c) {
		t.Errorf("%v, %s", err, shown(read))
	}
	if _, err := record.DecodeCertificate(value, dns("example.net"), new(record.Intermediates)); err == nil {
		t.Error("it is taken for another name")
	}
}

func TestCertificateWithoutKey(t *testing.T) {
	c := newTestCA(t).record(t, newKey(t), "example.com")
	c.Key = record.Key{}
	if _, err := c.Encode(); err == nil || !strings.Contains(err.Error(), "no private key") {
		t.Errorf("error %v", err)
	}
	c.Key.Signer = struct{ crypto.Signer }{newKey(t)}
	if _, err := c.Encode(); err == nil || !strings.Contains(err.Error(), "can't be stored") {
		t.Errorf("error %v", err)
	}
}

// Whatever a certificate is and whoever wrote it in which zone, it is read as it was written.
func TestCertificateRoundTrip(t *testing.T) {
	const seed = 1
	random := rand.New(rand.NewPCG(seed, seed))
	text := func() string {
		return string([]rune("a<&>\u2028é\"\\ \n\x00\U0001f512"[random.IntN(10):])[:random.IntN(4)])
	}
	ca, shared := newTestCA(t), new(record.Intermediates)
	rsaKey := newRSAKey(t)
	for range 300 {
		names := make([]string, 1+random.IntN(5))
		for i := range names {
			names[i] = fmt.Sprintf("n%d.example.com", i)
		}
		key := crypto.Signer(rsaKey)
		if random.IntN(3) > 0 {
			key = newKey(t)
		}
		issued := ca.issue(t, key.Public(), names...)
		issued.Chain = issued.Chain[:1+random.IntN(3)]
		meta := record.Meta{Issuer: "i" + text(), Names: names, KeyType: text(), URL: text(), Predecessor: text(), OnDemand: random.IntN(2) == 0,
			Obtained: time.Unix(random.Int64N(1<<33), random.Int64N(1e9)).UTC()}
		for range random.IntN(3) {
			meta.Validations = append(meta.Validations, record.Validation{Name: text(), Type: text(), Validated: meta.Obtained.Add(-time.Hour)})
		}
		c, err := record.New(meta, record.Key{Signer: key}, issued, shared)
		if err != nil {
			t.Fatal(err)
		}
		again, err := record.DecodeCertificate(encode(t, c), dns(names...), shared)
		if err != nil || shown(again) != shown(c) {
			t.Fatalf("%s\nis read as (%v)\n%s", shown(c), err, shown(again))
		}
	}
}

func TestTimesAreUTC(t *testing.T) {
	c := newTestCA(t).record(t, newKey(t), "example.com")
	want := c.Obtained
	c.Obtained = c.Obtained.In(time.FixedZone("", 3600))
	c.Validations = []record.Validation{{Validated: c.Obtained}}
	c, err := record.DecodeCertificate(encode(t, c), nil, new(record.Intermediates))
	if err != nil || c.Obtained != want || c.Validations[0].Validated != want {
		t.Errorf("%v, %v", c, err)
	}
}

// A certificate with a serial number of 20 bytes, the first of them zero in hexadecimal digits, is shown as CAs show it.
func TestSerial(t *testing.T) {
	ca, key := newTestCA(t), newKey(t)
	for want, serial := range map[string]*big.Int{"01": big.NewInt(1), "0fff": big.NewInt(0xfff), "0102030405060708090a0b0c0d0e0f1011121314": new(big.Int).SetBytes([]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20})} {
		leaf := ca.sign(t, &x509.Certificate{SerialNumber: serial, DNSNames: []string{"example.com"}}, key.Public())
		c, err := record.New(record.Meta{}, record.Key{Signer: key}, &acme.Certificate{Leaf: leaf, Chain: [][]byte{leaf.Raw}}, new(record.Intermediates))
		if err != nil || c.Serial != want {
			t.Errorf("%v, %v, want %s", c, err, want)
		}
	}
}

// What was noted by a wrong clock, or never, does not make a certificate newer than what was obtained since.
func TestNewer(t *testing.T) {
	const minute, year = time.Minute, 365 * 24 * time.Hour
	for _, test := range []struct {
		a, b  time.Duration // from now
		newer bool
	}{
		{0, -1, true},
		{-1, 0, false},
		{0, 0, false},
		{5 * minute, 0, true}, // clocks differ
		{0, 5 * minute, false},
		{0, 5*minute + 1, true},
		{5*minute + 1, 0, false},
		{-year, 10 * year, true},
		{10 * year, -year, false},
		{10 * year, 9 * year, true},
		{9 * year, 10 * year, false},
	} {
		if record.Newer(begin.Add(test.a), begin.Add(test.b), begin) != test.newer {
			t.Errorf("newer at %v than at %v is %v", test.a, test.b, !test.newer)
		}
	}
}

// A time that no clock can have noted is read as one long ago.
func TestObtainedAtNoTime(t *testing.T) {
	ca, key := newTestCA(t), newKey(t)
	c := ca.record(t, key, "example.com")
	for year, want := range map[int]int{1: 1970, 1969: 1970, 1970: 1970, 2026: 2026, 2261: 2261, 2262: 1970, 9000: 1970} {
		c.Obtained = time.Date(year, time.May, 1, 0, 0, 0, 0, time.UTC)
		again, err := record.DecodeCertificate(encode(t, c), dns("example.com"), nil)
		if err != nil || again.Obtained.Year() != want {
			t.Errorf("of the year %d is read as %v, %v", year, again.Obtained, err)
		}
	}
}

// The time a certificate was obtained is read from the first line alone, also of a record that can't be used otherwise.
func TestObtained(t *testing.T) {
	const line = `everseal certificate 1 {"issuer":"ca","names":["example.com"],"keyType":"ecdsa-p256","obtained":"2026-11-01T12:00:00.5Z"}`
	at := time.Date(2026, 11, 1, 12, 0, 0, 500_000_000, time.UTC)
	for _, test := range []struct {
		data  string
		known bool
	}{
		{line + "\nrubbish", true},
		{line, false},
		{strings.Replace(line, "certificate 1", "certificate 99", 1) + "\n", false},
		{"", false},
		{"rubbish\n" + line + "\n", false},
	} {
		got, known := record.Obtained([]byte(test.data))
		if known != test.known || known && !got.Equal(at) {
			t.Errorf("%.60q: %v, %t", test.data, got, known)
		}
		if same := record.ObtainedAt([]byte(test.data), at.Local()); known && !same || record.ObtainedAt([]byte(test.data), at.Add(1)) {
			t.Errorf("%.60q: it was obtained at %v", test.data, at)
		}
	}
}
