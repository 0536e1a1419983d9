package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Tokens of the API server's users.
const (
	adminToken   = "token-of-the-admin"
	programToken = "token-of-the-service-account"
)

// A cluster is an API server of Kubernetes that has Secrets and the manifests' roles, with what notes requests before it.
type cluster struct {
	t        *testing.T
	server   string // address of the API server
	notes    *httptest.Server
	account  string // the folder with the service account's files
	client   *http.Client
	mu       sync.Mutex
	requests []string // guarded by mu: "verb namespace/name"
	refused  []string // guarded by mu
}

// startCluster starts it for a service account.
func startCluster(t *testing.T, m *manifests) *cluster {
	t.Helper()
	program := buildAPIServer(t)
	c := &cluster{t: t, server: freeAddress(t), account: t.TempDir()}
	c.notes = httptest.NewUnstartedServer(http.HandlerFunc(c.note))
	c.notes.EnableHTTP2 = true
	c.notes.StartTLS()
	t.Cleanup(c.notes.Close)
	folder := t.TempDir()
	certificate, key := c.notes.TLS.Certificates[0].Certificate[0], c.notes.TLS.Certificates[0].PrivateKey
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certificatePEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate})
	user := fmt.Sprintf("system:serviceaccount:%s:%s", m.accounts[0].Namespace, m.accounts[0].Name)
	for name, data := range map[string][]byte{
		filepath.Join(folder, "server.pem"):   certificatePEM,
		filepath.Join(folder, "server.key"):   pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded}),
		filepath.Join(folder, "tokens.csv"):   []byte(adminToken + ",admin,1,\"system:masters\"\n" + programToken + "," + user + ",2\n"),
		filepath.Join(c.account, "ca.crt"):    certificatePEM,
		filepath.Join(c.account, "token"):     []byte(programToken),
		filepath.Join(c.account, "namespace"): []byte(m.accounts[0].Namespace),
	} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c.client = c.notes.Client()
	roles, err := filepath.Abs("manifests.yaml")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(c.server)
	ended, log := c.run(program, nil, "-port", port, "-folder", folder, "-roles", roles, "-tokens", filepath.Join(folder, "tokens.csv"),
		"-certificate", filepath.Join(folder, "server.pem"), "-key", filepath.Join(folder, "server.key"))
	c.await(ended, log, func() bool {
		response, err := c.get("default", "")
		return err == nil && response.StatusCode == http.StatusOK
	})
	return c
}

// buildAPIServer returns the program of the API server. Building it takes minutes: that is done in CI, or where it was asked for.
func buildAPIServer(t *testing.T) string {
	t.Helper()
	if os.Getenv("CI") == "" && os.Getenv("EVERSEAL_LARGE_SERVERS") == "" {
		t.Skip("the API server takes minutes to build: set EVERSEAL_LARGE_SERVERS=1 to have it built")
	}
	cmd := exec.CommandContext(t.Context(), "go", "tool", "-n", "kubernetesserver")
	cmd.Dir = filepath.Join("..", "..", "storage", "internal", "server", "kubernetesserver")
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS="+strings.TrimSpace(os.Getenv("GOFLAGS")+" -mod=readonly"))
	output, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		t.Fatalf("the API server can't be built: %v\n%s", err, exit.Stderr)
	}
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(output))
}

// run starts a program until the test ends. What it returns is closed when that has ended, and has what it said.
func (c *cluster) run(program string, environment []string, args ...string) (ended chan struct{}, log *output) {
	c.t.Helper()
	cmd := exec.Command(program, args...)
	ended, log = make(chan struct{}), new(output)
	cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), environment...), log, log
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	go func() {
		defer close(ended)
		if err := cmd.Wait(); err != nil {
			fmt.Fprintln(log, err)
		}
	}()
	c.t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		select {
		case <-ended:
		case <-time.After(patience):
			_ = cmd.Process.Kill()
			<-ended
		}
	})
	return ended, log
}

// patience is how long something may take that is certain to come.
const patience = time.Minute

// await waits until it is so. A process that ends meanwhile is a failure.
func (c *cluster) await(ended chan struct{}, log *output, so func() bool) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	for !so() {
		select {
		case <-ended:
			c.t.Fatalf("the process has ended:\n%s", log.String())
		case <-ctx.Done():
			c.t.Fatalf("it does not come:\n%s", log.String())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// get asks the API server for a Secret, or for all of a namespace, as an administrator does.
func (c *cluster) get(namespace, name string) (*http.Response, error) {
	q, err := http.NewRequestWithContext(c.t.Context(), http.MethodGet, "https://"+c.server+strings.TrimSuffix("/api/v1/namespaces/"+namespace+"/secrets/"+name, "/"), nil)
	if err != nil {
		return nil, err
	}
	q.Header.Set("Authorization", "Bearer "+adminToken)
	response, err := c.client.Do(q)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	response.Body = io.NopCloser(bytes.NewReader(body))
	return response, err
}

// note passes a request on to the API server, and notes what it was as roles have it.
func (c *cluster) note(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/") // api v1 namespaces NAMESPACE secrets NAME
	namespace, name := parts[3], ""
	if len(parts) > 5 {
		name = parts[5]
	}
	verb := map[string]string{http.MethodGet: "get", http.MethodPost: "create", http.MethodPut: "update", http.MethodDelete: "delete", http.MethodPatch: "patch"}[r.Method]
	switch {
	case r.Method == http.MethodGet && r.URL.Query().Has("watch"):
		verb = "watch"
	case r.Method == http.MethodGet && name == "":
		verb = "list"
	}
	what := fmt.Sprintf("%s %s %s", verb, namespace, name)
	(&httputil.ReverseProxy{
		Transport:     c.client.Transport,
		FlushInterval: -1, // watches
		Rewrite:       func(q *httputil.ProxyRequest) { q.SetURL(&url.URL{Scheme: "https", Host: c.server}) },
		ModifyResponse: func(response *http.Response) error {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.requests = append(c.requests, what)
			if response.StatusCode == http.StatusForbidden {
				c.refused = append(c.refused, what)
			}
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}).ServeHTTP(w, r)
}

// verbs returns the verbs of all requests that were made in a namespace, for Secrets of which that is the start of the name.
func (c *cluster) verbs(namespace, prefix string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var verbs []string
	for _, request := range c.requests {
		if parts := strings.SplitN(request, " ", 3); parts[1] == namespace && strings.HasPrefix(parts[2], prefix) && !slices.Contains(verbs, parts[0]) {
			verbs = append(verbs, parts[0])
		}
	}
	slices.Sort(verbs)
	return verbs
}

// roots returns a pool with a certificate in PEM.
func roots(pem []byte) *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	return pool
}

// clientFor returns a client that finds all names at the address.
func clientFor(t *testing.T, address string, pool *x509.CertPool) *http.Client {
	transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: pool}, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, address)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// An output keeps what a process prints, which is read at any time.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}
