package kubernetes

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/internal/server"
	"github.com/everseal/everseal/storage/internal/wait"
)

func TestTLSSecretName(t *testing.T) {
	for name, want := range map[string]string{
		"example.com": "tls.example.com", "*.example.com": "tls-wildcard.example.com", "wildcard.example.com": "tls.wildcard.example.com",
		"192.0.2.1": "tls.192.0.2.1", "2001:db8::": "tls.2001-0db8-0000-0000-0000-0000-0000-0000", "xn--bcher-kva.example": "tls.xn--bcher-kva.example",
		"": "", "Example.com": "", "a_b.example": "", "*": "", "*.*.example": "", "a/b": "", strings.Repeat("a.", 124) + "aa": "",
	} {
		got, err := TLSSecretName(name)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v; want %q", name, got, err, want)
		}
	}
}

// tlsSecret returns the Secret of the name once f is content with it.
func tlsSecret(t *testing.T, s *server.Server, name string, f func(*tls.Certificate) bool) secret {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	reader := open(t, place(s, s.Address(), "admin"))
	for {
		var found secret
		err := reader.do(ctx, request{method: http.MethodGet, name: name}, &found)
		if err == nil {
			pair, err := tls.X509KeyPair(found.Data["tls.crt"], found.Data["tls.key"])
			if err != nil {
				t.Fatal(err)
			}
			if found.Type == "kubernetes.io/tls" && f(&pair) {
				return found
			}
		}
		if wait.For(ctx, 10*time.Millisecond) != nil {
			t.Fatalf("there is no such Secret %s: %v", name, err)
		}
	}
}

// What a manager obtains is in a Secret, and what replaces it, too, by rbac.yaml's rights; also from a sealed storage.
func TestManagersCertificates(t *testing.T) {
	s := apiServer(t)
	store := open(t, place(s, s.Address(), "program"))
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	keys, err := storage.SealingKeys(key)
	if err != nil {
		t.Fatal(err)
	}
	sealed := &storage.Sealed{Store: store, Keys: keys}
	m, err := certmanager.New(certmanager.Config{
		Names: []string{"one.internal"}, Subjects: []certmanager.Subject{{Names: []string{"*.two.internal", "two.internal"}}},
		Issuers: []certmanager.Issuer{&certmanager.LocalCA{}}, Storage: sealed, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	writing := &TLSSecrets{Store: store, Source: sealed, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))}
	go func() { ended <- m.Run(ctx) }()
	go func() { ended <- writing.Run(ctx) }()
	defer func() {
		cancel()
		<-ended
		<-ended
	}()
	if err := m.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	isServed := func(name string) func(*tls.Certificate) bool {
		return func(found *tls.Certificate) bool {
			served, ok := m.Certificate(name)
			return ok && len(served.Certificate) == len(found.Certificate) && bytes.Equal(served.Certificate[0], found.Certificate[0])
		}
	}
	first := tlsSecret(t, s, "tls.one.internal", isServed("one.internal"))
	tlsSecret(t, s, "tls-wildcard.two.internal", isServed("two.internal"))
	if err := m.Renew(ctx, "one.internal"); err != nil {
		t.Fatal(err)
	}
	second := tlsSecret(t, s, "tls.one.internal", isServed("one.internal"))
	if second.Metadata.UID != first.Metadata.UID || second.Metadata.ResourceVersion == first.Metadata.ResourceVersion {
		t.Errorf("the Secret was not replaced: %+v, then %+v", first.Metadata, second.Metadata)
	}
}

// A stored is the record of a certificate in a storage of its own, by a manager.
func storedCertificates(t *testing.T, name string, n int) (key string, values [][]byte) {
	t.Helper()
	source := new(storage.Memory)
	m, err := certmanager.New(certmanager.Config{Names: []string{name}, Issuers: []certmanager.Issuer{&certmanager.LocalCA{}}, Storage: source, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	defer func() {
		cancel()
		<-ended
	}()
	if err := m.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	for range n {
		if err := m.Renew(ctx, name); err != nil { // which returns when it is stored, as Wait does not
			t.Fatal(err)
		}
		for record, err := range storage.Scan(ctx, source, "certificates", "") {
			if err != nil {
				t.Fatal(err)
			}
			key = record.Key
			values = append(values, record.Value)
		}
	}
	return key, values
}

// The latest certificate stays, whoever writes last; another program's Secret and what others add stay too.
func TestTLSSecretOfOthers(t *testing.T) {
	admin, store := apiServer(t), newStoreOf(t)
	key, values := storedCertificates(t, "three.internal", 2)
	c := make([]*certificate, 2)
	for i := range c {
		var err error
		if c[i], err = parseCertificate(key, values[i]); err != nil {
			t.Fatal(err)
		}
	}
	p := &TLSSecrets{Store: store, Logger: slog.New(slog.DiscardHandler)}
	read := func() (found secret) {
		t.Helper()
		change(t, admin, request{method: http.MethodGet, name: "tls.three.internal"}, &found)
		return found
	}
	write := func(i int, want int) {
		t.Helper()
		if err := p.write(t.Context(), key, values[i]); err != nil {
			t.Fatal(err)
		}
		if found := read(); !bytes.Equal(found.Data["tls.crt"], c[want].chain) || !bytes.Equal(found.Data["tls.key"], c[want].private) {
			t.Errorf("after a write of certificate %d the Secret has not %d", i, want)
		}
	}
	write(0, 0)
	found := read()
	found.Metadata.Annotations["theirs"] = "kept"
	change(t, admin, request{method: http.MethodPut, name: found.Metadata.Name, body: &found}, new(secret))
	write(1, 1)
	before := read()
	write(0, 1)
	write(1, 1)
	if after := read(); after.Metadata.ResourceVersion != before.Metadata.ResourceVersion || after.Metadata.Annotations["theirs"] != "kept" {
		t.Errorf("%+v, then %+v", before.Metadata, after.Metadata)
	}
	before.Data["tls.crt"] = []byte("damaged")
	change(t, admin, request{method: http.MethodPut, name: before.Metadata.Name, body: &before}, new(secret))
	write(1, 1)

	// Another is faster between reading and writing: what it has written is seen.
	stale := read()
	stale.Metadata.Annotations[obtainedAnnotation] = c[0].obtained.Format(time.RFC3339Nano)
	change(t, admin, request{method: http.MethodPut, name: stale.Metadata.Name, body: &stale}, new(secret))
	raced := false
	next := store.http.Transport
	through(store, func(q *http.Request, _ http.RoundTripper) (*http.Response, error) {
		if q.Method == http.MethodPut && !raced {
			raced = true
			other := read()
			other.Metadata.Annotations["theirs"] = "changed"
			change(t, admin, request{method: http.MethodPut, name: other.Metadata.Name, body: &other}, new(secret))
		}
		return next.RoundTrip(q)
	})
	write(1, 1)
	if after := read(); !raced || after.Metadata.Annotations["theirs"] != "changed" {
		t.Errorf("what another has written meanwhile was overwritten: %+v", after.Metadata)
	}

	foreign := newSecret(tlsType, metadata{Name: "tls.four.internal"}, map[string][]byte{"tls.crt": []byte("x"), "tls.key": []byte("y")})
	change(t, admin, request{method: http.MethodPost, body: &foreign}, new(secret))
	key, values = storedCertificates(t, "four.internal", 1)
	err := p.write(t.Context(), key, values[0])
	if err == nil || !strings.Contains(err.Error(), "it is left alone") {
		t.Errorf("over a Secret of another program: %v", err)
	}
	change(t, admin, request{method: http.MethodGet, name: "tls.four.internal"}, &found)
	if string(found.Data["tls.crt"]) != "x" {
		t.Error("a Secret of another program was overwritten")
	}
}

func TestTLSSecretsRefuses(t *testing.T) {
	key, values := storedCertificates(t, "five.internal", 1)
	store := answering(t, 500, "no request is expected")
	reference := bytes.Replace(values[0], []byte("{"), []byte(`{"keyReference":"hsm",`), 1)
	for name, test := range map[string]struct {
		key   string
		value []byte
		want  string
	}{
		"another record":  {"certificates/a/b", values[0], "its key is not that of a certificate"},
		"sealed":          {key, []byte("everseal sealed 1"), "Source has to be the storage.Sealed"},
		"empty":           {key, nil, "its first line"},
		"a key elsewhere": {key, reference, "its key is kept elsewhere"},
		"no PEM":          {key, bytes.SplitAfter(values[0], []byte("\n"))[0], "tls: "},
		"no name":         {"certificates/local/a_b/ecdsa-p256", values[0], "no Secret can have a name"},
	} {
		err := (&TLSSecrets{Store: store}).write(t.Context(), test.key, test.value)
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "PRIVATE") {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
	if err := (&TLSSecrets{Store: store, Names: []string{"other.internal"}}).write(t.Context(), key, values[0]); err != nil {
		t.Errorf("a name that is not wanted: %v", err)
	}
	for _, p := range []*TLSSecrets{{}, {Store: store, Namespace: "A"}} {
		if err := p.Run(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "storage/kubernetes: ") {
			t.Errorf("Run of %+v: %v", p, err)
		}
	}
}
