package tested

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme/acmetest"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
)

const day = 24 * time.Hour

// In a bubble time stands still while anything is to be done, and goes on at once when all wait: months take milliseconds. All
// that has to do with the server is made in the bubble, and nothing of it is on the network.

func TestObtains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t)
		page, serial := s.page(t)
		if page != "Welcome to shop.example.com!\n" {
			t.Errorf("the page is %q", page)
		}
		if certificates := s.ca.Certificates(); len(certificates) != 1 || certificates[0].SerialNumber.Text(16) != serial {
			t.Errorf("%d certificates were issued, want the one that is served", len(certificates))
		}
	})
}

// A certificate lives for 90 days, and is renewed after two thirds of them, or a little later.
func TestRenews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t)
		_, first := s.page(t)
		time.Sleep(55 * day)
		if _, serial := s.page(t); serial != first {
			t.Error("after 55 days there is another certificate")
		}
		time.Sleep(10 * day)
		if _, serial := s.page(t); serial == first {
			t.Error("after 65 days the certificate is still the first")
		}
		if n := len(s.ca.Certificates()); n != 2 {
			t.Errorf("%d certificates were issued, want 2", n)
		}
	})
}

// The CA says when it wants the certificate renewed, and is down then, for six hours. Visitors notice nothing, and soon after
// its return there is another certificate.
func TestOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t)
		_, first := s.page(t)
		due := time.Now().Add(60 * day)
		s.ca.SetRenewalInfo(s.ca.Certificates()[0].SerialNumber, acmetest.RenewalInfo{Start: due, End: due.Add(time.Minute)})
		time.Sleep(time.Until(due) - time.Hour)
		s.ca.SetFaults(acmetest.Answer(http.StatusServiceUnavailable, "text/html", "down for maintenance"))
		for range 7 {
			time.Sleep(time.Hour)
			if _, serial := s.page(t); serial != first {
				t.Fatal("there is another certificate while the CA is down")
			}
		}
		s.ca.SetFaults()
		time.Sleep(time.Hour)
		if _, serial := s.page(t); serial == first {
			t.Error("an hour after the outage the certificate is still the first")
		}
	})
}

// A CA that refuses is not asked for ever: public ones grant five failures an hour.
func TestRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, func(ca *acmetest.Server) { ca.FailValidations("shop.example.com", 1000) })
		time.Sleep(day)
		if n := len(s.ca.Orders()); n < 2 || n > 10 {
			t.Errorf("%d orders in a day, want a few", n)
		}
		s.ca.FailValidations("shop.example.com", 0)
		time.Sleep(7 * day)
		s.page(t)
	})
}

// A site is the server at work, with a CA of its own.
type site struct {
	ca     *acmetest.Server
	client *http.Client
}

// start starts the server in the bubble, and ends it with the test.
func start(t *testing.T, prepare ...func(*acmetest.Server)) *site {
	t.Helper()
	var network acmetest.Network
	listener, err := network.Listen("tcp", ":443")
	if err != nil {
		t.Fatal(err)
	}
	ca := acmetest.NewUnstartedServer()
	ca.Dial = network.DialContext
	ca.SetHost("*", "192.0.2.1")
	for _, f := range prepare {
		f(ca)
	}
	ca.StartInMemory()
	t.Cleanup(ca.Close)

	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		ended <- Serve(ctx, listener, certmanager.Config{
			Names:        []string{"shop.example.com"},
			Issuers:      []certmanager.Issuer{&certmanager.ACME{DirectoryURL: ca.URL, HTTPClient: ca.Client()}},
			AgreeToTerms: true,
			Storage:      new(storage.Memory),
			Preflight:    certmanager.PreflightOff, // it would ask the DNS
			Logger:       slog.New(slog.NewTextHandler(t.Output(), nil)),
		})
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	time.Sleep(time.Minute)
	return &site{ca, &http.Client{Transport: &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: ca.Roots()},
		DialContext:       network.DialContext,
		DisableKeepAlives: true, // so that each request has a handshake
	}}}
}

// page returns the page, and the serial number of the certificate that it has come with.
func (s *site) page(t *testing.T) (page, serial string) {
	t.Helper()
	answer, err := s.client.Get("https://shop.example.com/")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body), answer.TLS.PeerCertificates[0].SerialNumber.Text(16)
}
