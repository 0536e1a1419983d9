package certmanager_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/everseal/everseal/acme/acmetest"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage/storagetest"
)

// TestCausesComeFirst has attempts fail for what many meet: the failure begins with the cause and its cure, before the place.
func TestCausesComeFirst(t *testing.T) {
	for _, test := range []struct {
		name  string
		spoil func(*world, *storagetest.Faulty)
		want  string
	}{
		{"a page of HTML", func(w *world, _ *storagetest.Faulty) {
			w.ca.SetFaults(acmetest.Answer(http.StatusOK, "text/html", "<h1>log in</h1>"))
		}, "what answers is no CA: check ACME.DirectoryURL and the proxy: the answer of https://"},
		{"404", func(w *world, _ *storagetest.Faulty) {
			w.ca.SetFaults(acmetest.Answer(http.StatusNotFound, "text/html", "<h1>not here</h1>"))
		}, "what answers is no CA: check ACME.DirectoryURL and the proxy: HTTP 404 from https://"},
		{"another JSON", func(w *world, _ *storagetest.Faulty) {
			w.ca.SetFaults(acmetest.Answer(http.StatusOK, "application/json", "{}"))
		}, "what answers is no CA: check ACME.DirectoryURL and the proxy: https://"},
		{"a refused order", func(w *world, _ *storagetest.Faulty) {
			w.ca.SetFaults(acmetest.On("newOrder", w.ca.Problem(400, "malformed", "no such thing")))
		}, "the CA refuses the request: new order: "},
		{"a refused account", func(w *world, _ *storagetest.Faulty) {
			w.ca.SetFaults(acmetest.On("newAccount", w.ca.Problem(400, "invalidContact", "no such domain")))
		}, "the CA refuses the account: register: no such domain (invalidContact, HTTP 400)"},
		{"the account's record", func(_ *world, s *storagetest.Faulty) {
			s.SetFaults(storagetest.Fault{Prefix: "accounts", Err: errDisk})
		}, "the storage fails: no space left on device (account at https://"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				s, config := &storagetest.Faulty{Store: w.store}, w.config("example.com")
				config.Storage = s
				test.spoil(w, s)
				_, stop := w.running(config)
				defer stop()
				text := w.await(certmanager.EventFailed, "example.com", 1).Err.Error()
				if text = strings.TrimPrefix(strings.TrimPrefix(text, "certmanager: "), "example.com: "); !strings.HasPrefix(text, test.want) {
					t.Errorf("the failure is %q, want %q", text, test.want)
				}
				if strings.Count(text, w.ca.URL) > 1 {
					t.Errorf("the CA is named twice: %q", text)
				}
			})
		})
	}
}
