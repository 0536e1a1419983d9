package peers

import (
	"crypto/tls"
	"net/http"
	"testing"

	xacme "golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"

	"github.com/everseal/everseal/certmanager"
)

// TestMoveFromAutocert has a server leave autocert for a manager, with what autocert has as its fallback, while the CA can't be
// reached: HTTPS goes on. Once the CA answers, the manager's own certificate is served.
func TestMoveFromAutocert(t *testing.T) {
	const name = "moved.example.test"
	p := startPebble(t, pebbleSettings{})
	former := &autocert.Manager{
		Prompt:     autocert.AcceptTOS,
		Cache:      autocert.DirCache(t.TempDir()),
		HostPolicy: autocert.HostWhitelist(name),
		Client:     &xacme.Client{DirectoryURL: p.directory, HTTPClient: p.client()},
	}
	secure := listen(t)
	web := startWeb(t, tls.NewListener(secure, former.TLSConfig()), http.HandlerFunc(page))
	p.tls.lead(secure.Addr().String())
	before, err := handshake(within(t), p, secure.Addr().String(), name)
	if err != nil {
		t.Fatal(err)
	}
	web.stop(t)

	// What its cache has is all that autocert needs: a new process is given no way to the CA.
	former = &autocert.Manager{Prompt: autocert.AcceptTOS, Cache: former.Cache, HostPolicy: former.HostPolicy, Client: &xacme.Client{DirectoryURL: unreachable(t)}}
	config := certmanager.Config{Names: []string{name}, Fallback: former.GetCertificate}
	down := config
	down.Issuers = []certmanager.Issuer{&certmanager.ACME{DirectoryURL: unreachable(t), AgreeToTerms: true}}
	s := startServer(t, p, down)
	s.events.wait(t, certmanager.EventFailed, name)
	if got := s.served(t, name); serial(got) != serial(before) {
		t.Errorf("while the CA is down another certificate than autocert's is served")
	}
	s.stop()

	s = startServer(t, p, config)
	obtained := s.events.wait(t, certmanager.EventObtained, name)
	if got := s.served(t, name); serial(got) != obtained.Serial || obtained.Serial == serial(before) {
		t.Errorf("once the CA is up, what is served is not the manager's")
	}
}

// unreachable returns the URL of a directory where nobody listens.
func unreachable(t *testing.T) string {
	l := listen(t)
	defer l.Close()
	return "http://" + l.Addr().String() + "/directory"
}
