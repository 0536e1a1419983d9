package certmanager_test

import (
	"bytes"
	"encoding/pem"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/everseal/everseal/acme/acmetest"
	"github.com/everseal/everseal/certmanager"
)

// What a CA puts into its answer besides the chain costs a warning; what is left can be stored, read back and
// served.
func TestOddChainIsServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, stranger := newWorld(t), newLocalCA(t, "stranger")
		unrelated := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: stranger.root.Raw})
		w.ca.SetFaults(acmetest.On("certificate", acmetest.Edit(func(r *acmetest.Response) {
			leaf, _ := pem.Decode(r.Body)
			r.Body = bytes.TrimSuffix(bytes.Join([][]byte{r.Body, pem.EncodeToMemory(leaf), unrelated}, nil), []byte("\n"))
		})))
		_, stop := w.running(w.config("example.com"))
		warning := w.await(certmanager.EventWarning, "example.com", 1).Err.Error()
		for _, words := range []string{"example.com", "certificate 3", "certificate 4", "stranger"} {
			if !strings.Contains(warning, words) {
				t.Errorf("warning %q does not say %q", warning, words)
			}
		}
		stop()
		again, stop := w.running(w.config("example.com"))
		defer stop()
		certificate, err := ask(t, again, "example.com")
		if err != nil || len(certificate.Certificate) != 2 {
			t.Fatalf("%v, %v", certificate, err)
		}
		if n := len(w.ca.Orders()); n != 1 {
			t.Errorf("%d orders, want 1", n)
		}
	})
}
