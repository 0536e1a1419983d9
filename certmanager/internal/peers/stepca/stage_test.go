package stepca

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver"
)

// A stage is step-ca behind an editor, and a client of it that has no account yet.
type stage struct {
	*editor
	ca      *authorityServer
	client  *acme.Client
	solvers []acme.Solver
	culprit atomic.Pointer[string] // the name for which http-01 is answered wrong; nil: none
}

func newStage(t *testing.T) *stage {
	t.Helper()
	ca := start(t)
	s := &stage{ca: ca, editor: startEditor(t, ca.front.URL, ca.client())}
	s.client = s.newClient(t, "")
	http01 := new(solver.HTTP01)
	answer := http01.Handler(nil)
	ca.lead(startWeb(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if culprit := s.culprit.Load(); culprit != nil && *culprit == r.Host {
			_, _ = io.WriteString(w, "not the answer")
			return
		}
		answer.ServeHTTP(w, r)
	}), nil), "")
	s.solvers = []acme.Solver{http01, ca.dns01()}
	return s
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

// keepsSubject says whether certificates have the subject that was asked for.
const keepsSubject = true

// ownFailures are those that this CA alone can play: none.
func ownFailures() []failure { return nil }

// resourceName returns what package acmetest calls the resource with the path.
func resourceName(path string) string {
	resource := resourceOf(path)
	names := map[string]string{
		"new-nonce": "newNonce", "new-account": "newAccount", "new-order": "newOrder", "authz": "authorization",
		"key-change": "keyChange", "revoke-cert": "revokeCert",
	}
	if name, ok := names[resource]; ok {
		return name
	}
	return resource
}
