package peers

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"regexp"
	"testing"
	"time"

	"github.com/everseal/everseal/certmanager"
	records "github.com/everseal/everseal/certmanager/internal/record"
	"github.com/everseal/everseal/storage"
)

// setRenewalInfo has Pebble answer with the text when it is asked when to renew the certificate, in DER.
func (p *pebble) setRenewalInfo(t *testing.T, der []byte, text string) {
	t.Helper()
	body, err := json.Marshal(map[string]string{
		"Certificate": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), "ARIResponse": text,
	})
	if err != nil {
		t.Fatal(err)
	}
	answer := httptest.NewRecorder()
	request := httptest.NewRequest(http.MethodPost, "/set-renewal-info/", bytes.NewReader(body))
	request.Header.Set("User-Agent", "test")
	p.management.ServeHTTP(answer, request)
	if answer.Code != http.StatusOK {
		t.Fatalf("%d %s", answer.Code, answer.Body)
	}
}

// backdate has the stored certificate obtained half a day ago: one that was obtained just now is not asked about.
func backdate(t *testing.T, s storage.Store, key string) {
	t.Helper()
	item, err := s.Load(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	obtained := regexp.MustCompile(`"obtained":"[^"]*"`)
	value := obtained.ReplaceAll(item.Value, []byte(`"obtained":"`+time.Now().Add(-12*time.Hour).UTC().Format(time.RFC3339)+`"`))
	if _, err := s.Save(t.Context(), key, value, item.Revision); err != nil {
		t.Fatal(err)
	}
}

// A manager that is started does what the CA wants of the certificates that it finds: one is due at once, and the order for its
// successor says what it replaces; of another the answer is malformed, and it stays.
func TestManagerObeysRenewalInfo(t *testing.T) {
	const pulled, kept = "pulled.example.test", "kept.example.test"
	p := startPebble(t, pebbleSettings{lifetime: 30 * time.Minute}) // of which a hundredth is a member's own delay
	config := certmanager.Config{Names: []string{pulled, kept}, Storage: new(storage.Memory)}
	s := startServer(t, p, config)
	old := make(map[string]*tls.Certificate)
	for _, name := range config.Names {
		s.events.wait(t, certmanager.EventObtained, name)
		old[name], _ = s.Certificate(name)
	}
	s.stop()
	issuer := (&certmanager.ACME{DirectoryURL: p.directory}).ID()
	for _, name := range config.Names {
		backdate(t, config.Storage, records.CertificateKey(issuer, name, "ecdsa-p256"))
	}
	p.setRenewalInfo(t, old[pulled].Certificate[0],
		`{"suggestedWindow":{"start":"2020-01-01T00:00:00Z","end":"2020-01-02T00:00:00Z"},"explanationURL":"https://ca.test/why"}`)
	p.setRenewalInfo(t, old[kept].Certificate[0], `{"suggestedWindow":`)

	s = startServer(t, p, config)
	told := s.events.wait(t, certmanager.EventRescheduled, pulled)
	if told.ExplanationURL != "https://ca.test/why" || told.Next.After(time.Now()) {
		t.Errorf("the event is %+v", told)
	}
	renewed := s.events.wait(t, certmanager.EventObtained, pulled)
	if renewed.Serial == told.Serial || serial(s.served(t, pulled)) != renewed.Serial {
		t.Errorf("it is renewed: %+v", renewed)
	}
	if status, ok := s.Status(kept); !ok || status.Failure != nil || time.Until(status.Next) < 5*time.Minute {
		t.Errorf("the other one: %+v", status)
	}
	p.wants(t, 3, 3)
}
