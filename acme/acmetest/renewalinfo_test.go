package acmetest_test

import (
	"bytes"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme/acmetest"
)

type renewalInfo struct {
	SuggestedWindow struct{ Start, End time.Time }
	ExplanationURL  string
}

// serial returns the serial number as it stands in a certificate's identifier (RFC 9773 §4.1).
func serial(t *testing.T, leaf *x509.Certificate) []byte {
	t.Helper()
	der, err := asn1.Marshal(leaf.SerialNumber)
	if err != nil {
		t.Fatal(err)
	}
	return der[2:] // after tag and length
}

func certificateID(key, serial []byte) string {
	return base64.RawURLEncoding.EncodeToString(key) + "." + base64.RawURLEncoding.EncodeToString(serial)
}

// renewalInfo asks, without an account, when to renew a certificate.
func (c *client) renewalInfo(leaf *x509.Certificate) (info renewalInfo, retryAfter string) {
	c.t.Helper()
	answer := c.get(c.resource("renewalInfo")+"/"+certificateID(leaf.AuthorityKeyId, serial(c.t, leaf))).want(http.StatusOK, "")
	answer.decode(&info)
	return info, answer.header.Get("Retry-After")
}

func (info renewalInfo) want(t *testing.T, start, end time.Time) {
	t.Helper()
	if w := info.SuggestedWindow; !w.Start.Equal(start) || !w.End.Equal(end) {
		t.Errorf("window from %v to %v, want %v to %v", w.Start, w.End, start, end)
	}
}

func TestRenewalInfo(t *testing.T) {
	const day = 24 * time.Hour
	for _, test := range []struct{ lifetime, center, margin time.Duration }{
		{90 * day, 60 * day, 90 * day / 100},
		{45 * day, 30 * day, 45 * day / 100},
		{160 * time.Hour, 80 * time.Hour, 96 * time.Minute},
		{2 * time.Minute, time.Minute, 1200 * time.Millisecond},
	} {
		t.Run(test.lifetime.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(t)
				ca := n.newCA(t, func(ca *acmetest.Server) { ca.Lifetime = test.lifetime })
				c := newAccount(t, ca)
				leaf := c.chain(n.obtain(c, "example.com").Certificate)[0]
				center := leaf.NotBefore.Add(test.center)
				info, retryAfter := c.renewalInfo(leaf)
				info.want(t, center.Add(-test.margin), center.Add(test.margin))
				if info.ExplanationURL != "" || retryAfter != "21600" {
					t.Errorf("renewal info %+v with Retry-After %q", info, retryAfter)
				}

				start, end := center.Add(-time.Hour), center.Add(-2*time.Hour) // turned round
				ca.SetRenewalInfo(leaf.SerialNumber, acmetest.RenewalInfo{Start: start, End: end, ExplanationURL: "https://example.com/why", RetryAfter: 1500 * time.Millisecond})
				info, retryAfter = c.renewalInfo(leaf)
				info.want(t, start, end)
				if info.ExplanationURL != "https://example.com/why" || retryAfter != "2" {
					t.Errorf("renewal info %+v with Retry-After %q", info, retryAfter)
				}
				ca.SetRenewalInfo(leaf.SerialNumber, acmetest.RenewalInfo{RetryAfter: -1})
				info, retryAfter = c.renewalInfo(leaf)
				info.want(t, center.Add(-test.margin), center.Add(test.margin))
				if info.ExplanationURL != "" || retryAfter != "" {
					t.Errorf("renewal info %+v with Retry-After %q", info, retryAfter)
				}
				c.revoke(leaf, nil, 1).want(http.StatusOK, "")
				info, _ = c.renewalInfo(leaf)
				now := time.Now().Truncate(time.Second)
				info.want(t, now.Add(-time.Hour), now.Add(-30*time.Minute))
			})
		})
	}
}

// The identifier's parts have one form only, in renewalInfo as in an order's replaces.
func TestCertificateIdentifier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		c := newAccount(t, n.newCA(t, nil))
		seen := make(map[bool]bool) // by whether a zero goes first
		for len(seen) < 2 {
			leaf := c.chain(n.obtain(c, "example.com").Certificate)[0]
			key, right := leaf.AuthorityKeyId, serial(t, leaf)
			positive := bytes.TrimLeft(right, "\x00")
			seen[len(positive) < len(right)] = true
			c.renewalInfo(leaf)

			wrong := append([]byte{0}, right...) // a zero too many
			if len(positive) < len(right) {
				wrong = positive // a zero missing
			}
			id := certificateID(key, right)
			for _, test := range []struct {
				id   string
				want int
			}{
				{certificateID(key, wrong), 400},
				{certificateID(key, nil), 400},
				{certificateID(key, []byte{0}), 400},
				{certificateID(nil, right), 400},
				{base64.RawURLEncoding.EncodeToString(right), 400},
				{id + "=", 400},
				{id + ".", 400},
				{id + "!", 400},
				{base64.URLEncoding.EncodeToString(key) + "." + base64.RawURLEncoding.EncodeToString(right), 400},
				{certificateID(key[:19], right), 404},
				{certificateID(leaf.SubjectKeyId, right), 404},
				{certificateID(key, []byte{1}), 404},
			} {
				c.get(c.resource("renewalInfo")+"/"+test.id).want(test.want, "malformed")
				c.post(c.resource("newOrder"), map[string]any{"identifiers": identify("example.com"), "replaces": test.id}).want(test.want, "malformed")
			}
			c.post(c.resource("renewalInfo")+"/"+id, nil).want(http.StatusMethodNotAllowed, "malformed")
		}
		c.get(c.resource("renewalInfo")).want(http.StatusNotFound, "malformed")
	})
}

func TestReplaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		ca := n.newCA(t, nil)
		c, other := newAccount(t, ca), newAccount(t, ca)
		leaf := c.chain(n.obtain(c, "example.com", "www.example.com").Certificate)[0]
		id := certificateID(leaf.AuthorityKeyId, serial(t, leaf))
		payload := func(names ...string) map[string]any {
			return map[string]any{"identifiers": identify(names...), "replaces": id}
		}
		newOrder := c.resource("newOrder")
		other.post(newOrder, payload("example.com")).want(http.StatusForbidden, "unauthorized")
		c.post(newOrder, payload("example.org", "*.example.com")).want(http.StatusBadRequest, "malformed")
		c.post(newOrder, map[string]any{"identifiers": identify("example.com"), "replaces": ""}).want(http.StatusBadRequest, "malformed")
		if orders := ca.Orders(); len(orders) != 1 {
			t.Fatalf("orders %+v after refusals", orders)
		}

		o := c.order(payload("www.example.com", "example.org"))
		if shown := c.getOrder(o.URL); o.Replaces != id || shown.Replaces != id {
			t.Errorf("order %+v, later %+v, want both to replace %s", o, shown, id)
		}
		if orders := ca.Orders(); orders[0].Replaces != "" || orders[1].Replaces != id {
			t.Errorf("orders %+v", orders)
		}
		c.post(newOrder, payload("example.com")).want(http.StatusConflict, "alreadyReplaced")
		c.newOrder("example.com") // without replaces

		c.post(o.Authorizations[0], map[string]any{"status": "deactivated"}).want(http.StatusOK, "")
		o = c.order(payload("example.com")) // the one before is invalid
		c.post(newOrder, payload("example.com")).want(http.StatusConflict, "alreadyReplaced")
		n.prove(c, o, "http-01")
		c.post(newOrder, payload("example.com")).want(http.StatusConflict, "alreadyReplaced")
		if valid := finalize(c, o, newKey(t, elliptic.P256())); valid.Replaces != id {
			t.Errorf("order %+v, want it to replace %s", valid, id)
		}
		c.post(newOrder, payload("example.com")).want(http.StatusConflict, "alreadyReplaced")
	})
}
