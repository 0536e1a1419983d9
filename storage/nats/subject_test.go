package nats

import (
	"strings"
	"testing"

	"github.com/everseal/everseal/storage"
)

// The subjects are a format: what is stored is found by them.
func TestSubjects(t *testing.T) {
	for key, want := range map[string]string{
		"certificates/example.com": "certificates.example/com",
		"a/*.example.com":          "a.=2a/example/com",
		"2001:db8::1":              "2001=3adb8=3a=3a1",
		"x_y-z/+=@~,":              "x_y-z.=2b=3d=40=7e=2c",
		".a/b.":                    "/a.b/",
	} {
		if got := subjectOf(key); got != want {
			t.Errorf("the subject of %q is %q, want %q", key, got, want)
		}
		if got, ok := keyOf(want); !ok || got != key {
			t.Errorf("the key of %q is %q, %t", want, got, ok)
		}
	}
	for _, subject := range []string{"", "A", "a..b", "=2", "=2A", "=61", "a=", "./", "a.>", "*", "=c3=a4", strings.Repeat("a", storage.MaxKey+1)} {
		if key, ok := keyOf(subject); ok {
			t.Errorf("the subject %q has the key %q", subject, key)
		}
	}
}

func FuzzSubjects(f *testing.F) {
	f.Add("certificates/*.example.com")
	f.Fuzz(func(t *testing.T, text string) {
		if key, ok := keyOf(text); ok && subjectOf(key) != text {
			t.Errorf("%q is the subject of no key", text)
		}
		if storage.CheckKey(text) != nil {
			return
		}
		if key, ok := keyOf(subjectOf(text)); !ok || key != text {
			t.Errorf("%q comes back as %q", text, key)
		}
	})
}

func TestRevisions(t *testing.T) {
	nonce := strings.Repeat("A", nonceLength)
	for _, v := range []version{{1, ""}, {1<<63 + 5, nonce}} {
		if got, ok := versionOf(v.revision()); !ok || got != v {
			t.Errorf("%v comes back as %v", v, got)
		}
	}
	for _, r := range []storage.Revision{"", "-", "1", "0-", "01-", "1-x", "+1-", "99999999999999999999-", storage.Revision("1-" + nonce + "A")} {
		if v, ok := versionOf(r); ok {
			t.Errorf("%q is taken for %v", r, v)
		}
	}
}
