package acmetest_test

import (
	"crypto/x509"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/everseal/everseal/acme/acmetest"
)

// alternates returns the URLs that a certificate's answer links to as other chains.
func (c *client) alternates(url string) (urls []string) {
	c.t.Helper()
	for _, link := range c.post(url, nil).want(http.StatusOK, "").header.Values("Link") {
		if target, ok := strings.CutSuffix(link, `>;rel="alternate"`); ok {
			urls = append(urls, strings.TrimPrefix(target, "<"))
		}
	}
	return urls
}

func TestAlternateChains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		ca := n.newCA(t, func(ca *acmetest.Server) { ca.AlternateChains = 2 })
		c, other := newAccount(t, ca), newAccount(t, ca)
		url := n.obtain(c, "example.com").Certificate
		alternates := c.alternates(url)
		if len(alternates) != 2 || slices.Contains(alternates, url) {
			t.Fatalf("%s links to %v as alternates, want two others", url, alternates)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(ca.RootPEM()) || !pool.Equal(ca.Roots()) {
			t.Errorf("RootPEM is not what Roots holds: %s", ca.RootPEM())
		}
		first, err := x509.ParseCertificate(ca.Root.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		leaf := c.chain(url)[0]
		issuers := make(map[string]bool)
		for i, each := range append([]string{url}, alternates...) {
			chain := c.chain(each)
			if len(chain) != 2 || !chain[0].Equal(leaf) {
				t.Fatalf("the chain %s is %v, want the same leaf and an intermediate", each, chain)
			}
			issuers[chain[1].Issuer.String()] = true
			if byRoot := chain[1].CheckSignatureFrom(first) == nil; byRoot != (i == 0) {
				t.Errorf("%s leads to the first root: %v", each, byRoot)
			}
			intermediates := x509.NewCertPool()
			intermediates.AddCert(chain[1])
			verified, err := leaf.Verify(x509.VerifyOptions{DNSName: "example.com", Roots: ca.Roots(), Intermediates: intermediates})
			if err != nil || len(verified) != 1 {
				t.Errorf("%s verifies in %d ways: %v", each, len(verified), err)
			}
			others := slices.DeleteFunc(append([]string{url}, alternates...), func(u string) bool { return u == each })
			if got := c.alternates(each); !slices.Equal(got, others) {
				t.Errorf("%s links to %v, want %v", each, got, others)
			}
			other.post(each, nil).want(http.StatusForbidden, "unauthorized")
		}
		if len(issuers) != 3 {
			t.Errorf("the chains lead to %v", issuers)
		}
		for _, chain := range []string{"0", "01", "3", "-1", "x"} {
			c.post(url+"/"+chain, nil).want(http.StatusNotFound, "malformed")
		}
	})
}

func TestOneChain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		c := newAccount(t, n.newCA(t, nil))
		url := n.obtain(c, "example.com").Certificate
		if alternates := c.alternates(url); len(alternates) > 0 {
			t.Errorf("alternates %v", alternates)
		}
		c.post(url+"/1", nil).want(http.StatusNotFound, "malformed")
	})
}
