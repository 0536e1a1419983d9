package peers

import (
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/acme/acmetest"
	"github.com/everseal/everseal/solver"
)

// A stage is Pebble behind an editor, and a client of it that has no account yet.
type stage struct {
	*editor
	ca      *pebble
	client  *acme.Client
	solvers []acme.Solver
	culprit atomic.Pointer[string] // the name for which http-01 is answered wrong; nil: none
}

func newStage(t *testing.T) *stage {
	t.Helper()
	p := startPebble(t, pebbleSettings{})
	st := &stage{ca: p, editor: startEditor(t, p.front.URL, p.client())}
	st.client = st.newClient(t, "")
	http01 := new(solver.HTTP01)
	answer := http01.Handler(nil)
	plain := listen(t)
	startWeb(t, plain, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		if culprit := st.culprit.Load(); culprit != nil && *culprit == host {
			_, _ = io.WriteString(w, "not the answer")
			return
		}
		answer.ServeHTTP(w, r)
	}))
	p.http.lead(plain.Addr().String())
	st.solvers = []acme.Solver{http01, recordSolver{acme.TypeDNS01, &answers{setTXT: p.names.setTXT}}}
	return st
}

// newClient returns a client whose key the CA has not seen, with the URL of an account.
func (s *stage) newClient(t *testing.T, account string) *acme.Client {
	t.Helper()
	return &acme.Client{DirectoryURL: s.URL + strings.TrimPrefix(s.ca.directory, s.ca.front.URL), Key: newKey(t), HTTPClient: s.Client(), AccountURL: account}
}

// wantsIssued fails the test if the CA has made other numbers of orders and certificates.
func (s *stage) wantsIssued(t *testing.T, orders, certificates int) {
	t.Helper()
	s.ca.wants(t, orders, certificates)
	if n := s.orders(); n != orders {
		t.Errorf("%d orders passed the relay, want %d", n, orders)
	}
}

// verify fails the test unless clients that trust the CA accept the certificate.
func (s *stage) verify(t *testing.T, certificate *acme.Certificate, r acme.Request) {
	t.Helper()
	verify(t, s.ca, certificate, r)
}

// What is tried against both CAs is written once: the modules can't share it, so each has a copy.
func TestStepCAHasTheSameDeviations(t *testing.T) {
	for _, file := range []string{"editor_test.go", "deviation_test.go", "deviationcalls_test.go"} {
		here, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		there, err := os.ReadFile("stepca/" + file)
		if err != nil {
			t.Fatal(err)
		}
		if want := strings.Replace(string(here), "package peers\n", "package stepca\n", 1); string(there) != want {
			t.Errorf("%s differs from its copy: change both alike", file)
		}
	}
}

// keepsSubject says whether certificates have the subject that was asked for. Pebble leaves it empty.
const keepsSubject = false

// ownFailures are those of which step-ca does not play its part: it issues nothing that is over already.
func ownFailures() []failure {
	const day = 24 * time.Hour
	over := func(r *acme.Request) {
		now := time.Now().Truncate(time.Second)
		r.NotBefore, r.NotAfter = now.Add(-100*day), now.Add(-10*day)
	}
	return []failure{
		{name: "a clock ahead of the CA's", fault: clock(-50 * day), change: over, orders: 1,
			says: []string{"expired at", "this machine's clock is wrong by"}},
		{name: "a certificate that is over by both clocks", fault: clock(0), change: over, orders: 1,
			says: []string{"expired at"}, lost: true},
		{name: "a certificate that is over, and no date", fault: acmetest.Edit(func(r *acmetest.Response) { r.Header["Date"] = nil }), change: over, orders: 1,
			says: []string{"expired at", "the CA does not tell its time"}},
	}
}

// resourceName returns what package acmetest calls the resource with the path.
func resourceName(path string) string {
	first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	names := map[string]string{
		"dir": "directory", "nonce-plz": "newNonce", "sign-me-up": "newAccount", "my-account": "account", "order-plz": "newOrder",
		"my-order": "order", "finalize-order": "finalize", "authZ": "authorization", "chalZ": "challenge", "certZ": "certificate",
		"list-orderz": "orders", "rollover-account-key": "keyChange", "revoke-cert": "revokeCert", "draft-ietf-acme-ari-03": "renewalInfo",
	}
	return names[first]
}
