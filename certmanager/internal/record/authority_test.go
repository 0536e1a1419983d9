package record_test

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"strings"
	"testing"

	"github.com/everseal/everseal/certmanager/internal/record"
)

// newAuthority returns a root and an intermediate below it.
func newAuthority(tb testing.TB) *record.Authority {
	tb.Helper()
	root := newCA(tb, nil, "Root", 3650)
	between := newCA(tb, root, "Issuing", 730)
	return &record.Authority{
		AuthorityMeta: record.AuthorityMeta{Permitted: []string{"10.0.0.0/8", "internal"}, Excluded: []string{"guests.internal"}},
		Root:          record.SigningCertificate{Key: record.Key{Signer: root.key}, Certificate: root.parsed},
		Intermediate:  record.SigningCertificate{Key: record.Key{Signer: between.key}, Certificate: between.parsed},
	}
}

func TestAuthority(t *testing.T) {
	a := newAuthority(t)
	value := encode(t, a)
	if !bytes.HasPrefix(value, []byte(`everseal authority 1 {"permitted":["10.0.0.0/8","internal"],"excluded":["guests.internal"]}`+"\n-----BEGIN PRIVATE KEY-----\n")) {
		t.Errorf("it is stored as %s", value)
	}
	again, err := record.DecodeAuthority(value)
	if err != nil || shown(again) != shown(a) {
		t.Errorf("%v: it is read as\n%s\nwant\n%s", err, shown(again), shown(a))
	}
}

// A record that is damaged, in whatever way, is refused with the reason and without its keys.
func TestDamagedAuthority(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	sound := string(encode(t, a))
	mixed, strange := *a, *a
	mixed.Intermediate = other.Intermediate
	strange.Root.Key = other.Root.Key
	first, parts, _ := strings.Cut(sound, "\n")
	for value, want := range map[string]string{
		"":                                      "first line",
		first:                                   "all there is",
		strings.Replace(sound, " 1 ", " 2 ", 1): "version",
		strings.Replace(sound, `{"`, `{`, 1):    "the JSON in its first line",
		sound + parts:                           "more than two keys",
		sound[:len(sound)/2]:                    "cut off",
		sound[:len(sound)-30]:                   "the intermediate: its certificate",
		string(encode(t, &mixed)):               "not signed by the root",
		string(encode(t, &strange)):             "the root: its private key is that of another",
		first + "\n":                            "the root: its private key",
	} {
		_, err := record.DecodeAuthority([]byte(value))
		wantRefusal(t, err, want)
		if err != nil && strings.Contains(err.Error(), "MIG") {
			t.Errorf("the key stands in %v", err)
		}
	}
	foreign := *a
	foreign.Root.Key = record.Key{Signer: struct{ crypto.Signer }{newKey(t)}}
	keyless, bare := *a, *a
	keyless.Root.Key, bare.Intermediate.Certificate = record.Key{}, (*x509.Certificate)(nil)
	for want, b := range map[string]*record.Authority{"can't be stored": &foreign, "lacks its private key": &keyless, "or its certificate": &bare} {
		_, err := b.Encode()
		wantRefusal(t, err, want)
	}
}

func TestAuthorityKey(t *testing.T) {
	if key := record.AuthorityKey("local"); key != "authorities/local" {
		t.Error(key)
	}
}
