package peers

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
)

// status returns what Pebble's management interface says of the certificate with the serial number, in hexadecimal.
func (p *pebble) status(t *testing.T, serial string) (status string, reason acme.RevocationReason) {
	t.Helper()
	answer := httptest.NewRecorder()
	p.management.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/cert-status-by-serial/"+serial, nil))
	var said struct {
		Status string
		Reason acme.RevocationReason
	}
	if err := json.Unmarshal(answer.Body.Bytes(), &said); err != nil {
		t.Fatalf("%d %s: %v", answer.Code, answer.Body, err)
	}
	return said.Status, said.Reason
}

// What is revoked is seen so at the CA, and its successor is served; what is given up has none.
func TestRevokedAtCA(t *testing.T) {
	const name = "revoked.example.test"
	p := startPebble(t, pebbleSettings{})
	s := startServer(t, p, certmanager.Config{Names: []string{name}})
	first := s.events.wait(t, certmanager.EventObtained, name)
	for _, reason := range []acme.RevocationReason{acme.ReasonSuperseded, acme.ReasonKeyCompromise} {
		old := serial(s.served(t, name))
		if err := s.Revoke(within(t), name, reason); err != nil {
			t.Fatal(err)
		}
		if status, got := p.status(t, old); status != "Revoked" || got != reason {
			t.Errorf("the old certificate is %s, for reason %d; want %d", status, got, reason)
		}
		current := serial(s.served(t, name))
		if status, _ := p.status(t, current); status != "Valid" || current == old {
			t.Errorf("the certificate %s is served, which is %s; before it was %s", current, status, first.Serial)
		}
	}
	last := serial(s.served(t, name))
	if err := s.Forget(name); err != nil {
		t.Fatal(err)
	}
	if err := s.Revoke(within(t), name, acme.ReasonCessationOfOperation); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(within(t), name); err != nil {
		t.Fatal(err)
	}
	if status, reason := p.status(t, last); status != "Revoked" || reason != acme.ReasonCessationOfOperation {
		t.Errorf("what was given up is %s, for reason %d", status, reason)
	}
	p.wants(t, 3, 3)
}
