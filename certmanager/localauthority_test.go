package certmanager_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/certmanager/internal/record"
	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/storagetest"
)

// rootsOf returns the root of the CA, for a client to trust.
func rootsOf(t *testing.T, ca *certmanager.LocalCA, s storage.Store) *x509.CertPool {
	t.Helper()
	root, err := ca.Root(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(root) {
		t.Fatalf("no root in %s", root)
	}
	return pool
}

// verify checks that a client that trusts the roots takes the certificate for the name.
func verify(t *testing.T, roots *x509.CertPool, chain [][]byte, name string) (leaf, intermediate *x509.Certificate) {
	t.Helper()
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil {
		t.Fatal(err)
	}
	if intermediate, err = x509.ParseCertificate(chain[1]); err != nil {
		t.Fatal(err)
	}
	between := x509.NewCertPool()
	between.AddCert(intermediate)
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, DNSName: name, CurrentTime: time.Now()}); err != nil {
		t.Errorf("%s: %v", name, err)
	}
	if leaf.NotAfter.After(intermediate.NotAfter) {
		t.Errorf("%s: it ends at %v, what has signed it at %v", name, leaf.NotAfter, intermediate.NotAfter)
	}
	return leaf, intermediate
}

// Two managers on one storage have certificates of one root, for names that no public CA issues for, and keep them for
// years, through the end of the first intermediate.
func TestLocalCAThroughTheYears(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, ca := new(storage.Memory), &certmanager.LocalCA{Permitted: []string{"internal", "10.0.0.0/8"}, Lifetime: 60 * day}
		names := []string{"db.internal", "*.dev.internal", "10.0.0.7"}
		var managers []*certmanager.Manager
		for range 2 {
			m, stop := runQuietly(t, certmanager.Config{Names: names, Issuers: []certmanager.Issuer{ca}, Storage: store})
			defer stop()
			managers = append(managers, m)
		}
		roots := rootsOf(t, ca, store)
		intermediates := make(map[string]bool)
		for range 18 {
			time.Sleep(65 * day)
			for _, m := range managers {
				for asked, name := range map[string]string{"db.internal": "db.internal", "app.dev.internal": "app.dev.internal"} {
					served, err := ask(t, m, asked)
					if err != nil {
						t.Fatal(err)
					}
					leaf, intermediate := verify(t, roots, served.Certificate, name)
					intermediates[intermediate.Subject.CommonName] = true
					if life := leaf.NotAfter.Sub(leaf.NotBefore); life != 60*day+time.Hour || leaf.Subject.String() != "" || leaf.SerialNumber.BitLen() > 128 {
						t.Errorf("%s: it lives %v; subject %q, serial number %x", name, life, leaf.Subject, leaf.SerialNumber)
					}
				}
			}
		}
		if len(intermediates) < 2 {
			t.Errorf("in three years all were signed by %v", intermediates)
		}
	})
}

// Forty members that start at once make one root.
func TestLocalCAIsMadeOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(storagetest.Faulty)
		store.SetFaults(storagetest.Fault{Kind: storagetest.Slow, Delay: 5 * time.Millisecond})
		roots := make([][]byte, 40)
		var group sync.WaitGroup
		for i := range roots {
			group.Go(func() {
				var err error
				if roots[i], err = new(certmanager.LocalCA).Root(t.Context(), store); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		for _, root := range roots {
			if !bytes.Equal(root, roots[0]) {
				t.Fatal("there are several roots")
			}
		}
	})
}

// bound returns the CA at work on the storage.
func bound(t *testing.T, ca *certmanager.LocalCA, s storage.Store) certmanager.Issuer {
	t.Helper()
	issuer, err := ca.Bind(certmanager.Services{Storage: s})
	if err != nil {
		t.Fatal(err)
	}
	return issuer
}

// A root is not replaced behind the back of those who trust it: its end is told a year before, and is an error then.
func TestEndOfLocalRoot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, ca := new(storage.Memory), new(certmanager.LocalCA)
		roots := rootsOf(t, ca, store)
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		for _, test := range []struct {
			after         time.Duration
			warned, fails bool
		}{{3200 * day, false, false}, {400 * day, true, false}, {49 * day, true, false}, {2 * day, false, true}} {
			time.Sleep(test.after)
			warned := false
			certificate, err := bound(t, ca, store).Issue(t.Context(), certmanager.Request{
				Identifiers: []acme.Identifier{{Type: acme.TypeDNS, Value: "localhost"}}, Key: key,
				Warn: func(err error) { warned = strings.Contains(err.Error(), "root") },
			})
			if warned != test.warned || (err != nil) != test.fails {
				t.Errorf("after %v more: warned %v, %v", test.after, warned, err)
			}
			if err == nil {
				leaf, _ := verify(t, roots, certificate.Chain, "localhost")
				if leaf.KeyUsage != x509.KeyUsageDigitalSignature|x509.KeyUsageKeyEncipherment {
					t.Errorf("an RSA key's usage is %b", leaf.KeyUsage)
				}
			} else if !errors.As(err, new(*certmanager.UnavailableError)) || !strings.Contains(err.Error(), "another Name") {
				t.Errorf("the error is %v", err)
			}
		}
	})
}

// What is stored is neither overwritten nor believed if it is not what it should be.
func TestLocalCAOfAnotherKind(t *testing.T) {
	key := record.AuthorityKey("local")
	for name, test := range map[string]struct {
		stored *certmanager.LocalCA // that has been here before; nil: rubbish
		says   string
	}{
		"other constraints": {&certmanager.LocalCA{Permitted: []string{"internal"}}, "another Name"},
		"rubbish":           {nil, "delete it"},
	} {
		store := new(storage.Memory)
		if test.stored != nil {
			rootsOf(t, test.stored, store)
		} else if _, err := store.Save(t.Context(), key, []byte("half a rec"), ""); err != nil {
			t.Fatal(err)
		}
		before, err := store.Load(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		_, err = new(certmanager.LocalCA).Root(t.Context(), store)
		if err == nil || !strings.Contains(err.Error(), test.says) || !strings.Contains(err.Error(), key) {
			t.Errorf("%s: %v", name, err)
		}
		if after, err := store.Load(t.Context(), key); err != nil || after.Revision != before.Revision {
			t.Errorf("%s: the record was changed", name)
		}
	}
}

// A storage that fails is not the CA's failure.
func TestLocalCAWithoutStorage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(storagetest.Faulty)
		store.SetFaults(storagetest.Fault{Prefix: "authorities", Err: errDisk})
		m, stop := runQuietly(t, certmanager.Config{Names: []string{"localhost"}, Issuers: []certmanager.Issuer{new(certmanager.LocalCA)}, Storage: store})
		defer stop()
		time.Sleep(time.Minute)
		if s := statusOf(t, m, "localhost"); s.Failure == nil || !errors.Is(s.Failure.Err, errDisk) {
			t.Errorf("status %+v", s)
		}
		store.SetFaults()
		awaitValid(t, m, 1)
	})
}
