package acme_test

import (
	"crypto/x509"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/acme/acmetest"
)

// newChainsCA returns a CA with three chains, and the common names of their roots, the usual one first.
func newChainsCA(t *testing.T) (*ca, []string) {
	t.Helper()
	c := newUnregisteredCA(t, func(s *acmetest.Server) { s.AlternateChains = 2 })
	if _, err := c.client.Register(t.Context(), acme.Registration{AgreeToTerms: true}); err != nil {
		t.Fatal(err)
	}
	certificate, err := c.issue(t, t.Context(), acme.Request{})
	if err != nil || len(certificate.Alternates) != 2 {
		t.Fatalf("alternates %q, %v", certificate.Alternates, err)
	}
	roots := []string{rootOf(t, certificate)}
	for _, url := range certificate.Alternates {
		alternate, err := c.client.GetCertificate(t.Context(), url)
		if err != nil || !alternate.Leaf.Equal(certificate.Leaf) || len(alternate.Alternates) != 2 {
			t.Fatalf("alternate %+v, %v", alternate, err)
		}
		roots = append(roots, rootOf(t, alternate))
	}
	c.forget()
	return c, roots
}

// rootOf returns the common name of the root that the last certificate of the chain names.
func rootOf(t *testing.T, certificate *acme.Certificate) string {
	t.Helper()
	last, err := x509.ParseCertificate(certificate.Chain[len(certificate.Chain)-1])
	if err != nil {
		t.Fatal(err)
	}
	return last.Issuer.CommonName
}

// Other chains cost requests, and are fetched only where the first is not the one that is wanted; the first
// that is ends the search.
func TestPreferredChain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, roots := newChainsCA(t)
		for _, test := range []struct {
			preferred, root string
			requests        int
		}{
			{"", roots[0], 1},
			{roots[0], roots[0], 1},
			{c.Certificates()[0].Issuer.CommonName, roots[0], 1},
			{roots[1], roots[1], 2},
			{roots[2], roots[2], 3},
			{"Root of Nobody", roots[0], 3},
		} {
			c.forget()
			certificate, err := c.issue(t, t.Context(), acme.Request{PreferredChain: test.preferred})
			if err != nil {
				t.Fatal(err)
			}
			c.wantChain(t, certificate)
			if got := rootOf(t, certificate); got != test.root || len(certificate.Alternates) != 2 {
				t.Errorf("preferring %q the chain leads to %q, want %q; alternates %q", test.preferred, got, test.root, certificate.Alternates)
			}
			if n := len(c.requests("certificate")); n != test.requests {
				t.Errorf("preferring %q: %d requests for certificates, want %d", test.preferred, n, test.requests)
			}
			usual, err := c.client.GetCertificate(t.Context(), certificate.URL)
			if err != nil || rootOf(t, usual) != roots[0] {
				t.Errorf("preferring %q: the URL is not that of the usual chain: %v", test.preferred, err)
			}
		}
	})
}

// The certificate has come: that another chain can't be had, or is none, takes nothing from it.
func TestPreferredChainThatCannotBeHad(t *testing.T) {
	foreign := chainPEM(newIssuer(t, nil).certificate)
	for name, alternate := range map[string]http.HandlerFunc{
		"gone":                answer(404, problem("malformed", "gone")),
		"HTML":                answer(200, "<html>"),
		"cut":                 func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"another certificate": answer(200, foreign),
		"a gigabyte": func(w http.ResponseWriter, r *http.Request) {
			acmetest.Oversized(1<<30)(answer(200, foreign)).ServeHTTP(w, r)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, roots := newChainsCA(t)
				c.SetFaults(acmetest.On("certificate", func(next http.Handler) http.Handler {
					first := true
					return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						if first {
							first = false
							next.ServeHTTP(w, r)
							return
						}
						alternate(w, r)
					})
				}))
				certificate, err := c.issue(t, t.Context(), acme.Request{PreferredChain: roots[2]})
				if err != nil {
					t.Fatal(err)
				}
				c.wantChain(t, certificate)
				if got := rootOf(t, certificate); got != roots[0] || c.asked("certificate") < 3 {
					t.Errorf("the chain leads to %q, want %q, after %d requests", got, roots[0], c.asked("certificate"))
				}
			})
		})
	}
}

// However many links there are, the search for another chain ends.
func TestAlternatesWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, roots := newChainsCA(t)
		c.SetFaults(acmetest.On("certificate", acmetest.Edit(func(r *acmetest.Response) {
			r.Header["Link"] = slices.Repeat([]string{`</certificate/none>;rel="alternate"`}, 1000)
		})))
		certificate, err := c.issue(t, t.Context(), acme.Request{PreferredChain: roots[2]})
		if err != nil {
			t.Fatal(err)
		}
		c.wantChain(t, certificate)
		if n := c.asked("certificate"); n > 51 {
			t.Errorf("%d requests for certificates", n)
		}
	})
}
