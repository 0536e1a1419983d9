package record_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager/internal/record"
)

// The files of testdata/version1 are values as commit 058d5c9 stored them, each at its storage key. They were
// written by a test inside its package certmanager: a record, a journal and an accountRecord of made-up contents (what
// the tests below expect), each given to the encoding of that package, and written at what recordKey, workKey and
// account.key returned:
//
//	r := &record{meta: recordMeta{Issuer: issuer.ID(), Names: s.names(), …}, key: key, chain: chain, leaf: leaf}
//	value, err := r.encode()                         // at recordKey(issuer, &s)
//	j.begin(ECDSAP256); j.Notes, err = json.Marshal(notes{OrderURL: …, Proofs: …})
//	value, err = j.encode()                          // at workKey(issuer, &s); likewise after j.fail(…), and empty
//	value, err = json.Marshal(accountRecord{…})      // at newAccount(&ACME{…}).key()
//
// The issuer was ACME{DirectoryURL: "https://ca.example.com/directory"}. The private keys protect nothing.
const version1 = "testdata/version1/"

// goldenIssuer is the ID of the issuer that the files are of.
const goldenIssuer = "ca.example.com-84b92c5c"

// golden returns the file and the value that was stored at the key.
func golden(tb testing.TB, folder, key string) []byte {
	tb.Helper()
	value, err := os.ReadFile(filepath.Join(folder, filepath.FromSlash(key)))
	if err != nil {
		tb.Fatal(err)
	}
	return value
}

// countFiles fails the test unless the folder has so many files: none is left out of the tests.
func countFiles(t *testing.T, folder string, want int) {
	t.Helper()
	n := 0
	err := filepath.WalkDir(folder, func(_ string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			n++
		}
		return err
	})
	if err != nil || n != want {
		t.Errorf("%s has %d files, %d are tested (%v)", folder, n, want, err)
	}
}

func TestGoldenCertificates(t *testing.T) {
	countFiles(t, version1+"certificates", 3)
	var shared record.Intermediates
	for _, test := range []struct {
		names   []string
		keyType string
		want    record.Certificate
	}{
		{[]string{"example.com"}, "ecdsa-p256", record.Certificate{Serial: "0abc00", Meta: record.Meta{URL: "https://ca.example.com/certificate/0?a=1&b=<2>"}}},
		{[]string{"example.com"}, "rsa-2048", record.Certificate{Serial: "0abc01", Meta: record.Meta{URL: "https://ca.example.com/certificate/1?a=1&b=<2>", OnDemand: true}}},
		{[]string{"192.0.2.7", "example.org", "www.example.org"}, "ecdsa-p384", record.Certificate{Serial: "0abc02", Meta: record.Meta{URL: "https://ca.example.com/certificate/2?a=1&b=<2>"}}},
	} {
		var identifiers []acme.Identifier
		for _, name := range test.names {
			id, err := acme.ParseIdentifier(name)
			if err != nil {
				t.Fatal(err)
			}
			identifiers = append(identifiers, id)
		}
		key := record.CertificateKey(goldenIssuer, record.SubjectName(test.names), test.keyType)
		value := golden(t, version1, key)
		c, err := record.DecodeCertificate(value, identifiers, &shared)
		if err != nil {
			t.Errorf("%s: %v", key, err)
			continue
		}
		want := test.want
		want.Issuer, want.Names, want.KeyType, want.Obtained = goldenIssuer, test.names, test.keyType, begin.Add(123456789)
		want.Key, want.Chain, want.NotBefore, want.NotAfter, want.End = c.Key, c.Chain, begin, begin.AddDate(0, 0, 90), begin.AddDate(0, 0, 90)
		if shown(c) != shown(&want) || len(c.Chain) != 3 || c.Key.Signer == nil {
			t.Errorf("%s:\n%s\nwant\n%s", key, shown(c), shown(&want))
		}
		if again := encode(t, c); !bytes.Equal(again, value) {
			t.Errorf("%s: is written as\n%s", key, again)
		}
	}
}

func TestGoldenWork(t *testing.T) {
	countFiles(t, version1+"work", 3)
	for subject, check := range map[string]func(j *record.Journal) bool{
		"empty.example.com": func(j *record.Journal) bool { return j.IsZero() },
		"failed.example.com": func(j *record.Journal) bool {
			return j.Failed.Equal(begin) && j.Next.Equal(begin.Add(time.Hour)) && j.Refusals == 1 && j.Rotation == 1 &&
				j.Interruptions == 2 && j.Key.IsZero() && j.Notes == nil &&
				j.Error == `certmanager: failed.example.com: too many certificates (5) already issued for "example.com" <é> (rateLimited, HTTP 429); it asks to wait 1h0m0s`
		},
		"underway.example.com": func(j *record.Journal) bool {
			return j.Key.Signer != nil && j.Failure == record.Failure{} && string(j.Notes) ==
				`{"orderURL":"https://ca.example.com/order/7","proofs":[{"type":"http-01","url":"https://ca.example.com/challenge/8","token":"dG9rZW4",`+
					`"status":"","identifier":{"type":"dns","value":"underway.example.com"},"keyAuthorization":"dG9rZW4.dGh1bWI",`+
					`"accountURL":"https://ca.example.com/account/1","directoryURL":"https://ca.example.com/directory"}]}`
		},
	} {
		value := golden(t, version1, record.WorkKey(goldenIssuer, subject, "ecdsa-p256"))
		w, err := record.DecodeWork(value, goldenIssuer)
		if err != nil || len(w.Journals) != 1 || !check(w.Journal(goldenIssuer)) || w.Attempts != 0 || (w.Failure != record.Failure{}) {
			t.Errorf("%s: %v, %s", subject, err, shown(w))
		}
		var adopted record.Work
		if found, err := adopted.Adopt(goldenIssuer, value); !found || err != nil || shown(adopted) != shown(w) {
			t.Errorf("%s, adopted: %v, %s", subject, err, shown(adopted))
		}
	}
}

func TestGoldenAccounts(t *testing.T) {
	countFiles(t, version1+"accounts", 3)
	for _, test := range []struct{ key, directory, url string }{
		{record.AccountKey(goldenIssuer, ""), "https://ca.example.com/directory", "https://ca.example.com/account/1"},
		{record.AccountKey(goldenIssuer, "kid-1"), "https://ca.example.com/directory", "https://ca.example.com/account/2"},
		{record.AccountKey("unregistered.example.com-2f9f6123", ""), "https://unregistered.example.com/directory", ""},
	} {
		value := golden(t, version1, test.key)
		a, err := record.DecodeAccount(value)
		if err != nil || a.Directory != test.directory || a.URL != test.url || a.Key.Signer == nil || !a.NextKey.IsZero() {
			t.Errorf("%s: %v, %+v", test.key, err, a)
			continue
		}
		if again := encode(t, &a); !bytes.Equal(again, value) {
			t.Errorf("%s: is written as %s", test.key, again)
		}
	}
}
