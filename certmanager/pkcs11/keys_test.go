package pkcs11_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/certmanager/pkcs11"
)

// checkSigns checks signatures of all kinds that TLS and ACME use.
func checkSigns(t *testing.T, key crypto.Signer) {
	t.Helper()
	short, long := sha256.Sum256([]byte("a message")), sha512.Sum512([]byte("a message"))
	for _, test := range []struct {
		digest []byte
		hash   crypto.Hash
	}{{short[:], crypto.SHA256}, {long[:], crypto.SHA512}} {
		signature, err := key.Sign(rand.Reader, test.digest, test.hash)
		if err != nil {
			t.Fatal(err)
		}
		switch public := key.Public().(type) {
		case *ecdsa.PublicKey:
			if !ecdsa.VerifyASN1(public, test.digest, signature) {
				t.Errorf("%v: the signature is not the key's", test.hash)
			}
		case *rsa.PublicKey:
			if err := rsa.VerifyPKCS1v15(public, test.hash, test.digest, signature); err != nil {
				t.Errorf("%v: %v", test.hash, err)
			}
			for _, salt := range []int{rsa.PSSSaltLengthEqualsHash, rsa.PSSSaltLengthAuto} {
				opts := &rsa.PSSOptions{SaltLength: salt, Hash: test.hash}
				signature, err := key.Sign(rand.Reader, test.digest, opts)
				if err != nil {
					t.Fatal(err)
				}
				if err := rsa.VerifyPSS(public, test.hash, test.digest, signature, opts); err != nil {
					t.Errorf("%v with PSS and salt %d: %v", test.hash, salt, err)
				}
			}
		}
	}
	if _, err := key.Sign(rand.Reader, short[:5], crypto.SHA256); err == nil {
		t.Error("a digest that is too short is signed")
	}
}

func TestKeyTypes(t *testing.T) {
	keys := connect(t)
	for i, kind := range []certmanager.KeyType{certmanager.ECDSAP256, certmanager.ECDSAP384, certmanager.RSA2048, certmanager.RSA3072} {
		ref := fmt.Sprintf("key-%d", i)
		made, err := keys.Create(t.Context(), ref, kind)
		if err != nil {
			t.Fatal(err)
		}
		size := 0
		switch public := made.Public().(type) {
		case *ecdsa.PublicKey:
			size = public.Params().BitSize
		case *rsa.PublicKey:
			size = public.N.BitLen()
		}
		if want := []int{256, 384, 2048, 3072}[i]; size != want {
			t.Errorf("%s: the key has %d bits, want %d", kind, size, want)
		}
		checkSigns(t, made)
		same := made.Public().(interface{ Equal(crypto.PublicKey) bool })
		if again, err := keys.Create(t.Context(), ref, kind); err != nil || !same.Equal(again.Public()) {
			t.Errorf("%s: Create made another key: %v", kind, err)
		}
		opened, err := keys.Open(t.Context(), ref)
		if err != nil || !same.Equal(opened.Public()) {
			t.Fatalf("%s: Open returned another key: %v", kind, err)
		}
		checkSigns(t, opened)
		if err := keys.Delete(t.Context(), ref); err != nil {
			t.Fatal(err)
		}
		if _, err := keys.Open(t.Context(), ref); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: Open after Delete: %v", kind, err)
		}
		if err := keys.Delete(t.Context(), ref); err != nil {
			t.Errorf("%s: Delete of no key: %v", kind, err)
		}
	}
	if _, err := keys.Create(t.Context(), "other", "ed25519"); err == nil {
		t.Error("a key of another type was made")
	}
}

// What is left of a pair that was half made is in nobody's way.
func TestHalfMade(t *testing.T) {
	keys := connect(t)
	if _, err := keys.Create(t.Context(), "half", certmanager.ECDSAP256); err != nil {
		t.Fatal(err)
	}
	if err := keys.DestroyPrivate(t.Context(), "half"); err != nil {
		t.Fatal(err)
	}
	if _, err := keys.Open(t.Context(), "half"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open: %v, want ErrNotExist", err)
	}
	made, err := keys.Create(t.Context(), "half", certmanager.ECDSAP256)
	if err != nil {
		t.Fatal(err)
	}
	checkSigns(t, made)
}

// TestConcurrentUse has more goroutines than sessions.
func TestConcurrentUse(t *testing.T) {
	config := newToken(t)
	config.Sessions = 3
	keys, err := pkcs11.Connect(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer keys.Close()
	shared, err := keys.Create(t.Context(), "shared", certmanager.ECDSAP256)
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for i := range 20 {
		group.Go(func() {
			ref := fmt.Sprintf("key-%d", i/2) // each wanted twice at once
			if _, err := keys.Create(t.Context(), ref, certmanager.ECDSAP256); err != nil {
				t.Error(err)
			}
			digest := sha256.Sum256([]byte(ref))
			for range 10 {
				signature, err := shared.Sign(rand.Reader, digest[:], crypto.SHA256)
				if err != nil || !ecdsa.VerifyASN1(shared.Public().(*ecdsa.PublicKey), digest[:], signature) {
					t.Errorf("a signature that is none: %v", err)
				}
			}
			if opened, err := keys.Open(t.Context(), ref); err != nil || opened == nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
}

func TestConnectFails(t *testing.T) {
	sound := newToken(t)
	wrong := 0
	for name, test := range map[string]struct {
		change func(*pkcs11.Config)
		says   string
	}{
		"no module":  {func(c *pkcs11.Config) { c.Module = "" }, "Config.Module"},
		"no library": {func(c *pkcs11.Config) { c.Module = "/nonexistent.so" }, "can't be loaded"},
		"no label":   {func(c *pkcs11.Config) { c.Token = "" }, "Config.Token"},
		"no token":   {func(c *pkcs11.Config) { c.Token = "another" }, `no token has the label "another"`},
		"no PIN":     {func(c *pkcs11.Config) { c.PIN = nil }, "Config.PIN"},
		"no PIN to be had": {func(c *pkcs11.Config) {
			c.PIN = func() (string, error) { return "", errors.New("the vault is sealed") }
		}, "the vault is sealed"},
		"negative sessions": {func(c *pkcs11.Config) { c.Sessions = -1 }, "Config.Sessions"},
		"wrong PIN": {func(c *pkcs11.Config) {
			c.PIN = func() (string, error) { wrong++; return "wrong-battery-42", nil }
		}, "CKR_PIN_INCORRECT"},
	} {
		config := sound
		test.change(&config)
		keys, err := pkcs11.Connect(t.Context(), config)
		if err == nil {
			keys.Close()
			t.Errorf("%s: Connect succeeds", name)
			continue
		}
		if text := err.Error(); !strings.Contains(text, test.says) || strings.Contains(text, "battery") || !strings.HasPrefix(text, "pkcs11: ") {
			t.Errorf("%s: the error is %s", name, text)
		}
	}
	if wrong != 1 {
		t.Errorf("the wrong PIN was tried %d times", wrong)
	}
	var shown strings.Builder
	slog.New(slog.NewTextHandler(&shown, nil)).Info("token", "config", sound)
	if text := shown.String() + fmt.Sprintf("%v %+v %#v", sound, sound, sound); strings.Contains(text, userPIN) {
		t.Errorf("the PIN is shown: %s", text)
	}
}

func TestEndedContextAndClose(t *testing.T) {
	keys := connect(t)
	key, err := keys.Create(t.Context(), "key", certmanager.ECDSAP256)
	if err != nil {
		t.Fatal(err)
	}
	if err := keys.Close(); err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256(nil)
	if _, err := key.Sign(rand.Reader, digest[:], crypto.SHA256); err == nil {
		t.Error("a key signs after Close")
	}
	if _, err := keys.Open(t.Context(), "key"); err == nil {
		t.Error("Open after Close succeeds")
	}
}

func TestZeroKeys(t *testing.T) {
	var keys pkcs11.Keys
	_, created := keys.Create(t.Context(), "a", certmanager.ECDSAP256)
	_, opened := keys.Open(t.Context(), "a")
	for _, err := range []error{created, opened, keys.Delete(t.Context(), "a"), keys.Close()} {
		if err == nil {
			t.Error("the zero value does something")
		}
	}
	if _, err := pkcs11.Connect(context.Background(), pkcs11.Config{}); err == nil {
		t.Error("Connect to nothing succeeds")
	}
}
