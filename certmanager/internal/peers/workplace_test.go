package peers

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/everseal/everseal/acme"
)

// A workplace is what programs need to obtain certificates: a CA with its port 80, and a way to TXT records. Each of them has the
// names below one domain.
type workplace struct {
	*pebble
	root    string // file with the certificate of the CA's HTTPS server
	records string // URL for TXT records: /present and /cleanup take {"fqdn": …, "value": …}, as lego's provider httpreq has it

	answers  answers
	handlers sync.Map // http.Handler for port 80 by the label in front of example.test
}

func startWorkplace(t *testing.T, s pebbleSettings) *workplace {
	t.Helper()
	w := &workplace{pebble: startPebble(t, s), root: filepath.Join(t.TempDir(), "root.pem")}
	writeFile(t, w.root, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.front.Certificate().Raw})))
	w.answers.setTXT = w.names.setTXT
	records := listen(t)
	startWeb(t, records, http.HandlerFunc(w.changeRecord))
	w.records = "http://" + records.Addr().String()
	plain := listen(t)
	startWeb(t, plain, http.HandlerFunc(w.answer))
	w.pebble.http.lead(plain.Addr().String())
	return w
}

// changeRecord creates or deletes a TXT record.
func (w *workplace) changeRecord(rw http.ResponseWriter, r *http.Request) {
	var record struct{ FQDN, Value string }
	if err := json.NewDecoder(r.Body).Decode(&record); err != nil {
		http.Error(rw, err.Error(), http.StatusBadRequest)
		return
	}
	name := strings.TrimSuffix(record.FQDN, ".")
	if r.URL.Path == "/cleanup" {
		w.answers.removeRecord(name, record.Value)
		return
	}
	w.answers.addRecord(name, record.Value)
}

// answer is what the CA finds at port 80.
func (w *workplace) answer(rw http.ResponseWriter, r *http.Request) {
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	labels := strings.Split(strings.TrimSuffix(host, ".example.test"), ".")
	if handler, ok := w.handlers.Load(labels[len(labels)-1]); ok {
		handler.(http.Handler).ServeHTTP(rw, r)
		return
	}
	http.NotFound(rw, r)
}

// webroot returns the folder that port 80 serves for the names below the domain.
func (w *workplace) webroot(t *testing.T, domain string) string {
	t.Helper()
	folder := t.TempDir()
	if err := os.MkdirAll(filepath.Join(folder, ".well-known", "acme-challenge"), 0o755); err != nil {
		t.Fatal(err)
	}
	w.handle(domain, http.FileServer(http.Dir(folder)))
	return folder
}

// handle has port 80 answer so for the names below the domain.
func (w *workplace) handle(domain string, handler http.Handler) {
	w.handlers.Store(strings.TrimSuffix(domain, ".example.test"), handler)
}

// proxy has a server behind port 80 answer for the names below the domain.
func (w *workplace) proxy(domain, address string) {
	w.handle(domain, httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: address}))
}

// solver proves control by TXT records, as the programs do.
func (w *workplace) solver() acme.Solver { return recordSolver{acme.TypeDNS01, &w.answers} }

// run runs a program to its end, with settings beside those of the environment. Shell scripts take long on slow machines.
func run(t *testing.T, environment []string, program string, arguments ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
	command := exec.CommandContext(ctx, program, arguments...)
	command.Env = append(os.Environ(), environment...)
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", command, err, output)
	}
}
