package main

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/everseal/everseal/acme/acmetest"
)

// programVariable makes the test's binary the program itself.
const programVariable = "EVERSEAL_KUBERNETES"

func TestMain(m *testing.M) {
	if os.Getenv(programVariable) != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// An ingress leads requests as the manifests' Ingresses and Service say, to one pod after the other, and serves the
// certificates of their Secrets.
type ingress struct {
	*manifests
	t       *testing.T
	cluster *cluster
	some    chan struct{} // closed when there is a pod
	mu      sync.Mutex
	pods    []string        // guarded by mu: addresses
	turn    int             // guarded by mu
	answers map[string]bool // guarded by mu: pods that have answered
}

func (i *ingress) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	for _, object := range i.ingresses {
		for _, rule := range object.Spec.Rules {
			for _, path := range rule.HTTP.Paths {
				if rule.Host == r.Host && strings.HasPrefix(r.URL.Path, path.Path) && object.Namespace == i.services[0].Namespace && path.Backend.Service.Name == i.services[0].Name &&
					path.Backend.Service.Port.Name == i.services[0].Spec.Ports[0].Name {
					i.lead(w, r)
					return
				}
			}
		}
	}
	fmt.Fprintln(w, "This is the web server.")
}

func (i *ingress) lead(w http.ResponseWriter, r *http.Request) {
	<-i.some // the CA may come before the pod is seen to be ready
	i.mu.Lock()
	i.turn++
	pod := i.pods[i.turn%len(i.pods)]
	i.answers[pod] = true
	i.mu.Unlock()
	(&httputil.ReverseProxy{Rewrite: func(q *httputil.ProxyRequest) {
		q.SetURL(&url.URL{Scheme: "http", Host: pod})
		q.Out.Host = q.In.Host
	}}).ServeHTTP(w, r)
}

// add adds a pod that is ready.
func (i *ingress) add(pod string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.pods = append(i.pods, pod); len(i.pods) == 1 {
		close(i.some)
	}
}

// certificate returns what the web Ingress's Secret of a name has; nil: nothing yet.
func (i *ingress) certificate(name string) *tls.Certificate {
	i.t.Helper()
	for _, of := range i.ingresses[1].Spec.TLS {
		if !slices.Contains(of.Hosts, name) {
			continue
		}
		response, err := i.cluster.get(i.ingresses[1].Namespace, of.SecretName)
		if err != nil || response.StatusCode == http.StatusNotFound {
			return nil
		}
		var secret corev1.Secret
		if err := json.NewDecoder(response.Body).Decode(&secret); err != nil {
			i.t.Fatal(err)
		}
		pair, err := tls.X509KeyPair(secret.Data["tls.crt"], secret.Data["tls.key"])
		if err != nil || secret.Type != corev1.SecretTypeTLS {
			i.t.Fatalf("the Secret %s is of the type %s: %v", of.SecretName, secret.Type, err)
		}
		return &pair
	}
	return nil
}

// Two pods with the arguments, the account and the rights of the manifests obtain certificates behind the ingress, write them
// into Secrets that it serves, and renew them. What the roles grant is what they need, no more.
func TestPods(t *testing.T) {
	m := readManifests(t)
	c := startCluster(t, m)
	i := &ingress{manifests: m, t: t, cluster: c, some: make(chan struct{}), answers: make(map[string]bool)}
	plain := httptest.NewServer(i)
	t.Cleanup(plain.Close)
	ca := acmetest.NewUnstartedServer()
	ca.Lifetime = 40 * time.Second
	ca.Start()
	t.Cleanup(ca.Close)
	ca.SetHost("*", strings.TrimPrefix(plain.URL, "http://"))
	root := filepath.Join(t.TempDir(), "root.pem")
	if err := os.WriteFile(root, ca.RootPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	store := "kubernetes://" + strings.TrimPrefix(c.notes.URL, "https://") + "/?account=" + c.account
	var logs []*output
	var ends []chan struct{}
	for range *m.deployments[0].Spec.Replicas {
		address := freeAddress(t)
		args := append(slices.Clone(m.deployments[0].Spec.Template.Spec.Containers[0].Args), "-http="+address, "-store="+store, "-ca="+ca.URL, "-preflight=off") // the CA finds the ingress by its own table of hosts
		ended, log := c.run(os.Args[0], []string{programVariable + "=1", "SSL_CERT_FILE=" + root}, args...)
		probe := "http://" + address + m.deployments[0].Spec.Template.Spec.Containers[0].ReadinessProbe.HTTPGet.Path
		c.await(ended, log, func() bool {
			response, err := http.Get(probe)
			if err != nil {
				return false
			}
			_ = response.Body.Close()
			return response.StatusCode == http.StatusOK
		})
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("pod at %s:\n%s", address, log.String())
			}
		})
		logs, ends = append(logs, log), append(ends, ended)
		i.add(address)
	}
	serial := make(map[string]string)
	for _, name := range m.options(t).names {
		c.await(ends[0], logs[0], func() bool { return i.certificate(name) != nil })
		serial[name] = i.serve(t, name, ca)
	}
	for name, first := range serial { // which is renewed when half of the lifetime has passed
		c.await(ends[0], logs[0], func() bool { return i.certificate(name).Leaf.SerialNumber.String() != first })
	}
	i.mu.Lock()
	if len(i.answers) != len(i.pods) {
		t.Errorf("the pods %v have answered the CA, of %v", i.answers, i.pods)
	}
	i.mu.Unlock()
	c.checkRights(t, m)
	for n, ended := range ends {
		select {
		case <-ended:
			t.Errorf("a pod has ended:\n%s", logs[n].String())
		default:
		}
		if strings.Contains(logs[n].String(), "403 Forbidden") {
			t.Errorf("a pod lacks rights:\n%s", logs[n].String())
		}
	}
}

// serve serves the web server as the ingress does, gets its page and returns the serial number of the certificate.
func (i *ingress) serve(t *testing.T, name string, ca *acmetest.Server) string {
	t.Helper()
	secure := httptest.NewUnstartedServer(i)
	secure.TLS = &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return i.certificate(name), nil }}
	secure.StartTLS()
	defer secure.Close()
	response, err := clientFor(t, strings.TrimPrefix(secure.URL, "https://"), roots(ca.RootPEM())).Get("https://" + name + "/")
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	defer response.Body.Close()
	if body, err := io.ReadAll(response.Body); err != nil || string(body) != "This is the web server.\n" {
		t.Errorf("%s: %v, %s", name, err, body)
	}
	return response.TLS.PeerCertificates[0].SerialNumber.String()
}

// checkRights compares what the pods have asked for with what they may.
func (c *cluster) checkRights(t *testing.T, m *manifests) {
	t.Helper()
	for _, role := range m.roles {
		granted := make(map[string]bool)
		for _, rule := range role.Rules {
			if !slices.Equal(rule.Resources, []string{"secrets"}) || !slices.Equal(rule.APIGroups, []string{""}) {
				t.Errorf("a rule is for %v of %v", rule.Resources, rule.APIGroups)
			}
			for _, verb := range rule.Verbs {
				granted[verb] = true
			}
			for _, name := range rule.ResourceNames {
				if asked := c.verbs(role.Namespace, name); !slices.Equal(asked, slices.Sorted(slices.Values(rule.Verbs))) {
					t.Errorf("namespace %s, Secret %s: %v was asked for, and %v is granted", role.Namespace, name, asked, rule.Verbs)
				}
			}
		}
		asked := c.verbs(role.Namespace, "")
		for verb := range granted {
			if !slices.Contains(asked, verb) {
				t.Errorf("namespace %s: %q is granted, and nobody needs it: %v", role.Namespace, verb, asked)
			}
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.refused) > 0 {
		t.Errorf("requests were refused: %v", c.refused)
	}
}

// freeAddress returns a loopback address to listen on. Its port is below those that systems give to outgoing connections, so
// that none of them takes it meanwhile, and is given once.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 100 {
		port := 12_000 + rand.N(10_000)
		if _, taken := given.LoadOrStore(port, true); taken {
			continue
		}
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			_ = listener.Close()
			return listener.Addr().String()
		}
	}
	t.Fatal("no port is free")
	return ""
}

// given are the ports that freeAddress has tried.
var given sync.Map
