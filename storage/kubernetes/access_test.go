package kubernetes

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/everseal/everseal/storage"
)

func writeFile(name, text string) error { return os.WriteFile(name, []byte(text), 0o600) }

// What rbac.yaml grants suffices for all, and is for its namespace alone.
func TestRights(t *testing.T) {
	s := apiServer(t)
	program := open(t, place(s, s.Address(), "program"))
	if err := storage.Check(t.Context(), program); err != nil {
		t.Error(err)
	}
	elsewhere := open(t, strings.Replace(place(s, s.Address(), "program"), "/certificates/", "/other/", 1))
	nobody := open(t, place(s, s.Address(), "nobody"))
	for name, s := range map[string]*Store{"in another namespace": elsewhere, "with no rights": nobody} {
		eachCall(t.Context(), s, func(call string, err error) {
			if err == nil || !strings.Contains(err.Error(), "403 Forbidden") || !strings.Contains(err.Error(), "grant the service account") || errors.Is(err, storage.ErrConflict) {
				t.Errorf("%s, %s: %v", call, name, err)
			}
			noToken(t, err)
		})
	}
}

// A token that the server does not know is refused, and the next one is taken as soon as it is in the file.
func TestTokenIsReplaced(t *testing.T) {
	s := apiServer(t)
	folder := t.TempDir()
	ca, err := os.ReadFile(filepath.Join(s.Folder, "admin", "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	if err := writeAccount(folder, "t0ken-that-has-expired", ca); err != nil {
		t.Fatal(err)
	}
	store := open(t, "kubernetes://"+s.Address()+"/certificates/replaced?account="+folder)
	eachCall(t.Context(), store, func(call string, err error) {
		if err == nil || !strings.Contains(err.Error(), "401 Unauthorized") || !strings.Contains(err.Error(), "it has expired") {
			t.Errorf("%s with an expired token: %v", call, err)
		}
		noToken(t, err)
	})
	if err := writeFile(filepath.Join(folder, "token"), programToken+"\n"); err != nil {
		t.Fatal(err)
	}
	if err := storage.Check(t.Context(), store); err != nil {
		t.Errorf("with the next token: %v", err)
	}
}

// The CA is read for each connection, as it is replaced too.
func TestCAIsReplaced(t *testing.T) {
	s := apiServer(t)
	other := httptest.NewTLSServer(http.NotFoundHandler())
	defer other.Close()
	folder := t.TempDir()
	ca, err := os.ReadFile(filepath.Join(s.Folder, "admin", "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	if err := writeAccount(folder, adminToken, encodeCertificate(other.Certificate().Raw)); err != nil {
		t.Fatal(err)
	}
	store := open(t, "kubernetes://"+s.Address()+"/certificates/ca?account="+folder)
	eachCall(t.Context(), store, func(call string, err error) {
		if err == nil || !strings.Contains(err.Error(), "give the CA that has signed") {
			t.Errorf("%s with another CA: %v", call, err)
		}
	})
	if err := writeFile(filepath.Join(folder, "ca.crt"), string(ca)); err != nil {
		t.Fatal(err)
	}
	if err := storage.Check(t.Context(), store); err != nil {
		t.Errorf("with the right CA: %v", err)
	}
	renamed := open(t, strings.Replace(place(s, s.Address(), "admin"), "127.0.0.1", "127.0.0.2", 1))
	if _, err := renamed.Load(t.Context(), "a"); err == nil || errors.Is(err, storage.ErrConflict) {
		t.Errorf("by an address that the certificate has not: %v", err)
	}
}

// A client's certificate is enough: its name is the user's.
func TestClientCertificate(t *testing.T) {
	s := apiServer(t)
	files := "?ca=" + filepath.Join(s.Folder, "server.pem") + "&cert=" + filepath.Join(s.Folder, "server.pem") + "&key=" + filepath.Join(s.Folder, "server.key")
	store := open(t, "kubernetes://"+s.Address()+"/certificates/shown"+files)
	_, err := store.Load(t.Context(), "a")
	if err == nil || !strings.Contains(err.Error(), `User "server" cannot get`) { // known, and without rights
		t.Errorf("with a client's certificate: %v", err)
	}
	store = open(t, "kubernetes://"+s.Address()+"/certificates/shown"+files+".missing")
	if _, err = store.Load(t.Context(), "a"); err == nil || !strings.Contains(err.Error(), "the client's certificate") {
		t.Errorf("with a key that is missing: %v", err)
	}
}

// A client of the program's own shows who it is; redirects are not followed, neither with it.
func TestOwnClient(t *testing.T) {
	s := apiServer(t)
	config, err := account{ca: filepath.Join(s.Folder, "server.pem"), host: "127.0.0.1"}.config()
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	own := &http.Client{Transport: tripper(func(q *http.Request) (*http.Response, error) {
		q = q.Clone(q.Context())
		q.Header.Set("Authorization", "Bearer "+adminToken)
		return transport.RoundTrip(q)
	})}
	store, err := New(own, "https://"+s.Address()+"/", Config{Namespace: "certificates", Name: "own"})
	if err != nil {
		t.Fatal(err)
	}
	if err := storage.Check(t.Context(), store); err != nil {
		t.Error(err)
	}
	if err := store.Close(); err != nil || own.CheckRedirect != nil {
		t.Errorf("the client was changed, or Close fails: %v", err)
	}
}

// A pod finds its server, its namespace and its account by itself.
func TestPod(t *testing.T) {
	s := apiServer(t)
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	if _, err := Open(t.Context(), "kubernetes:///?account="+filepath.Join(s.Folder, "program"), Config{}); err == nil || !strings.Contains(err.Error(), "this is no pod") {
		t.Errorf("outside a pod: %v", err)
	}
	t.Setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
	t.Setenv("KUBERNETES_SERVICE_PORT", s.Port)
	store := open(t, "kubernetes:///?account="+filepath.Join(s.Folder, "program"))
	if store.namespace != "certificates" || store.name != "everseal" {
		t.Errorf("namespace %q, name %q", store.namespace, store.name)
	}
	if err := storage.Check(t.Context(), store); err != nil {
		t.Error(err)
	}
}

// HTTP/2 is spoken if the server does, and old TLS is not.
func TestTransport(t *testing.T) {
	for version, want := range map[uint16]bool{tls.VersionTLS11: false, tls.VersionTLS12: true} {
		protocol := make(chan int, 1)
		fake := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) { protocol <- q.ProtoMajor }))
		fake.EnableHTTP2 = true
		fake.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: version}
		fake.StartTLS()
		folder := t.TempDir()
		if err := writeAccount(folder, "x", encodeCertificate(fake.Certificate().Raw)); err != nil {
			t.Fatal(err)
		}
		store := open(t, "kubernetes://"+fake.Listener.Addr().String()+"/certificates?account="+folder)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		_, _ = store.Load(ctx, "a")
		select {
		case major := <-protocol:
			if !want || major != 2 {
				t.Errorf("TLS %x: HTTP/%d", version, major)
			}
		default:
			if want {
				t.Errorf("TLS %x: no request", version)
			}
		}
		cancel()
		_ = store.Close()
		fake.Close()
	}
}
