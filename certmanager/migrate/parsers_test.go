package migrate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

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
