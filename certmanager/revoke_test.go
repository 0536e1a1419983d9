package certmanager_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"io"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
)

// revoked reports for which reason the CA has revoked the certificate; -1: it has not.
func (w *world) revoked(serial *big.Int) int {
	reason, revoked := w.ca.Revoked(serial)
	if !revoked {
		return -1
	}
	return reason
}

// TestRevoke has a certificate revoked, for several reasons: its successor is served by then, with another key.
func TestRevoke(t *testing.T) {
	for _, reason := range []acme.RevocationReason{acme.ReasonUnspecified, acme.ReasonKeyCompromise, acme.ReasonSuperseded} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			f, config := w.fronted("example.com")
			m, stop := w.serving(config)
			defer stop()
			old, err := w.handshake(t.Context(), "example.com")
			if err != nil {
				t.Fatal(err)
			}
			var meanwhile *x509.Certificate
			f.answerWith(only("revokeCert", func(r *http.Request) (*http.Response, error) {
				if byKey := isSignedByKey(t, r); byKey != (reason == acme.ReasonKeyCompromise) {
					t.Errorf("for the reason %d, the certificate's key has signed: %t", reason, byKey)
				}
				meanwhile, err = w.handshake(r.Context(), "example.com")
				return nil, err
			}))
			if err := m.Revoke(t.Context(), "example.com", reason); err != nil {
				t.Fatal(err)
			}
			if got := w.revoked(old.SerialNumber); got != int(reason) {
				t.Errorf("the CA says %d, want %d", got, reason)
			}
			if meanwhile == nil || meanwhile.Equal(old) || bytes.Equal(meanwhile.RawSubjectPublicKeyInfo, old.RawSubjectPublicKeyInfo) {
				t.Fatal("it was revoked while it was served")
			}
			if w.revoked(meanwhile.SerialNumber) >= 0 || len(w.ca.Certificates()) != 2 || w.keys("revocations") != 0 {
				t.Errorf("%d certificates, %d revocations are left", len(w.ca.Certificates()), w.keys("revocations"))
			}
			synctest.Wait()
			w.await(certmanager.EventRevoked, "example.com", 1)
		})
	}
}

// isSignedByKey reports whether a request has a key in its signature's header, and no account.
func isSignedByKey(t *testing.T, r *http.Request) bool {
	t.Helper()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Error(err)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	var signed struct{ Protected string }
	if err := json.Unmarshal(body, &signed); err != nil {
		t.Error(err)
	}
	header, err := base64.RawURLEncoding.DecodeString(signed.Protected)
	if err != nil {
		t.Error(err)
	}
	return bytes.Contains(header, []byte(`"jwk"`))
}

// TestRevokeByKey has the certificates revoked that another account, lost meanwhile, has obtained.
func TestRevokeByKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		_, stop := w.serving(w.config("example.com"))
		old, err := w.handshake(t.Context(), "example.com")
		if err != nil {
			t.Fatal(err)
		}
		stop()
		key, item := w.record("accounts")
		if err := w.store.Delete(t.Context(), key, item.Revision); err != nil {
			t.Fatal(err)
		}
		m, again := w.running(w.config())
		defer again()
		if err := m.Revoke(t.Context(), "example.com", acme.ReasonCessationOfOperation); err != nil {
			t.Fatal(err)
		}
		if got := w.revoked(old.SerialNumber); got != int(acme.ReasonCessationOfOperation) {
			t.Errorf("the CA says %d", got)
		}
	})
}

// TestRevokeWhatIsGivenUp revokes without a successor.
func TestRevokeWhatIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		m, stop := w.serving(w.config("example.com"))
		defer stop()
		old, err := w.handshake(t.Context(), "example.com")
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Forget("example.com"); err != nil {
			t.Fatal(err)
		}
		if err := m.Revoke(t.Context(), "example.com", acme.ReasonCessationOfOperation); err != nil {
			t.Fatal(err)
		}
		if err := m.Delete(t.Context(), "example.com"); err != nil {
			t.Fatal(err)
		}
		if got := w.revoked(old.SerialNumber); got != int(acme.ReasonCessationOfOperation) || len(w.ca.Certificates()) != 1 || w.keys("certificates")+w.keys("work")+w.keys("revocations") != 0 {
			t.Errorf("the CA says %d and has issued %d", got, len(w.ca.Certificates()))
		}
		if err := m.Revoke(t.Context(), "example.com", acme.ReasonUnspecified); err == nil {
			t.Error("nothing was revoked without an error")
		}
	})
}

// TestRevokeLater has the CA fail to revoke, and to issue the successor of another one: both come when it can, and the one
// that is deleted meanwhile without a successor.
func TestRevokeLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		f, config := w.fronted("a.example.com", "b.example.com", "c.example.com")
		m, stop := w.serving(config)
		defer stop()
		old := make(map[string]*x509.Certificate)
		for _, name := range config.Names {
			var err error
			if old[name], err = w.handshake(t.Context(), name); err != nil {
				t.Fatal(err)
			}
		}
		f.answerWith(only("revokeCert", busy))
		if err := m.Revoke(t.Context(), "a.example.com", acme.ReasonSuperseded); err == nil {
			t.Error("no error from a CA that is busy")
		}
		f.answerWith(only("newOrder", busy))
		for _, name := range config.Names[1:] {
			if err := m.Revoke(t.Context(), name, acme.ReasonSuperseded); err == nil || !strings.Contains(err.Error(), "successor") {
				t.Errorf("error %v", err)
			}
			if now, err := w.handshake(t.Context(), name); w.revoked(old[name].SerialNumber) >= 0 || err != nil || !now.Equal(old[name]) {
				t.Errorf("%s was revoked before its successor came, or is not served: %v", name, err)
			}
		}
		if err := m.Delete(t.Context(), "c.example.com"); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Hour)
		if w.revoked(old["a.example.com"].SerialNumber) < 0 || w.revoked(old["b.example.com"].SerialNumber) >= 0 || w.revoked(old["c.example.com"].SerialNumber) < 0 {
			t.Error("others are revoked than should be")
		}
		f.answerWith(nil)
		time.Sleep(time.Hour)
		if w.revoked(old["b.example.com"].SerialNumber) < 0 || w.keys("revocations") != 0 {
			t.Error("it is not revoked though it can be")
		}
		if now, err := w.handshake(t.Context(), "b.example.com"); err != nil || w.revoked(now.SerialNumber) >= 0 {
			t.Errorf("%v, %v", now, err)
		}
	})
}

// TestRevokeImpossible has an issuer that can't, a name without a certificate, and a manager that does not run.
func TestRevokeImpossible(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMember(t, new(storage.Memory), func() time.Duration { return 0 }, "example.com")
		check := func(want string) {
			t.Helper()
			if err := m.Revoke(t.Context(), "example.com", 0); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v, want %q", err, want)
			}
		}
		check("isn't running")
		m.ca.change((*localCA).refusing)
		defer runAll(t, m)()
		synctest.Wait()
		check("no certificate")
		m.ca.change(func(ca *localCA) { ca.err = nil })
		if err := m.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		check("has no method Revoke")
		if m.ca.count() != 1 {
			t.Error("a certificate was ordered though the old one can't be revoked")
		}
		if m.Revoke(t.Context(), "no name", 0) == nil || new(certmanager.Manager).Revoke(t.Context(), "example.com", 0) == nil {
			t.Error("no error")
		}
	})
}

// TestRevokeWithRoleServe has a member that only serves leave what is to be revoked to others.
func TestRevokeWithRoleServe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		f, config := w.fronted("example.com")
		m, stop := w.serving(config)
		f.answerWith(only("revokeCert", busy))
		w.revokeInVain(m, acme.ReasonSuperseded)
		stop()
		f.answerWith(nil)
		warned := w.count(certmanager.EventWarning)
		serving := config
		serving.Role = certmanager.RoleServe
		m, stop = w.running(serving)
		time.Sleep(time.Hour)
		if w.keys("revocations") != 1 || w.count(certmanager.EventWarning) != warned {
			t.Error("a member that only serves has pursued it")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := m.Revoke(ctx, "example.com", acme.ReasonSuperseded); err == nil || !strings.Contains(err.Error(), "Config.Role") || w.keys("revocations") != 1 {
			t.Errorf("Revoke by one that only serves: %v", err)
		}
		stop()
		_, stop = w.running(config)
		defer stop()
		time.Sleep(time.Hour)
		if w.keys("revocations") != 0 {
			t.Error("nobody has pursued it")
		}
	})
}

// TestKilledWhileRevoking kills the manager at each write of a revocation in turn, before the write or just after it, and
// starts it again: the successor is obtained once, and the old one revoked.
func TestKilledWhileRevoking(t *testing.T) {
	for _, reaches := range []bool{false, true} {
		done := false
		for n := 0; !done; n++ {
			if n > 100 {
				t.Fatal("a revocation takes more than 100 writes")
			}
			synctest.Test(t, func(t *testing.T) { done = newWorld(t).killWhileRevoking(n, reaches) })
		}
	}
}

// killWhileRevoking reports whether the revocation was done before the n-th write came.
func (w *world) killWhileRevoking(n int, reaches bool) (done bool) {
	t := w.t
	_, stop := w.serving(w.config("example.com"))
	old, err := w.handshake(t.Context(), "example.com")
	if err != nil {
		t.Fatal(err)
	}
	stop()
	config := w.config("example.com")
	config.OnEvent = nil
	dead := make(chan struct{})
	var last string
	const probes = 2 // writes when Run begins
	config.Storage = mortal(w.store, n+probes, reaches, func(key string) {
		last = key
		close(dead)
	})
	m, err := certmanager.New(config)
	if err != nil {
		t.Fatal(err)
	}
	ended, finished := make(chan struct{}), make(chan error, 1)
	wait := w.runUntil(m, ended)
	synctest.Wait()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		finished <- m.Revoke(ctx, "example.com", acme.ReasonSuperseded)
		close(finished)
	}()
	select {
	case <-dead:
	case err := <-finished:
		select {
		case <-dead: // which is why it failed
		default:
			if done = true; err != nil {
				t.Error(err)
			}
		}
	}
	cancel()
	close(ended)
	wait()
	<-finished // a last write that reaches the storage is made after death was told
	begun := w.keys("revocations") > 0 || w.revoked(old.SerialNumber) >= 0
	_, stop = w.running(w.config("example.com"))
	defer stop()
	time.Sleep(time.Hour)
	want := -1
	certificates := 1
	if begun || done {
		want, certificates = int(acme.ReasonSuperseded), 2
	}
	if got := w.revoked(old.SerialNumber); got != want || len(w.ca.Certificates()) != certificates || w.keys("revocations") != 0 {
		t.Errorf("killed at write %d (%s): the CA says %d, want %d, and has issued %d; %d are left", n, last, got, want, len(w.ca.Certificates()), w.keys("revocations"))
	}
	if now, err := w.handshake(t.Context(), "example.com"); err != nil || now.Equal(old) != (want < 0) {
		t.Errorf("killed at write %d (%s): %v is served, %v", n, last, now, err)
	}
	return done
}
