package migrate

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/certmanager/internal/record"
	"github.com/everseal/everseal/storage"
)

func TestParseINI(t *testing.T) {
	text := "account = outside\n[renewalparams]\n# account = commented\naccount = 5f1d # a remark\nserver = \"https://ca.example/#x\"\nkey=value\nlist = a, b,\n  'quoted' = 'x=y'\nbroken\n[[webroot_map]]\nserver = inner\n[ other ] # remark\nserver = other\n"
	want := map[string]string{"account": "5f1d", "server": "https://ca.example/#x", "key": "value", "list": "a, b,", "quoted": "x=y"}
	if got := parseINI([]byte(text), "renewalparams"); !maps.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if got := parseINI([]byte(text), "other"); got["server"] != "other" {
		t.Errorf("%q", got)
	}
}

func TestParseAssignments(t *testing.T) {
	for line, want := range map[string]string{
		"X='a b'": "a b", `X="a b"`: "a b", "X=a": "a", "X=a # remark": "a", " export X='a'  # b": "a", "X=": "", "X=''": "",
		"X='$(id)'": "$(id)", "X='__ACME_BASE64__START_aGk=__ACME_BASE64__END_'": "hi", "X='__ACME_BASE64__START_!__ACME_BASE64__END_'": "__ACME_BASE64__START_!__ACME_BASE64__END_",
		"X=https://ca.example/directory": "https://ca.example/directory",
	} {
		if got, ok := parseAssignments([]byte(line))["X"]; !ok || got != want {
			t.Errorf("%s: %q, %t, want %q", line, got, ok, want)
		}
	}
	for _, line := range []string{"X=$(id)", "X=`id`", `X="$(id)"`, "X='a'$(id)", "X='a'; id", "X=a;id", "X='a", `X="a`, "X=a id", "X =a", "1X=a", "X-=a", "echo X=a", "#X=a", "X=a|id", `X="a\"`, "X='a'b'c'"} {
		if got, ok := parseAssignments([]byte(line))["X"]; ok {
			t.Errorf("%s: %q", line, got)
		}
	}
}

func FuzzParseINI(f *testing.F) {
	f.Add([]byte("[renewalparams]\naccount = 5f1d\nserver = \"https://ca.example\"\n[[x]]\n"))
	f.Add([]byte("[[[]]]\n=\n'='\n[\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		for key, value := range parseINI(text, "renewalparams") {
			if strings.ContainsAny(key+value, "\n") {
				t.Errorf("%q = %q", key, value)
			}
		}
	})
}

// A value is taken as it is, or from an encoding: nothing else is made of a script.
func FuzzParseAssignments(f *testing.F) {
	f.Add([]byte("Le_API='https://ca.example'\nX=\"y\" # z\nX=$(id)\n"))
	f.Add([]byte("X='__ACME_BASE64__START_aGk=__ACME_BASE64__END_'\n"))
	f.Fuzz(func(t *testing.T, script []byte) {
		for name, value := range parseAssignments(script) {
			if !isVariable(name) || !bytes.Contains(script, []byte(value)) && !bytes.Contains(script, []byte("__ACME_BASE64__START_")) {
				t.Errorf("%q = %q", name, value)
			}
		}
	})
}

// newRun returns a run of a manager that manages nothing.
func newRun(t *testing.T) *run {
	m, err := certmanager.New(certmanager.Config{Issuers: []certmanager.Issuer{new(certmanager.LocalCA)}, Storage: new(storage.Memory)})
	if err != nil {
		t.Fatal(err)
	}
	r, err := (&Migration{Manager: m, All: true, DryRun: true}).begin()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// checkReport checks what must hold of the report whatever the source is.
func checkReport(t *testing.T, report *Report, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	for _, item := range append(report.Taken, report.Left...) {
		if item.Kind == "" || len([]rune(item.Reason)) > maxText+1 {
			t.Errorf("%+v", item)
		}
	}
	if lines := strings.Count(report.String(), "\n"); lines != 1+len(report.Taken)+len(report.Left) {
		t.Errorf("%d lines for %d items", lines, len(report.Taken)+len(report.Left))
	}
}

func FuzzTraefik(f *testing.F) {
	f.Add([]byte(`{"le": {"Account": {"Email": "a@b.c", "Registration": {"body": {}, "uri": "https://ca.example/1"}, "PrivateKey": "AAAA"}, "Certificates": [{"domain": {"main": "a.b"}, "certificate": "AAAA", "key": "AAAA", "Store": "default"}]}}`))
	f.Add([]byte(`{"Account": null, "Certificates": [1, {"certificate": "!"}], "DomainsCertificate": {}}`))
	f.Add([]byte(`{"le": {"Certificates": [{`))
	f.Add([]byte(`[[[{"a": {}}]]]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		r := newRun(t)
		report, err := r.finish(t.Context(), func(ctx context.Context, r *run) error { return r.traefikFile(ctx, bytes.NewReader(text)) })
		checkReport(t, report, err)
	})
}

func FuzzSecrets(f *testing.F) {
	f.Add([]byte(`{"kind": "List", "items": [{"kind": "Secret", "type": "kubernetes.io/tls", "metadata": {"name": "a"}, "data": {"tls.crt": "AAAA", "tls.key": "AAAA"}}]}`))
	f.Add([]byte(`{"type": "kubernetes.io/tls", "stringData": {"tls.crt": "x"}} {"type": "kubernetes.io/tls", "data": {"tls.crt": 1}}`))
	f.Add([]byte(`{"items": [{"type": "kubernetes.io/tls", "data": []}, null, 1]`))
	f.Add([]byte(`{"items": null, "type": 1} 5`))
	f.Fuzz(func(t *testing.T, text []byte) {
		report, err := newRun(t).Secrets(t.Context(), bytes.NewReader(text))
		checkReport(t, report, err)
	})
}

func FuzzAccount(f *testing.F) {
	f.Add([]byte(`{"kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA", "d": "AAAA"}`))
	f.Add([]byte(`{"kty": "RSA", "n": "AQ", "e": "AQAB", "d": "AQ", "p": "AQ", "q": "AQ"}`))
	f.Add([]byte(`{"body": {"status": "valid"}, "uri": "https://ca.example/1"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if key, err := parseJWK(text); (key == nil) != (err != nil) {
			t.Errorf("%v, %v", key, err)
		}
		if key, err := record.ParseKeyDER(text); (key == nil) != (err != nil) {
			t.Errorf("%v, %v", key, err)
		}
		if _, _, err := parseRegistration(text); err != nil && strings.Contains(err.Error(), string(text)) && len(text) > 3 {
			t.Errorf("the error shows the text: %v", err)
		}
	})
}

// TestLongKeys reads keys that would take long to check.
func TestLongKeys(t *testing.T) {
	long := make([]byte, maxFile)
	if _, err := record.ParseKeyDER(long); !errors.Is(err, record.ErrLongKey) {
		t.Error(err)
	}
	if _, err := parseJWK(long); !errors.Is(err, record.ErrLongKey) {
		t.Error(err)
	}
}

// endless is JSON of one item that never ends.
type endless struct{ begun bool }

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	if !e.begun {
		e.begun = true
		return copy(p, `{"items": [{"type": "`), nil
	}
	return copy(p, bytes.Repeat([]byte("x"), len(p))), nil
}

// TestEndless reads an item that never ends, and many short ones, of which together are more than one may be.
func TestEndless(t *testing.T) {
	report, err := newRun(t).Secrets(t.Context(), new(endless))
	if err != nil || len(report.Left) != 1 || !strings.Contains(report.Left[0].Reason, "longer than") {
		t.Errorf("%v, %v", report, err)
	}
	one := fmt.Sprintf(`{"type": "Opaque", "data": {"tls.crt": "%s"}},`, strings.Repeat("AAAA", 100_000))
	text := `{"items": [` + strings.Repeat(one, 20) + `{"type": "kubernetes.io/tls"}]}`
	report, err = newRun(t).Secrets(t.Context(), strings.NewReader(text))
	if err != nil || len(report.Left) != 1 || !strings.Contains(report.Left[0].Reason, "no private key") {
		t.Errorf("%v, %v", report, err)
	}
}

// repeated gives the text, and then the other again and again, so many bytes of it.
func repeated(text, again string, n int) io.Reader {
	return io.MultiReader(strings.NewReader(text), io.LimitReader(&forever{text: again}, int64(n)))
}

// A forever reader gives the text without end.
type forever struct{ text string }

func (f *forever) Read(p []byte) (int, error) {
	return copy(p, strings.Repeat(f.text, len(p)/len(f.text)+1)), nil
}

// TestLongSpace has more space between two Secrets than an item may be long: the second one is not passed over in silence.
func TestLongSpace(t *testing.T) {
	const one = `{"type": "kubernetes.io/tls", "metadata": {"name": "a"}}`
	for _, n := range []int{maxItem - 10, maxItem + 10} {
		in := io.MultiReader(repeated(`{"items": [`+one, " ", n), repeated(","+one, " ", n), strings.NewReader(`], "kind": "List"}`))
		report, err := newRun(t).Secrets(t.Context(), in)
		if err != nil || len(report.Left) != 2 {
			t.Errorf("%d bytes of space: %v, %v", n, report, err)
		}
	}
}

// TestDeepNesting passes over what is nested without end: it does not take memory without end.
func TestDeepNesting(t *testing.T) {
	for _, text := range []string{"[", `{"a":`} {
		counted := &countedReader{in: repeated(`{"other": `, text, 64<<20)}
		report, err := newRun(t).Secrets(t.Context(), counted)
		if err != nil || len(report.Left) != 1 || counted.n > 1<<20 {
			t.Errorf("%s: %d bytes were read: %v, %v", text, counted.n, report, err)
		}
	}
}

// A countedReader counts what is read.
type countedReader struct {
	in io.Reader
	n  int
}

func (c *countedReader) Read(p []byte) (int, error) {
	n, err := c.in.Read(p)
	c.n += n
	return n, err
}

// TestKeysInWrongPlaces has a private key where JSON has another kind of value: the report does not show it.
func TestKeysInWrongPlaces(t *testing.T) {
	for _, text := range []string{`"MHcCAQEEIsecret"`, `{"items": "MHcCAQEEIsecret"}`, `{"le": "MHcCAQEEIsecret"}`, `{"le": {"Certificates": "MHcCAQEEIsecret"}}`} {
		secrets, err := newRun(t).Secrets(t.Context(), strings.NewReader(text))
		if err != nil {
			t.Error(err)
		}
		traefik, err := newRun(t).finish(t.Context(), func(ctx context.Context, r *run) error { return r.traefikFile(ctx, strings.NewReader(text)) })
		if err != nil {
			t.Error(err)
		}
		if strings.Contains(secrets.String()+traefik.String(), "MHc") || len(secrets.Left)+len(traefik.Left) == 0 {
			t.Errorf("%s: the reports are\n%v%v", text, secrets, traefik)
		}
	}
}

// TestLongTexts has texts of the source's that are long: reports have little of them.
func TestLongTexts(t *testing.T) {
	r := newRun(t)
	if err := r.found(t.Context(), certificate{source: strings.Repeat("s", maxItem), ca: strings.Repeat("c", maxFile)}); err != nil {
		t.Fatal(err)
	}
	if item := r.report.Left[0]; len(item.Source)+len(item.CA) > 4*maxText {
		t.Errorf("a report has %d bytes of a source's name, and %d of a CA's", len(item.Source), len(item.CA))
	}
}

// TestParseJWK reads keys of which the two parts belong together, and do not.
func TestParseJWK(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []*ecdsa.PrivateKey{key, other, {PublicKey: key.PublicKey, D: new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 256), big.NewInt(1))}} {
		//lint:ignore SA1019 such a key can be made in no other way
		text, err := json.Marshal(jose.JSONWebKey{Key: &ecdsa.PrivateKey{PublicKey: key.PublicKey, D: d.D}})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := parseJWK(text); (err == nil) != (d == key) {
			t.Errorf("%v, %v", got, err)
		}
	}
}

// TestSignedBy finds out which CA has signed a certificate, whatever the source says of the next one's.
func TestSignedBy(t *testing.T) {
	const other = "https://ca.example/directory"
	m, err := certmanager.New(certmanager.Config{
		Issuers: []certmanager.Issuer{&certmanager.ACME{DirectoryURL: acme.LetsEncrypt}, &certmanager.ACME{DirectoryURL: other}}, AgreeToTerms: true, Storage: new(storage.Memory),
	})
	if err != nil {
		t.Fatal(err)
	}
	only := newRun(t).Manager
	for _, test := range []struct {
		manager                             *certmanager.Manager
		said, directory, organization, want string
	}{
		{m, "", "", "Let's Encrypt", acme.LetsEncrypt},
		{m, other, "", "Let's Encrypt", acme.LetsEncrypt},
		{m, "", other, "Let's Encrypt", acme.LetsEncrypt},
		{only, other, "", "Let's Encrypt", other}, // a proxy
		{m, "acme-v02.api.letsencrypt.org", "", "Let's Encrypt", "acme-v02.api.letsencrypt.org"},
		{m, acme.LetsEncrypt, "", "Another CA", ""},
		{m, "", acme.LetsEncrypt, "Another CA", ""},
		{m, "acme-v02.api.letsencrypt.org", "", "", ""},
		{m, other, acme.LetsEncrypt, "Another CA", other},
		{m, "", "", "Another CA", ""},
		{m, "", "", "(STAGING) Let's Encrypt", acme.LetsEncryptStaging},
		{m, "", "", "Let's Encrypt (STAGING)", acme.LetsEncryptStaging},
		{m, other, "", "(STAGING) Let's Encrypt", other},
		{only, other, "", "(STAGING) Let's Encrypt", acme.LetsEncryptStaging},
		{m, acme.LetsEncryptStaging, "", "Another CA", acme.LetsEncryptStaging},
	} {
		r := &run{Migration: &Migration{Manager: test.manager, Directory: test.directory}}
		leaf := &x509.Certificate{Issuer: pkix.Name{Organization: []string{test.organization}}}
		if got := r.signedBy(test.said, leaf); got != test.want {
			t.Errorf("%+v: %q", test, got)
		}
	}
}
