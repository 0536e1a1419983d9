package kubernetes

import (
	"context"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/everseal/everseal/storage/internal/server"
)

// patience is how long something may take that is certain to come.
const patience = 60 * time.Second

// Tokens of the API server's users.
const (
	adminToken   = "t0ken-of-the-admin"   // may do everything
	programToken = "t0ken-of-the-program" // is the service account of rbac.yaml
	nobodyToken  = "t0ken-of-nobody"      // is one that may do nothing
)

var shared server.Shared

// apiServer returns the API server that the tests share.
func apiServer(t testing.TB) *server.Server {
	t.Helper()
	s, err := shared.Server("kubernetes", startAPIServer)
	server.Skip(t, err)
	return s
}

// ownAPIServer returns one that the test alone has.
func ownAPIServer(t testing.TB) *server.Server {
	t.Helper()
	s, err := startAPIServer()
	server.Skip(t, err)
	t.Cleanup(s.Remove)
	return s
}

// startAPIServer starts an API server with Secrets and nothing else, whose users have the tokens, and roles by rbac.yaml.
// In the server's folder there is an account's folder for each user.
func startAPIServer() (*server.Server, error) {
	program, err := server.BuildLarge(filepath.Join("..", "internal", "server", "kubernetesserver"))
	if err != nil {
		return nil, err
	}
	s, err := server.New(program, "")
	if err != nil {
		return nil, err
	}
	if err := prepareAPIServer(s); err != nil {
		s.Remove()
		return nil, err
	}
	if err := s.Start(context.Background()); err != nil {
		s.Remove()
		return nil, err
	}
	return s, nil
}

func prepareAPIServer(s *server.Server) error {
	certificate, key, err := s.Certificate()
	if err != nil {
		return err
	}
	tokens, err := s.Write("tokens.csv", adminToken+`,admin,1,"system:masters"`,
		programToken+",system:serviceaccount:certificates:everseal,2", nobodyToken+",system:serviceaccount:certificates:default,3")
	if err != nil {
		return err
	}
	roles, err := filepath.Abs("rbac.yaml")
	if err != nil {
		return err
	}
	ca, err := os.ReadFile(certificate)
	if err != nil {
		return err
	}
	for name, token := range map[string]string{"admin": adminToken, "program": programToken, "nobody": nobodyToken} {
		if err := writeAccount(filepath.Join(s.Folder, name), token, ca); err != nil {
			return err
		}
	}
	s.Arguments = []string{"-port", s.Port, "-folder", s.Folder, "-certificate", certificate, "-key", key, "-tokens", tokens, "-roles", roles, "-clients", certificate}
	config, err := account{ca: certificate, host: "127.0.0.1"}.config()
	if err != nil {
		return err
	}
	probe := &http.Client{Transport: &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}}
	s.Ready = func(ctx context.Context) error { return readyAPIServer(ctx, probe, s.Address()) }
	return nil
}

func writeAccount(folder, token string, ca []byte) error {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	for name, text := range map[string]string{"token": token, "ca.crt": string(ca), "namespace": "certificates\n"} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// readyAPIServer reports whether the server answers a list.
func readyAPIServer(ctx context.Context, probe *http.Client, address string) error {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+address+"/api/v1/namespaces/probe/secrets", nil)
	if err != nil {
		return err
	}
	q.Header.Set("Authorization", "Bearer "+adminToken)
	response, err := probe.Do(q)
	if err == nil {
		defer response.Body.Close()
		if response.StatusCode == http.StatusOK {
			return nil
		}
		err = fmt.Errorf("it answers %s", response.Status)
	}
	return err
}

var places atomic.Int64

// place returns the URL of an empty place at the address, for the user whose account is in the server's folder.
func place(s *server.Server, address, user string) string {
	u := url.URL{Scheme: "kubernetes", Host: address, Path: fmt.Sprintf("/certificates/place-%d", places.Add(1)),
		RawQuery: url.Values{"account": {filepath.Join(s.Folder, user)}}.Encode()}
	return u.String()
}

// open opens a store by its URL until the test ends.
func open(t testing.TB, rawURL string) *Store {
	t.Helper()
	s, err := Open(t.Context(), rawURL, Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// newStoreOf opens a store in an empty place of the server that tests share.
func newStoreOf(t testing.TB) *Store {
	t.Helper()
	s := apiServer(t)
	return open(t, place(s, s.Address(), "admin"))
}

// change sends the API server a request about a Secret as the admin does: as another program would.
func change(t testing.TB, s *server.Server, r request, into any) {
	t.Helper()
	c := account{token: filepath.Join(s.Folder, "admin", "token"), ca: filepath.Join(s.Folder, "admin", "ca.crt"), host: "127.0.0.1"}.client(s.Address())
	defer c.close()
	c.namespace = "certificates"
	if err := c.once(t.Context(), r, into); err != nil {
		t.Fatal(err)
	}
}

// noToken fails if an error has a token in it, or a part of the URL's.
func noToken(t testing.TB, err error) {
	t.Helper()
	if err != nil && (strings.Contains(err.Error(), "t0ken") || strings.Contains(err.Error(), "kubernetes://10") || strings.Contains(err.Error(), "labelSelector")) {
		t.Errorf("the error tells too much: %v", err)
	}
}

func encodeCertificate(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
