package certmanager_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/certmanager/internal/schedule"
	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/storagetest"
)

// chainPEM returns certificates in PEM.
func chainPEM(chain ...[]byte) (text []byte) {
	for _, der := range chain {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	return text
}

func keyPEM(t *testing.T, label string, der []byte, err error) []byte {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: label, Bytes: der})
}

func pkcs8(t *testing.T, key crypto.Signer) []byte {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	return keyPEM(t, "PRIVATE KEY", der, err)
}

func ids(t *testing.T, names ...string) (all []acme.Identifier) {
	for _, name := range names {
		id, err := acme.ParseIdentifier(name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, id)
	}
	return all
}

func ecdsaKey(t *testing.T, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// elsewhere returns a certificate from another CA, in PEM, and its key.
func elsewhere(t *testing.T, key crypto.Signer, lifetime time.Duration, names ...string) (chain, keyText []byte) {
	t.Helper()
	c, err := newLocalCA(t, "elsewhere").sign(ids(t, names...), key.Public(), lifetime)
	if err != nil {
		t.Fatal(err)
	}
	return chainPEM(c.Chain...), pkcs8(t, key)
}

// TestImport imports certificates for a name that is not managed, one that is and has none, and one whose certificate
// ends sooner: they are served at once, by another process too, and renewed when they are due.
func TestImport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(storage.Memory)
		m := newMember(t, store, func() time.Duration { return 0 }, "managed.example.com", "served.example.com")
		if err := m.Import(t.Context(), []byte("none"), nil); err == nil {
			t.Error("nothing was imported")
		}
		m.ca.change(func(ca *localCA) { ca.lifetime = 24 * time.Hour })
		defer runAll(t, m)()
		if err := m.Wait(t.Context(), "served.example.com"); err != nil {
			t.Fatal(err)
		}
		const lifetime = 90 * 24 * time.Hour
		for _, names := range [][]string{{"new.example.com"}, {"managed.example.com"}, {"served.example.com"}, {"a.example.net", "b.example.net", "192.0.2.7"}} {
			key := ecdsaKey(t, elliptic.P256())
			chain, keyText := elsewhere(t, key, lifetime, names...)
			if err := m.Import(t.Context(), chain, keyText); err != nil {
				t.Fatal(err)
			}
			if err := m.Import(t.Context(), chain, keyText); err != nil {
				t.Errorf("imported again: %v", err)
			}
			slices.Sort(names)
			for _, name := range names {
				got, ok := m.Certificate(name)
				if s, _ := m.Status(name); !ok || !publicOf(t, got.Certificate[0]).Equal(key.Public()) || !s.Imported || s.Issuer != "local" || !slices.Equal(s.Names, names) {
					t.Fatalf("%s: %+v", name, s)
				}
			}
			synctest.Wait()
			s := statusOf(t, m.Manager, names[0])
			if age := s.Next.Sub(s.NotBefore); age < lifetime*9/16 || age > lifetime*11/16+schedule.Member(lifetime, 1) {
				t.Errorf("%s: the renewal is due at an age of %v", names[0], age)
			}
		}
		if n := m.ordered("new.example.com") + m.ordered("192.0.2.7"); n != 0 {
			t.Errorf("%d certificates were ordered that were imported", n)
		}
		heir := newMember(t, store, nil, "new.example.com")
		if err := heir.Load(t.Context()); err != nil || !heir.answers(t, "new.example.com") {
			t.Errorf("another process serves nothing: %v", err)
		}
		time.Sleep(lifetime * 3 / 4)
		for _, name := range []string{"new.example.com", "managed.example.com", "a.example.net"} {
			if s, _ := m.Status(name); s.Imported || s.State != certmanager.StateValid {
				t.Errorf("%s was not renewed: %+v", name, s)
			}
		}
	})
}

func publicOf(t *testing.T, der []byte) *ecdsa.PublicKey {
	t.Helper()
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return leaf.PublicKey.(*ecdsa.PublicKey)
}

// TestImportNothingOlder imports a certificate that ends before the one that is there.
func TestImportNothingOlder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(storage.Memory)
		m := newMember(t, store, func() time.Duration { return 0 })
		long, longKey := elsewhere(t, ecdsaKey(t, elliptic.P256()), 48*time.Hour, "example.com")
		if err := m.Import(t.Context(), long, longKey); err != nil {
			t.Fatal(err)
		}
		short, shortKey := elsewhere(t, ecdsaKey(t, elliptic.P256()), 24*time.Hour, "example.com")
		for _, other := range []*member{m, newMember(t, store, nil)} {
			err := other.Import(t.Context(), short, shortKey)
			if !errors.Is(err, certmanager.ErrNotNewer) {
				t.Errorf("error %v", err)
			}
		}
		got, _ := m.Certificate("example.com")
		if block, _ := pem.Decode(long); !bytes.Equal(got.Certificate[0], block.Bytes) {
			t.Error("the older one is served")
		}
		if err := m.Import(t.Context(), short, longKey); err == nil || errors.Is(err, certmanager.ErrNotNewer) {
			t.Errorf("error %v", err)
		}
	})
}

// TestImportForms imports keys and chains in all forms that other programs write.

// TestImportMeetsAnother has another process import a certificate that ends later, between any two reads of the import of one that
// ends sooner: the later one stays.
func TestImportMeetsAnother(t *testing.T) {
	for n := range 2 {
		synctest.Test(t, func(t *testing.T) {
			w, local := newWorld(t), newLocalCA(t, "local")
			config := w.config()
			config.Issuers = []certmanager.Issuer{local}
			other, stop := w.running(config)
			defer stop()
			key := ecdsaKey(t, elliptic.P256())
			sooner, keyText := elsewhere(t, key, 60*24*time.Hour, "example.com")
			later, _ := elsewhere(t, key, 80*24*time.Hour, "example.com")
			faulty := &storagetest.Faulty{Store: w.store}
			config.Storage = faulty
			m, stopM := w.running(config)
			defer stopM()
			faulty.SetFaults(storagetest.Fault{Kind: storagetest.Slow, On: storagetest.Load, Prefix: "certificates", After: n, Times: 1, Hit: func(string) {
				if err := other.Import(t.Context(), later, keyText); err != nil {
					t.Error(err)
				}
			}})
			err := m.Import(t.Context(), sooner, keyText)
			synctest.Wait()
			if status, _ := other.Status("example.com"); time.Until(status.NotAfter) < 70*24*time.Hour {
				t.Errorf("before read %d: the one that ends sooner is served: %v", n, err)
			}
			if !errors.Is(err, certmanager.ErrNotNewer) {
				t.Errorf("before read %d: %v", n, err)
			}
		})
	}
}

// TestImportKeepsTheBound imports more certificates than are to be in memory.
func TestImportKeepsTheBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		config := w.onDemandFrom(newLocalCA(t, "ours"))
		config.MaxLoaded = 3
		m, stop := w.running(config)
		defer stop()
		for i := range 10 {
			chain, keyText := elsewhere(t, ecdsaKey(t, elliptic.P256()), 90*24*time.Hour, someNames(10)[i])
			if err := m.Import(t.Context(), chain, keyText); err != nil {
				t.Fatal(err)
			}
		}
		if n := m.Stats().Loaded; n != 3 {
			t.Errorf("%d are in memory", n)
		}
	})
}

// TestImportOfAnotherKind imports for a name that has several kinds of key: by these it is chosen what clients are served.
func TestImportOfAnotherKind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		config := w.fromLocalCA(newLocalCA(t, "ours"), "example.com")
		config.KeyTypes = bothKinds
		m, err := certmanager.New(config)
		if err != nil {
			t.Fatal(err)
		}
		for curve, want := range map[elliptic.Curve]bool{elliptic.P256(): true, elliptic.P384(): false} {
			chain, keyText := elsewhere(t, ecdsaKey(t, curve), 90*24*time.Hour, "example.com")
			if err := m.Import(t.Context(), chain, keyText); (err == nil) != want {
				t.Errorf("%s: %v", curve.Params().Name, err)
			}
		}
	})
}

func TestImportForms(t *testing.T) {
	m := newMember(t, new(storage.Memory), nil)
	root := newLocalCA(t, "root")
	ec, rsaKey := ecdsaKey(t, elliptic.P384()), func() *rsa.PrivateKey {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}()
	sec1, err := x509.MarshalECPrivateKey(ec)
	params := pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS", Bytes: []byte{6, 5, 43, 129, 4, 0, 34}})
	for name, test := range map[string]struct {
		key  crypto.Signer
		text []byte
		kind certmanager.KeyType
	}{
		"sec1":  {ec, keyPEM(t, "EC PRIVATE KEY", sec1, err), certmanager.ECDSAP384},
		"both":  {ec, append(params, keyPEM(t, "EC PRIVATE KEY", sec1, err)...), certmanager.ECDSAP384},
		"pkcs1": {rsaKey, keyPEM(t, "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey), nil), certmanager.RSA2048},
		"pkcs8": {rsaKey, pkcs8(t, rsaKey), certmanager.RSA2048},
	} {
		c, err := root.sign(ids(t, name+".example.com"), test.key.Public(), time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		text := append([]byte("some words\n"), chainPEM(root.root.Raw, newLocalCA(t, "stranger").root.Raw, c.Chain[0])...)
		if err := m.Import(t.Context(), text, test.text); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got, _ := m.Certificate(name + ".example.com")
		if s := statusOf(t, m.Manager, name+".example.com"); s.KeyType != test.kind || len(got.Certificate) != 1 {
			t.Errorf("%s: %s, %d certificates", name, s.KeyType, len(got.Certificate))
		}
	}
}

// TestImportRefused imports what can't be used: errors say why, and show nothing of the key.
func TestImportRefused(t *testing.T) { synctest.Test(t, importRefused) }

func importRefused(t *testing.T) {
	store := new(storage.Memory)
	m := newMember(t, store, nil, "a.example.com")
	key := ecdsaKey(t, elliptic.P256())
	good, goodKey := elsewhere(t, key, time.Hour, "example.com")
	expired, _ := elsewhere(t, key, time.Minute, "example.com")
	otherNames, _ := elsewhere(t, key, time.Hour, "a.example.com", "b.example.com")
	c, err := newLocalCA(t, "elsewhere").sign([]acme.Identifier{{Type: acme.TypeDNS, Value: "under_score.example.com"}}, key.Public(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	noName := chainPEM(c.Chain...)
	_, strange, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	strangeChain, strangeKey := elsewhere(t, strange, time.Hour, "example.com")
	_, anotherKey := elsewhere(t, ecdsaKey(t, elliptic.P256()), time.Hour, "example.com")
	sealed := pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("sealed")})
	sealedBefore := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-128-CBC,00"}, Bytes: []byte("sealed")})
	time.Sleep(2 * time.Minute)
	for name, test := range map[string]struct {
		chain, key []byte
		want       string
	}{
		"expired":         {expired, goodKey, "expired at"},
		"another key":     {good, anotherKey, "none of the certificates is for the key"},
		"no certificate":  {nil, goodKey, "there is no certificate"},
		"no key":          {good, []byte("SECRETTEXT"), "there is no private key"},
		"broken key":      {good, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("SECRETTEXT")}), "not PKCS #8"},
		"encrypted key":   {good, sealed, "is encrypted"},
		"as of old":       {good, sealedBefore, "is encrypted"},
		"strange key":     {strangeChain, strangeKey, "not supported"},
		"broken chain":    {pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("SECRETTEXT")}), goodKey, "can't be parsed"},
		"no name":         {noName, goodKey, "a name of the certificate"},
		"names of others": {otherNames, goodKey, "a name of two certificates"},
		"too long":        {make([]byte, storage.MaxValue+1), goodKey, "too long"},
		"too long a key":  {good, make([]byte, storage.MaxValue+1), "too long"},
		"too many":        {bytes.Repeat(good, 40), goodKey, "more than 64"},
		"a long key":      {append(good, longRSA(t)...), goodKey, "more than 8192 bits"},
	} {
		err := m.Import(t.Context(), test.chain, test.key)
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "SECRETTEXT") {
			t.Errorf("%s: error %v, want %q", name, err, test.want)
		}
	}
	if _, managed := m.Status("example.com"); managed {
		t.Error("a name is managed whose certificate was refused")
	}
	for key := range store.List(t.Context(), "") {
		t.Errorf("%s is stored, of a certificate that was refused", key)
	}
	constrained, err := certmanager.New(certmanager.Config{Issuers: []certmanager.Issuer{&certmanager.LocalCA{Permitted: []string{"internal"}}}, Storage: store})
	if err != nil {
		t.Fatal(err)
	}
	if err := constrained.Import(t.Context(), good, goodKey); err == nil || !strings.Contains(err.Error(), "permitted") {
		t.Errorf("of a name that no issuer supports: error %v", err)
	}
	if new(certmanager.Manager).Import(t.Context(), good, goodKey) == nil {
		t.Error("no error")
	}
}

// longRSA returns the certificate of a CA with an RSA key that takes long to check a signature with, in PEM.
func longRSA(t *testing.T) []byte {
	key := ecdsaKey(t, elliptic.P256())
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	long := &rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 8192, 1), E: 65537}
	der, err := x509.CreateCertificate(rand.Reader, template, template, long, key)
	if err != nil {
		t.Fatal(err)
	}
	return chainPEM(der)
}

// TestImportOverAKeyKeptElsewhere imports in place of a certificate whose key Config.Keys has: it is deleted once nobody can
// serve that.
func TestImportOverAKeyKeptElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		config, keys := w.withKeys("example.com")
		m, stop := w.serving(config)
		defer stop()
		first := refOf(t, w.store, "example.com")
		chain, keyText := elsewhere(t, ecdsaKey(t, elliptic.P256()), 200*24*time.Hour, "example.com")
		if err := m.Import(t.Context(), chain, keyText); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		checkNoLeak(t, w.store, keys.references(), "after Import")
		if !slices.Contains(keys.references(), first) {
			t.Error("the key is deleted while others may serve its certificate")
		}
		time.Sleep(150 * 24 * time.Hour)
		w.await(certmanager.EventObtained, "example.com", 2)
		synctest.Wait()
		if left := keys.references(); len(left) != 2 || slices.Contains(left, first) {
			t.Errorf("the keys %q are left, want those of the account and the renewed certificate", left)
		}
	})
}
