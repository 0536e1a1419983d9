package record_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/everseal/everseal/certmanager/internal/record"
)

var update = flag.Bool("update", false, "write the files of testdata/current")

// The files of testdata/current hold what the encoding adds to version 1. They are written with the keys and the chain of
// testdata/version1 by go test -run TestGoldenCurrent -update. A file that is there is a format that was stored: it
// is not to be written anew for other bytes, but another file and another version added.
const current = "testdata/current"

func TestGoldenCurrent(t *testing.T) {
	values := map[string]interface{ Encode() ([]byte, error) }{
		"certificate-members":   goldenMembers(t),
		"certificate-reference": goldenReference(t),
		"certificate-imported":  goldenImported(t),
		"work":                  goldenWork(t),
		"revocation":            goldenRevocation(t),
		"tickets":               record.TicketKeys{{Secret: [32]byte{0: 1, 31: 2}, From: begin}, {Secret: [32]byte{3}, From: begin.Add(8 * time.Hour)}},
		"work-paused":           &record.Work{Journals: map[string]*record.Journal{"a.example.com-01234567": {Failure: record.Failure{Next: begin.AddDate(0, 0, 7), Failed: begin, Error: "visit", Paused: true}}}},
		"work-kind":             &record.Work{Journals: map[string]*record.Journal{"a.example.com-01234567": {Failure: record.Failure{Next: begin.AddDate(0, 0, 7), Failed: begin, Error: "too many", Kind: "rateLimit"}}}},
		"work-empty":            new(record.Work),
		"budget":                &record.Budget{Full: begin.Add(time.Hour), Since: begin},
		"budget-corrected":      &record.Budget{Full: begin.Add(time.Hour), Since: begin, Corrected: begin.Add(123456789)},
		"work-plan":             goldenPlan(),
		"work-absence":          &record.Work{Absence: record.Absence{Since: begin, Last: begin.AddDate(0, 0, 3), Checks: 4, Gone: true}},
		"account-nextkey":       goldenAccount(t),
		"authority":             goldenAuthority(t),
		"deletion":              &record.Deletion{Deleted: begin.Add(time.Hour), Obtained: begin.Add(123456789), End: begin.AddDate(0, 3, 0)},
		"deletion-unreadable":   &record.Deletion{Deleted: begin, Obtained: begin},
		"account-reference": &record.Account{Directory: "https://ca.example.com/directory", Key: record.Key{Reference: "kms://eu/keys/7"},
			NextKey: record.Key{Reference: "kms://eu/keys/8"}, URL: "https://ca.example.com/account/1"},
		"work-unused": &record.Work{Unused: record.UnusedKeys{{Reference: "kms://eu/keys/3"}, {Reference: "kms://eu/keys/4", Delete: begin}}},
		"account-deactivated": &record.Account{Directory: "https://ca.example.com/directory", Key: record.Key{Reference: "kms://eu/keys/7"},
			URL: "https://ca.example.com/account/1", Unused: record.UnusedKeys{{Reference: "kms://eu/keys/6", Delete: begin}}, Deactivated: begin},
	}
	for name, value := range values {
		encoded := encode(t, value)
		if *update {
			if err := os.WriteFile(filepath.Join(current, name), encoded, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if want := golden(t, current, name); !bytes.Equal(encoded, want) {
			t.Errorf("%s: is written as\n%s\nwant\n%s", name, encoded, want)
		}
		if got, want := decodeCurrent(t, name), given(value); got != want {
			t.Errorf("%s: is read as\n%s\nwant\n%s", name, got, want)
		}
	}
	countFiles(t, current, len(values))
}

// TestIsOnDemand asks records of both kinds, and what is none.
func TestIsOnDemand(t *testing.T) {
	for name, want := range map[string]bool{"certificate-members": true, "certificate-imported": false, "certificate-reference": false, "work": false} {
		if got := record.IsOnDemand(golden(t, current, name)); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	if record.IsOnDemand(nil) {
		t.Error("nothing is the record of a certificate on demand")
	}
}

// given shows what was encoded.
func given(value interface{ Encode() ([]byte, error) }) string {
	switch v := value.(type) {
	case *record.Work:
		return shown(*v)
	case *record.Account:
		return shown(*v)
	case *record.Revocation:
		return shown(*v)
	case *record.Budget:
		return shown(*v)
	case *record.Deletion:
		return shown(*v)
	}
	return shown(value)
}

// decodeCurrent shows what is read of the file.
func decodeCurrent(t *testing.T, name string) string {
	t.Helper()
	kind, _, _ := strings.Cut(name, "-")
	data := golden(t, current, name)
	var value any
	var err error
	switch kind {
	case "certificate":
		value, err = record.DecodeCertificate(data, dns("example.com"), new(record.Intermediates))
	case "work":
		value, err = record.DecodeWork(data, "other")
	case "account":
		value, err = record.DecodeAccount(data)
	case "authority":
		value, err = record.DecodeAuthority(data)
	case "budget":
		value, err = record.DecodeBudget(data)
	case "deletion":
		value, err = record.DecodeDeletion(data)
	case "revocation":
		value, err = record.DecodeRevocation(data)
	case "tickets":
		value, err = record.DecodeTicketKeys(data)
	}
	if err != nil {
		t.Errorf("%s: %v", name, err)
	}
	return shown(value)
}

func goldenCertificate(t *testing.T) *record.Certificate {
	t.Helper()
	value := golden(t, version1, record.CertificateKey(goldenIssuer, "example.com", "ecdsa-p256"))
	c, err := record.DecodeCertificate(value, dns("example.com"), new(record.Intermediates))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func goldenMembers(t *testing.T) *record.Certificate {
	c := goldenCertificate(t)
	c.OnDemand, c.Predecessor = true, "0abc"
	c.Validations = []record.Validation{{Name: "example.com", Type: "http-01", Validated: begin.Add(-time.Minute)}, {Name: "www.example.com", Type: "dns-01"}}
	return c
}

func goldenReference(t *testing.T) *record.Certificate {
	c := goldenCertificate(t)
	c.Key = record.Key{Reference: "arn:aws:kms:eu-central-1:123456789012:key/<7>"}
	return c
}

func goldenImported(t *testing.T) *record.Certificate {
	c := goldenCertificate(t)
	c.Imported = true
	return c
}

func goldenRevocation(t *testing.T) *record.Revocation {
	c := goldenCertificate(t)
	return &record.Revocation{Issuer: goldenIssuer, Subject: "example.com", KeyType: "ecdsa-p256", Certificate: c.Chain[0], Key: c.Key, Reason: 4, Replace: true, Requested: begin}
}

func goldenWork(t *testing.T) *record.Work {
	failed := record.Failure{Next: begin.Add(time.Hour), Failed: begin, Error: "the storage is full: \"<é>\""}
	return &record.Work{Attempts: 3, Failure: failed, Journals: map[string]*record.Journal{
		"a.example.com-01234567": {Key: goldenCertificate(t).Key, Notes: []byte(`{"orderURL":"https://a.example.com/order/7","b":"\u003c"}`), Rotation: 1, Interruptions: 2},
		"b.example.com-01234567": {Key: record.Key{Reference: "kms://eu/keys/7"}, Notes: []byte("{ \"no compact\": \"JSON\" }"), Refusals: 4, Failure: failed},
	}}
}

func goldenPlan() *record.Work {
	return &record.Work{Plan: record.Plan{Issuer: "a.example.com-01234567", Serial: "0abc", Start: begin.AddDate(0, 2, 0), End: begin.AddDate(0, 2, 2),
		Renewal: begin.AddDate(0, 2, 1), Explanation: "https://a.example.com/why?a=1&b=2", Polled: begin, Next: begin.Add(6 * time.Hour), Failures: 2, Early: 1}}
}

// goldenAuthority returns what the file has, for whose signatures there is no recipe, or with -update a new one if there is
// no file.
func goldenAuthority(t *testing.T) *record.Authority {
	t.Helper()
	const name = "authority"
	if _, err := os.Stat(filepath.Join(current, name)); *update && err != nil {
		return newAuthority(t)
	}
	a, err := record.DecodeAuthority(golden(t, current, name))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func goldenAccount(t *testing.T) *record.Account {
	t.Helper()
	a, err := record.DecodeAccount(golden(t, version1, record.AccountKey(goldenIssuer, "")))
	if err != nil {
		t.Fatal(err)
	}
	b, err := record.DecodeAccount(golden(t, version1, record.AccountKey(goldenIssuer, "kid-1")))
	if err != nil {
		t.Fatal(err)
	}
	a.NextKey = b.Key
	return &a
}
