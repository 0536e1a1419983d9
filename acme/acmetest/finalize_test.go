package acmetest_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme/acmetest"
)

func TestCertificate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		ca := n.newCA(t, nil)
		c := newAccount(t, ca)
		key := newKey(t, elliptic.P384())
		o := c.newOrder("example.com", "www.example.com", "192.0.2.7", "2001:db8::7")
		n.prove(c, o, "http-01")
		now := time.Now()
		o = finalize(c, o, key)
		chain := c.chain(o.Certificate)
		if len(chain) != 2 {
			t.Fatalf("a chain of %d certificates, want leaf and intermediate", len(chain))
		}
		leaf, intermediates := chain[0], x509.NewCertPool()
		intermediates.AddCert(chain[1])
		for _, id := range o.Identifiers {
			name := id.Value
			if id.Type == "ip" {
				name = "[" + name + "]"
			}
			if _, err := leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: ca.Roots(), Intermediates: intermediates}); err != nil {
				t.Errorf("verify for %s: %v", name, err)
			}
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(ca.RootPEM()) || !pool.Equal(ca.Roots()) {
			t.Errorf("RootPEM is not what Roots holds: %s", ca.RootPEM())
		}
		if !leaf.PublicKey.(*ecdsa.PublicKey).Equal(key.Public()) {
			t.Error("the certificate is for another key")
		}
		if len(leaf.DNSNames) != 2 || len(leaf.IPAddresses) != 2 || leaf.Subject.String() != "" {
			t.Errorf("names %v %v, subject %q", leaf.DNSNames, leaf.IPAddresses, leaf.Subject)
		}
		if !leaf.NotBefore.Equal(now) || !leaf.NotAfter.Equal(now.Add(90*24*time.Hour)) {
			t.Errorf("valid from %v to %v, now it is %v", leaf.NotBefore, leaf.NotAfter, now)
		}
		if !slices.Equal(leaf.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}) || leaf.IsCA || leaf.KeyUsage != x509.KeyUsageDigitalSignature {
			t.Errorf("usage %v %v, CA %v", leaf.KeyUsage, leaf.ExtKeyUsage, leaf.IsCA)
		}
		if len(leaf.SerialNumber.Bytes()) != 16 || len(leaf.SubjectKeyId) != 20 || !slices.Equal(leaf.AuthorityKeyId, chain[1].SubjectKeyId) {
			t.Errorf("serial %x, key identifiers %x of %x", leaf.SerialNumber, leaf.SubjectKeyId, leaf.AuthorityKeyId)
		}
		if issued := ca.Certificates(); len(issued) != 1 || !issued[0].Equal(leaf) {
			t.Errorf("%d certificates were issued, not only this one", len(issued))
		}
	})
}

func TestCSR(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ecKey := newKey(t, elliptic.P256())
	names := []string{"example.com", "*.example.com"}
	address := []net.IP{{192, 0, 2, 7}}
	const good = ""
	for _, test := range []struct {
		name string
		csr  x509.CertificateRequest
		key  crypto.Signer
		want string
	}{
		{"right", x509.CertificateRequest{DNSNames: names, IPAddresses: address}, ecKey, good},
		{"RSA", x509.CertificateRequest{DNSNames: names, IPAddresses: address}, rsaKey, good},
		{"P-384", x509.CertificateRequest{DNSNames: names, IPAddresses: address}, newKey(t, elliptic.P384()), good},
		{"upper case", x509.CertificateRequest{DNSNames: []string{"EXAMPLE.com", "*.example.COM"}, IPAddresses: address}, ecKey, good},
		{"common name", x509.CertificateRequest{Subject: pkix.Name{CommonName: "example.com"}, DNSNames: names, IPAddresses: address}, ecKey, good},
		{"a name in the common name only", x509.CertificateRequest{Subject: pkix.Name{CommonName: "example.com"}, DNSNames: names[1:], IPAddresses: address}, ecKey, good},
		{"another common name", x509.CertificateRequest{Subject: pkix.Name{CommonName: "example.org"}, DNSNames: names, IPAddresses: address}, ecKey, "badCSR"},
		{"address as common name", x509.CertificateRequest{Subject: pkix.Name{CommonName: "192.0.2.7"}, DNSNames: names, IPAddresses: address}, ecKey, "badCSR"},
		{"a name missing", x509.CertificateRequest{DNSNames: names[:1], IPAddresses: address}, ecKey, "badCSR"},
		{"an address missing", x509.CertificateRequest{DNSNames: names}, ecKey, "badCSR"},
		{"a name more", x509.CertificateRequest{DNSNames: append(names, "example.org"), IPAddresses: address}, ecKey, "badCSR"},
		{"an address more", x509.CertificateRequest{DNSNames: names, IPAddresses: append(address, net.IP{192, 0, 2, 8})}, ecKey, "badCSR"},
		{"an e-mail address", x509.CertificateRequest{DNSNames: names, IPAddresses: address, EmailAddresses: []string{"a@example.com"}}, ecKey, "badCSR"},
		{"a URI", x509.CertificateRequest{DNSNames: names, IPAddresses: address, URIs: []*url.URL{{Scheme: "https", Host: "example.com"}}}, ecKey, "badCSR"},
		{"no names", x509.CertificateRequest{}, ecKey, "badCSR"},
		{"Ed25519", x509.CertificateRequest{DNSNames: names, IPAddresses: address}, edKey, "badCSR"},
		{"P-224", x509.CertificateRequest{DNSNames: names, IPAddresses: address}, newKey(t, elliptic.P224()), "badCSR"},
		{"SHA-1", x509.CertificateRequest{DNSNames: names, IPAddresses: address, SignatureAlgorithm: x509.ECDSAWithSHA1}, ecKey, "badCSR"},
		{"the account's key", x509.CertificateRequest{DNSNames: names, IPAddresses: address}, nil, "badCSR"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(t)
				ca := n.newCA(t, nil)
				c := newAccount(t, ca)
				o := readyOrder(n, c)
				if test.key == nil {
					test.key = c.key
				}
				answer := c.post(o.Finalize, newCSR(t, &test.csr, test.key))
				if test.want != good {
					answer.want(http.StatusBadRequest, test.want)
					if got := c.getOrder(o.URL); got.Status != "ready" {
						t.Errorf("order %+v after a bad CSR, want it ready", got)
					}
					finalize(c, o, ecKey)
					return
				}
				answer.want(http.StatusOK, "")
				synctest.Wait()
				leaf := c.chain(c.getOrder(o.URL).Certificate)[0]
				if leaf.Subject.CommonName != test.csr.Subject.CommonName || !slices.Equal(leaf.DNSNames, names) || len(leaf.IPAddresses) != 1 {
					t.Errorf("subject %v, names %v %v", leaf.Subject, leaf.DNSNames, leaf.IPAddresses)
				}
			})
		})
	}
}

// readyOrder returns a ready order for example.com, *.example.com and 192.0.2.7.
func readyOrder(n *network, c *client) *order {
	c.t.Helper()
	o := c.newOrder("example.com", "*.example.com", "192.0.2.7")
	for i, challengeType := range []string{"http-01", "dns-01", "http-01"} {
		part := &order{Authorizations: o.Authorizations[i : i+1]}
		n.prove(c, part, challengeType)
	}
	if ready := c.getOrder(o.URL); ready.Status != "ready" {
		c.t.Fatalf("order %+v, want it ready", ready)
	}
	return o
}

func TestBrokenCSR(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		ca := n.newCA(t, nil)
		c := newAccount(t, ca)
		o := readyOrder(n, c)
		right := newCSR(t, &x509.CertificateRequest{DNSNames: []string{"example.com", "*.example.com"}, IPAddresses: []net.IP{{192, 0, 2, 7}}}, newKey(t, elliptic.P256()))["csr"]
		der, err := base64.RawURLEncoding.DecodeString(right)
		if err != nil {
			t.Fatal(err)
		}
		tampered := slices.Clone(der)
		tampered[len(tampered)-1] ^= 1
		for _, test := range []struct{ payload, want string }{
			{`{"csr":"+` + right[1:] + `"}`, "malformed"}, // of the other alphabet, in which some CSRs are the same
			{`{"csr":"` + right + `="}`, "malformed"},
			{`{"csr":1}`, "malformed"},
			{`{`, "malformed"},
			{`{"csr":"` + base64.RawURLEncoding.EncodeToString(tampered) + `"}`, "badCSR"},
			{`{"csr":"` + base64.RawURLEncoding.EncodeToString(der[:len(der)/2]) + `"}`, "badCSR"},
			{`{"csr":"bm9uc2Vuc2U"}`, "badCSR"},
			{`{}`, "badCSR"},
		} {
			c.post(o.Finalize, test.payload).want(http.StatusBadRequest, test.want)
		}
		if got := c.getOrder(o.URL); got.Status != "ready" {
			t.Errorf("order %+v after bad CSRs", got)
		}
	})
}

func TestFinalize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		ca := n.newCA(t, func(ca *acmetest.Server) { ca.RetryAfter = 1500 * time.Millisecond })
		c := newAccount(t, ca)
		o := c.newOrder("example.com")
		csr := newCSR(t, &x509.CertificateRequest{DNSNames: []string{"example.com"}}, newKey(t, elliptic.P256()))
		retryAfter := func(answer *answer, want string) {
			t.Helper()
			if got := answer.header.Get("Retry-After"); got != want {
				t.Errorf("Retry-After %q, want %q: %s", got, want, answer.body)
			}
		}
		retryAfter(c.post(o.URL, nil), "2")
		retryAfter(c.post(o.Authorizations[0], nil), "2")
		c.post(o.Finalize, csr).want(http.StatusForbidden, "orderNotReady")
		n.prove(c, o, "http-01")
		retryAfter(c.post(o.URL, nil), "")
		retryAfter(c.post(o.Authorizations[0], nil), "")

		answer := c.post(o.Finalize, csr).want(http.StatusOK, "")
		var processing order
		if answer.decode(&processing); processing.Status != "processing" || processing.Certificate != "" {
			t.Errorf("order %+v in the answer to finalize", processing)
		}
		if location := answer.header.Get("Location"); location != o.URL {
			t.Errorf("finalize answered with the Location %q, want %s", location, o.URL)
		}
		retryAfter(answer, "2")
		synctest.Wait()
		answer = c.post(o.URL, nil)
		retryAfter(answer, "")
		var valid order
		if answer.decode(&valid); valid.Status != "valid" || valid.Certificate == "" || valid.Error != nil {
			t.Errorf("order %+v, want it valid", valid)
		}
		c.post(o.Finalize, csr).want(http.StatusForbidden, "orderNotReady")
		if issued := ca.Certificates(); len(issued) != 1 {
			t.Errorf("%d certificates for one order", len(issued))
		}
		if orders := ca.Orders(); orders[0].Status != "valid" {
			t.Errorf("orders %+v", orders)
		}
	})
}

// The dates that an order has asked for hold, however long its validation takes.
func TestLateFinalize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		ca := n.newCA(t, nil)
		c := newAccount(t, ca)
		begins := time.Now()
		request := map[string]any{"identifiers": identify("example.com"), "notBefore": begins}
		answer := c.post(c.resource("newOrder"), request).want(http.StatusCreated, "")
		o := &order{URL: answer.header.Get("Location")}
		answer.decode(o)
		time.Sleep(time.Hour)
		n.prove(c, o, "http-01")
		if leaf := c.chain(finalize(c, o, newKey(t, elliptic.P256())).Certificate)[0]; !leaf.NotBefore.Equal(begins) {
			t.Errorf("the certificate begins at %v, want %v", leaf.NotBefore, begins)
		}
	})
}

// What could be promised at newOrder may be too late when it is finalized.
func TestIssuanceFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		ca := n.newCA(t, nil)
		c := newAccount(t, ca)
		request := map[string]any{"identifiers": identify("example.com"), "notAfter": time.Now().Add(time.Hour)}
		answer := c.post(c.resource("newOrder"), request).want(http.StatusCreated, "")
		o := &order{URL: answer.header.Get("Location")}
		answer.decode(o)
		n.prove(c, o, "http-01")
		time.Sleep(2 * time.Hour)
		c.post(o.Finalize, newCSR(t, &x509.CertificateRequest{DNSNames: []string{"example.com"}}, newKey(t, elliptic.P256()))).want(http.StatusOK, "")
		synctest.Wait()
		if o = c.getOrder(o.URL); o.Status != "invalid" || o.Error == nil || o.Error.kind() != "malformed" || o.Certificate != "" {
			t.Errorf("order %+v for a certificate that has ended", o)
		}
	})
}

func TestRetryAfterIsNotSentUnasked(t *testing.T) {
	c := newAccount(t, inMemory(t))
	o := c.newOrder("example.com")
	for _, url := range []string{o.URL, o.Authorizations[0]} {
		if answer := c.post(url, nil); len(answer.header.Values("Retry-After")) > 0 {
			t.Errorf("Retry-After %q", answer.header.Values("Retry-After"))
		}
	}
}

// Of several requests to finalize one order at once, exactly one is taken.
func TestFinalizeOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		ca := n.newCA(t, nil)
		c := newAccount(t, ca)
		o := c.newOrder("example.com")
		n.prove(c, o, "http-01")
		statuses := make(chan int)
		const many = 8
		for range many {
			another := *c
			another.nonce = ""
			body := another.sign(o.Finalize, newCSR(t, &x509.CertificateRequest{DNSNames: []string{"example.com"}}, newKey(t, elliptic.P256())), nil)
			go func() {
				request, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, o.Finalize, strings.NewReader(string(body)))
				request.Header.Set("Content-Type", "application/jose+json")
				response, err := another.http.Do(request)
				if err != nil {
					statuses <- 0
					return
				}
				_ = response.Body.Close()
				statuses <- response.StatusCode
			}()
		}
		count := make(map[int]int)
		for range many {
			count[<-statuses]++
		}
		synctest.Wait()
		if count[http.StatusOK] != 1 || count[http.StatusForbidden] != many-1 || len(ca.Certificates()) != 1 {
			t.Errorf("answers %v and %d certificates", count, len(ca.Certificates()))
		}
	})
}
