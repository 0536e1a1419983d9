package acmetest_test

import (
	"crypto/elliptic"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme/acmetest"
)

// preauthorize sends newAuthz.
func (c *client) preauthorize(id identifier) *answer {
	c.t.Helper()
	return c.post(c.resource("newAuthz"), map[string]any{"identifier": id})
}

func TestPreauthorization(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		ca := n.newCA(t, nil)
		c, other := newAccount(t, ca), newAccount(t, ca)
		for _, id := range identify("example.com", "192.0.2.7") {
			created := c.preauthorize(id).want(http.StatusCreated, "")
			url := created.header.Get("Location")
			var a authorization
			if created.decode(&a); a.Status != "pending" || a.Identifier != id || a.Wildcard || len(a.Challenges) < 2 {
				t.Errorf("authorization %+v", a)
			}
			again := func() {
				t.Helper()
				if got := c.preauthorize(id).want(http.StatusOK, "").header.Get("Location"); got != url {
					t.Errorf("the authorization there is is %s, want %s", got, url)
				}
			}
			again()
			if o := c.newOrder(id.Value); o.Authorizations[0] == url {
				t.Error("a pending authorization is in an order")
			}
			n.prove(c, &order{Authorizations: []string{url}}, "http-01")
			again()
			o := c.newOrder(id.Value)
			if !slices.Equal(o.Authorizations, []string{url}) || o.Status != "ready" {
				t.Errorf("order %+v, want it ready with the authorization there is", o)
			}
			finalize(c, o, newKey(t, elliptic.P256()))
			if o := other.newOrder(id.Value); o.Authorizations[0] == url || o.Status != "pending" {
				t.Errorf("order %+v of another account", o)
			}
			other.preauthorize(id).want(http.StatusCreated, "")
			c.post(url, map[string]any{"status": "deactivated"}).want(http.StatusOK, "")
			c.preauthorize(id).want(http.StatusCreated, "")
		}
		if o := c.newOrder("*.example.com"); o.Status != "pending" {
			t.Errorf("order %+v for a wildcard", o)
		}
	})
}

func TestPreauthorizationRefused(t *testing.T) {
	ca := inMemory(t)
	ca.Refuse("refused.example.com")
	c := newAccount(t, ca)
	for _, test := range []struct {
		id     identifier
		status int
		want   string
	}{
		{identifier{"dns", "*.example.com"}, 400, "malformed"},
		{identifier{"dns", "example..com"}, 400, "malformed"},
		{identifier{"dns", ""}, 400, "malformed"},
		{identifier{"ip", "192.0.2.07"}, 400, "malformed"},
		{identifier{"dns", "Refused.example.com"}, 403, "rejectedIdentifier"},
		{identifier{"email", "a@example.com"}, 403, "unsupportedIdentifier"},
		{identifier{}, 403, "unsupportedIdentifier"},
	} {
		c.preauthorize(test.id).want(test.status, test.want)
	}
	c.post(c.resource("newAuthz"), nil).want(http.StatusBadRequest, "malformed")
	first := c.preauthorize(identifier{"dns", "EXAMPLE.com"}).want(http.StatusCreated, "").header.Get("Location")
	if again := c.preauthorize(identifier{"dns", "example.com"}).want(http.StatusOK, ""); again.header.Get("Location") != first {
		t.Errorf("%s and %s are for one name", first, again.header.Get("Location"))
	}
}

func TestReuseAuthorizations(t *testing.T) {
	for _, reuse := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			n := newNetwork(t)
			ca := n.newCA(t, func(ca *acmetest.Server) { ca.ReuseAuthorizations = reuse })
			c, other := newAccount(t, ca), newAccount(t, ca)
			first := readyOrder(n, c)
			time.Sleep(24 * time.Hour)
			second := c.newOrder("192.0.2.7", "*.example.com", "example.com")
			slices.Reverse(second.Authorizations)
			if !reuse {
				if second.Status != "pending" || slices.ContainsFunc(second.Authorizations, func(url string) bool { return slices.Contains(first.Authorizations, url) }) {
					t.Errorf("order %+v has parts of an earlier one", second)
				}
				return
			}
			if !slices.Equal(second.Authorizations, first.Authorizations) || second.Status != "ready" || second.Expires != first.Expires {
				t.Errorf("order %+v, want it ready with the authorizations of %+v", second, first)
			}
			finalize(c, second, newKey(t, elliptic.P256()))
			mixed := c.newOrder("example.com", "example.org")
			if mixed.Status != "pending" || mixed.Authorizations[0] != first.Authorizations[0] || mixed.Authorizations[1] == first.Authorizations[0] {
				t.Errorf("order %+v, want one authorization of %+v and one of its own", mixed, first)
			}
			if got := c.preauthorize(identifier{"dns", "example.com"}).want(http.StatusOK, "").header.Get("Location"); got != first.Authorizations[0] {
				t.Errorf("the authorization there is is %s, want %s", got, first.Authorizations[0])
			}
			if o := other.newOrder("example.com"); o.Status != "pending" || o.Authorizations[0] == first.Authorizations[0] {
				t.Errorf("order %+v of another account", o)
			}
			time.Sleep(6*24*time.Hour + time.Minute) // the authorizations have expired
			if o := c.newOrder("example.com"); o.Status != "pending" || o.Authorizations[0] == first.Authorizations[0] {
				t.Errorf("order %+v after the authorizations' time", o)
			}
		})
	}
}
