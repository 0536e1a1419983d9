package acmetest_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme/acmetest"
)

// What the CA itself refuses comes with a fresh nonce, and nothing has happened.
func TestRefusals(t *testing.T) {
	date := time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)
	for _, test := range []struct {
		name       string
		fault      func(*acmetest.Server) acmetest.Fault
		status     int
		want       string
		retryAfter string
	}{
		{"problem", func(ca *acmetest.Server) acmetest.Fault { return ca.Problem(418, "userActionRequired", "100 %d") }, 418, "userActionRequired", ""},
		{"seconds", func(ca *acmetest.Server) acmetest.Fault { return ca.RateLimited("30") }, 429, "rateLimited", "30"},
		{"date", func(ca *acmetest.Server) acmetest.Fault { return ca.RateLimited(date) }, 429, "rateLimited", date},
		{"garbage", func(ca *acmetest.Server) acmetest.Fault { return ca.RateLimited("soon") }, 429, "rateLimited", "soon"},
		{"no time", func(ca *acmetest.Server) acmetest.Fault { return ca.RateLimited("") }, 429, "rateLimited", ""},
		{"nonce", (*acmetest.Server).BadNonce, 400, "badNonce", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			everywhere(t, func(t *testing.T, ca *acmetest.Server) {
				c := newAccount(t, ca)
				url := c.resource("newOrder")
				if test.want == "badNonce" {
					ca.SetFaults(test.fault(ca))
					c.get(c.resource("newNonce")).want(http.StatusNoContent, "")
				}
				ca.SetFaults(acmetest.Next(1, test.fault(ca)))
				body := c.sign(url, map[string]any{"identifiers": identify("example.com")}, nil)
				a := c.send(url, body).want(test.status, test.want)
				if got := a.header.Get("Retry-After"); got != test.retryAfter {
					t.Errorf("Retry-After %q, want %q", got, test.retryAfter)
				}
				if a.header.Get("Link") != "<"+ca.URL+`>;rel="index"` || a.problem().Detail == "" {
					t.Errorf("headers %v of %s", a.header, a.body)
				}
				nonce := a.header.Get("Replay-Nonce")
				if nonce == "" {
					t.Error("no nonce came with the refusal")
				}
				if len(ca.Orders()) != 0 {
					t.Error("there is an order")
				}
				c.send(url, body).want(http.StatusBadRequest, "badNonce") // its nonce was used up
				c.nonce = nonce
				c.post(url, map[string]any{"identifiers": identify("example.com")}).want(http.StatusCreated, "")
			})
		})
	}
}

func TestProcessing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		ca := n.newCA(t, func(ca *acmetest.Server) { ca.RetryAfter = 3 * time.Second })
		c := newAccount(t, ca)
		ca.SetFaults(ca.Processing(2))
		for range 2 { // each order is polled for itself
			o := c.newOrder("example.com")
			n.prove(c, o, "http-01")
			if got := c.getOrder(o.URL).Status; got != "ready" {
				t.Errorf("a ready order is said to be %s", got)
			}
			csr := newCSR(t, &x509.CertificateRequest{DNSNames: []string{"example.com"}}, newKey(t, elliptic.P256()))
			c.post(o.Finalize, csr).want(http.StatusOK, "")
			synctest.Wait()
			for poll := 1; poll <= 3; poll++ {
				a := c.post(o.URL, nil).want(http.StatusOK, "")
				var got order
				a.decode(&got)
				want, retryAfter := "processing", "3"
				if poll == 3 {
					want, retryAfter = "valid", ""
				}
				if got.Status != want || (got.Certificate != "") != (want == "valid") || a.header.Get("Retry-After") != retryAfter {
					t.Errorf("poll %d: order %+v, Retry-After %q", poll, got, a.header.Get("Retry-After"))
				}
			}
		}
	})
}

func TestInvalidate(t *testing.T) {
	for _, resource := range []string{"order", "finalize"} {
		synctest.Test(t, func(t *testing.T) {
			n := newNetwork(t)
			ca := n.newCA(t, nil)
			c := newAccount(t, ca)
			ca.SetFaults(acmetest.On(resource, ca.Invalidate("caa", "a CAA record forbids it")))
			o := c.newOrder("example.com")
			if got := c.getOrder(o.URL).Status; got != "pending" {
				t.Errorf("a pending order became %s", got)
			}
			n.prove(c, o, "http-01")
			want := map[string]string{"order": "invalid", "finalize": "ready"}[resource]
			if got := c.getOrder(o.URL).Status; got != want {
				t.Errorf("the order is %s, want %s", got, want)
			}
			csr := newCSR(t, &x509.CertificateRequest{DNSNames: []string{"example.com"}}, newKey(t, elliptic.P256()))
			c.post(o.Finalize, csr).want(http.StatusForbidden, "orderNotReady")
			ca.SetFaults()
			if got := c.getOrder(o.URL); got.Status != "invalid" || got.Error == nil || got.Error.kind() != "caa" || got.Error.Detail != "a CAA record forbids it" {
				t.Errorf("order %+v, want it invalid for good", got)
			}
			c.post(o.Finalize, csr).want(http.StatusForbidden, "orderNotReady")
			if len(ca.Certificates()) != 0 {
				t.Error("there is a certificate")
			}
		})
	}
}

func TestFailIssuance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		ca := n.newCA(t, nil)
		c := newAccount(t, ca)
		good := newCSR(t, &x509.CertificateRequest{DNSNames: []string{"example.com"}}, newKey(t, elliptic.P256()))
		bad := newCSR(t, &x509.CertificateRequest{DNSNames: []string{"example.org"}}, newKey(t, elliptic.P256()))

		o := c.newOrder("example.com")
		n.prove(c, o, "http-01")
		ca.SetFaults(ca.FailIssuance("caa", "a CAA record forbids it"))
		a := c.post(o.Finalize, good).want(http.StatusOK, "")
		var got order
		if a.decode(&got); got.Status != "processing" {
			t.Errorf("order %+v, want it processing", got)
		}
		synctest.Wait()
		if got := c.getOrder(o.URL); got.Status != "invalid" || got.Error == nil || got.Error.kind() != "caa" {
			t.Errorf("order %+v, want it invalid", got)
		}
		if len(ca.Certificates()) != 0 {
			t.Error("there is a certificate")
		}

		// A request that is refused for its CSR has used the fault up.
		o = c.newOrder("example.com")
		n.prove(c, o, "http-01")
		ca.SetFaults(acmetest.On("finalize", acmetest.Next(1, ca.FailIssuance("caa", ""))))
		c.post(o.Finalize, bad).want(http.StatusBadRequest, "badCSR")
		c.post(o.Finalize, good).want(http.StatusOK, "")
		synctest.Wait()
		if got := c.getOrder(o.URL); got.Status != "valid" {
			t.Errorf("order %+v, want it valid", got)
		}
	})
}

func TestFailValidations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		ca := n.newCA(t, nil)
		c := newAccount(t, ca)
		ca.FailValidations("Example.com", 2)
		ca.FailValidations("*.example.com", 1)
		statuses := func(name, challengeType string, want ...string) {
			t.Helper()
			for i, status := range want {
				o := c.newOrder(name)
				n.prove(c, o, challengeType)
				got := c.getOrder(o.URL)
				if got.Status != status {
					t.Errorf("order %d for %s is %s, want %s", i, name, got.Status, status)
				}
				if status == "invalid" && (got.Error == nil || got.Error.kind() != "unauthorized") {
					t.Errorf("order %d for %s has the error %+v", i, name, got.Error)
				}
			}
		}
		statuses("www.example.com", "http-01", "ready")
		statuses("*.example.com", "dns-01", "invalid", "ready")
		statuses("example.com", "http-01", "invalid", "invalid", "ready")
		ca.FailValidations("example.com", 5)
		ca.FailValidations("example.com", 0)
		statuses("example.com", "http-01", "ready")
	})
}

// What is downloaded is another certificate than the CA has issued, and has all else in common with it.
func TestMisissue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		ca := n.newCA(t, func(ca *acmetest.Server) { ca.AlternateChains = 1 })
		c := newAccount(t, ca)
		url := n.obtain(c, "example.com").Certificate
		good := c.chain(url)
		key := newKey(t, elliptic.P256())
		for _, test := range []struct {
			name   string
			change func(template *x509.Certificate)
			check  func(leaf *x509.Certificate) bool
			signed bool // by the CA
		}{
			{"nothing", func(*x509.Certificate) {}, func(leaf *x509.Certificate) bool { return leaf.PublicKey.(*ecdsa.PublicKey).Equal(good[0].PublicKey) }, true},
			{"key", func(c *x509.Certificate) { c.PublicKey = key.Public() }, func(leaf *x509.Certificate) bool { return key.PublicKey.Equal(leaf.PublicKey) }, true},
			{"names", func(c *x509.Certificate) { c.DNSNames = []string{"example.org"} }, func(leaf *x509.Certificate) bool {
				return leaf.VerifyHostname("example.org") == nil && leaf.VerifyHostname("example.com") != nil
			}, true},
			{"expired", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Hour) }, func(leaf *x509.Certificate) bool { return leaf.NotAfter.Before(time.Now()) }, true},
			{"not yet valid", func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) }, func(leaf *x509.Certificate) bool { return leaf.NotBefore.After(time.Now()) }, true},
			{"issuer", func(c *x509.Certificate) { c.Issuer.CommonName = "another" }, func(leaf *x509.Certificate) bool { return leaf.Issuer.CommonName == "another" }, false},
			{"issuer's key", func(c *x509.Certificate) { c.AuthorityKeyId = []byte{1} }, func(leaf *x509.Certificate) bool { return string(leaf.RawIssuer) == string(good[0].RawIssuer) }, false},
		} {
			ca.SetFaults(ca.Misissue(test.change))
			for _, chainURL := range []string{url, url + "/1"} {
				chain := c.chain(chainURL)
				leaf := chain[0]
				if len(chain) != 2 || leaf.SerialNumber.Cmp(good[0].SerialNumber) != 0 || !test.check(leaf) {
					t.Errorf("%s: %d certificates; names %v, %v to %v, by %v", test.name, len(chain), leaf.DNSNames, leaf.NotBefore, leaf.NotAfter, leaf.Issuer)
				}
				if err := leaf.CheckSignatureFrom(chain[1]); (err == nil) != test.signed {
					t.Errorf("%s: signature: %v", test.name, err)
				}
			}
		}
		ca.SetFaults()
		if !c.chain(url)[0].Equal(good[0]) {
			t.Error("the CA has another certificate than before")
		}
	})
}
