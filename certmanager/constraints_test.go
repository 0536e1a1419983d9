package certmanager

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"testing"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/storage"
)

// What the CA refuses to sign is what clients do not believe it. Package x509 is the client.
func TestConstraintsAreThoseOfClients(t *testing.T) {
	for _, test := range []struct {
		permitted, excluded []string
		allowed, denied     []string
	}{
		{nil, nil, []string{"example.com", "192.0.2.1", "2001:db8::1", "localhost"}, nil},
		{[]string{"internal"}, nil, []string{"db.internal", "internal", "*.internal"}, []string{"example.com", "xinternal", "10.0.0.1", "2001:db8::1"}},
		{[]string{"10.0.0.0/8"}, nil, []string{"10.1.2.3"}, []string{"11.0.0.1", "db.internal", "2001:db8::1"}},
		{[]string{"2001:db8::/32"}, nil, []string{"2001:db8::7"}, []string{"2001:db9::1", "10.0.0.1", "localhost"}},
		{[]string{".Corp.Example", "192.0.2.7"}, nil, []string{"a.corp.example", "192.0.2.7"}, []string{"example", "192.0.2.8"}},
		{nil, []string{"com", "0.0.0.0/0"}, []string{"db.internal", "2001:db8::1"}, []string{"example.com", "10.0.0.1"}},
		{[]string{"internal"}, []string{"guests.internal"}, []string{"db.internal", "*.db.internal"}, []string{"guests.internal", "a.guests.internal", "*.guests.internal", "*.internal"}},
	} {
		constraints, err := newConstraints(test.permitted, test.excluded)
		if err != nil {
			t.Fatal(err)
		}
		ca := &localAuthority{id: "local", constraints: constraints, store: new(storage.Memory)}
		authority, err := ca.authority(t.Context(), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		roots, between := x509.NewCertPool(), x509.NewCertPool()
		roots.AddCert(authority.Root.Certificate)
		between.AddCert(authority.Intermediate.Certificate)
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		check := func(name string, allowed bool) {
			id, err := acme.ParseIdentifier(name)
			if err != nil {
				t.Fatal(err)
			}
			r := Request{Identifiers: []acme.Identifier{id}, Key: key}
			leaf, err := signLeaf(&authority.Intermediate, &r, time.Now(), time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			refused := constraints.check(r.Identifiers)
			_, disbelieved := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between})
			if (refused == nil) != allowed || (disbelieved == nil) != allowed {
				t.Errorf("%v without %v: %s: the CA says %v, and a client %v", test.permitted, test.excluded, name, refused, disbelieved)
			}
		}
		for _, name := range test.allowed {
			check(name, true)
		}
		for _, name := range test.denied {
			check(name, false)
		}
	}
}
