package acmetest_test

import (
	"crypto/elliptic"
	"encoding/json"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/everseal/everseal/acme/acmetest"
)

// withSubdomains returns a CA that lets a domain stand for those below it, and an account there.
func withSubdomains(t *testing.T, n *network) (*acmetest.Server, *client) {
	t.Helper()
	ca := n.newCA(t, func(ca *acmetest.Server) { ca.SubdomainAuthorizations = true })
	c := newAccount(t, ca)
	if meta := c.directory["meta"].(map[string]any); meta["subdomainAuthAllowed"] != true {
		t.Errorf("meta %v", meta)
	}
	return ca, c
}

// below returns the payload of newOrder for names below an ancestor domain.
func below(ancestor string, names ...string) map[string]any {
	var ids []map[string]string
	for _, name := range names {
		ids = append(ids, map[string]string{"type": "dns", "value": name, "ancestorDomain": ancestor})
	}
	return map[string]any{"identifiers": ids}
}

// scope returns what an authorization is for, and whether it says so of subdomains.
func (c *client) scope(url string) (value string, subdomains any, types []string) {
	c.t.Helper()
	a := make(map[string]any)
	answer := c.post(url, nil).want(http.StatusOK, "")
	answer.decode(&a)
	var typed authorization
	answer.decode(&typed)
	for _, challenge := range typed.Challenges {
		types = append(types, challenge.Type)
	}
	return typed.Identifier.Value, a["subdomainAuthAllowed"], types
}

// One proof in advance, for a domain, and orders below it are ready at once (RFC 9444 §5).
func TestSubdomainsPreauthorized(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		_, c := withSubdomains(t, n)
		other := newAccount(t, n.ca)
		newAuthz := func(subdomains bool) *answer {
			return c.post(c.resource("newAuthz"), map[string]any{"identifier": map[string]any{"type": "dns", "value": "Example.com", "subdomainAuthAllowed": subdomains}})
		}
		narrow := newAuthz(false).want(http.StatusCreated, "").header.Get("Location")
		wide := newAuthz(true).want(http.StatusCreated, "").header.Get("Location")
		if value, subdomains, types := c.scope(wide); value != "example.com" || subdomains != true || !slices.Equal(types, []string{"dns-01"}) {
			t.Errorf("authorization for %s, subdomains %v, by %v", value, subdomains, types)
		}
		if value, subdomains, types := c.scope(narrow); value != "example.com" || subdomains != nil || len(types) != 3 {
			t.Errorf("authorization for %s, subdomains %v, by %v", value, subdomains, types)
		}
		if got := newAuthz(true).want(http.StatusOK, "").header.Get("Location"); got != wide {
			t.Errorf("the authorization there is is %s, want %s", got, wide)
		}
		n.prove(c, &order{Authorizations: []string{narrow}}, "http-01")
		if o := c.newOrder("www.example.com"); o.Status != "pending" {
			t.Errorf("order %+v with an authorization for the domain alone", o)
		}
		n.prove(c, &order{Authorizations: []string{wide}}, "dns-01")
		for _, names := range [][]string{{"www.example.com"}, {"a.b.example.com", "*.example.com", "example.com"}, {"*.a.example.com"}} {
			o := c.newOrder(names...)
			if o.Status != "ready" || len(o.Authorizations) > 2 || !slices.Contains(o.Authorizations, wide) {
				t.Errorf("order %+v for %v, want it ready by %s", o, names, wide)
			}
			finalize(c, o, newKey(t, elliptic.P256()))
		}
		for _, name := range []string{"example.org", "notexample.com", "localhost"} {
			if o := c.newOrder(name); o.Status != "pending" {
				t.Errorf("order %+v for %s", o, name)
			}
		}
		if o := other.newOrder("www.example.com"); o.Status != "pending" {
			t.Errorf("order %+v of another account", o)
		}
		c.post(wide, map[string]any{"status": "deactivated"}).want(http.StatusOK, "")
		if o := c.newOrder("www.example.com"); o.Status != "pending" {
			t.Errorf("order %+v after the authorization was deactivated", o)
		}
	})
}

// An order can name the domain that is to stand for its names; one authorization does for several.
func TestAncestorDomain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		_, c := withSubdomains(t, n)
		answer := c.post(c.resource("newOrder"), below("Example.com", "a.example.com", "*.b.example.com")).want(http.StatusCreated, "")
		var o order
		answer.decode(&o)
		o.URL = answer.header.Get("Location")
		var echoed struct {
			Identifiers []struct{ Value, AncestorDomain string }
		}
		answer.decode(&echoed)
		if len(echoed.Identifiers) != 2 || echoed.Identifiers[0].AncestorDomain != "example.com" {
			t.Errorf("identifiers %+v", echoed.Identifiers)
		}
		if len(o.Authorizations) != 1 {
			t.Fatalf("order %+v, want one authorization", o)
		}
		if value, subdomains, types := c.scope(o.Authorizations[0]); value != "example.com" || subdomains != true || !slices.Equal(types, []string{"dns-01"}) {
			t.Errorf("authorization for %s, subdomains %v, by %v", value, subdomains, types)
		}
		n.prove(c, &o, "dns-01")
		valid := finalize(c, &o, newKey(t, elliptic.P256()))
		leaf := c.chain(valid.Certificate)[0]
		if !slices.Equal(leaf.DNSNames, []string{"a.example.com", "*.b.example.com"}) {
			t.Errorf("names %v", leaf.DNSNames)
		}
		// Who holds the domain may revoke what is below it.
		holder := newAccount(t, n.ca)
		wide := holder.post(holder.resource("newAuthz"), map[string]any{"identifier": map[string]any{"type": "dns", "value": "example.com", "subdomainAuthAllowed": true}})
		wide.want(http.StatusCreated, "")
		holder.revoke(leaf, nil, 0).want(http.StatusForbidden, "unauthorized")
		n.prove(holder, &order{Authorizations: []string{wide.header.Get("Location")}}, "dns-01")
		holder.revoke(leaf, nil, 0).want(http.StatusOK, "")
	})
}

// A failed proof of the ancestor is each identifier's failure.
func TestAncestorDomainFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		_, c := withSubdomains(t, n)
		answer := c.post(c.resource("newOrder"), below("example.com", "a.example.com", "b.example.com")).want(http.StatusCreated, "")
		var o order
		answer.decode(&o)
		n.ca.FailValidations("example.com", 1)
		n.prove(c, &o, "dns-01")
		got := c.getOrder(answer.header.Get("Location"))
		if got.Status != "invalid" || got.Error == nil || len(got.Error.Subproblems) != 2 || got.Error.Subproblems[1].Identifier.Value != "b.example.com" {
			t.Errorf("order %+v with %+v", got, got.Error)
		}
	})
}

func TestAncestorDomainRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		ca, c := withSubdomains(t, n)
		ca.Refuse("refused.example")
		for _, test := range []struct{ name, ancestor, want string }{
			{"www.example.com", "www.example.com", "malformed"},
			{"www.example.com", "ww.example.com", "malformed"},
			{"www.example.com", "ample.com", "malformed"},
			{"www.example.com", "a.www.example.com", "malformed"},
			{"www.example.com", "*.example.com", "malformed"},
			{"a.*.example.com", "*.example.com", "malformed"},
			{"www.example.com", ".com", "malformed"},
			{"www.refused.example", "refused.example", "rejectedIdentifier"},
		} {
			p := c.post(c.resource("newOrder"), below(test.ancestor, test.name)).want(http.StatusBadRequest, test.want).problem()
			if len(p.Subproblems) != 1 || p.Subproblems[0].Identifier.Value != test.name {
				t.Errorf("%s below %s: %+v", test.name, test.ancestor, p)
			}
		}
		address := json.RawMessage(`{"identifiers":[{"type":"ip","value":"192.0.2.7","ancestorDomain":"0.2.7"}]}`)
		c.post(c.resource("newOrder"), address).want(http.StatusBadRequest, "malformed")
	})
}

// Where a CA does not offer it, or has no challenge for it, the name itself is to be proved.
func TestAncestorDomainIgnored(t *testing.T) {
	for _, change := range []func(*acmetest.Server){
		func(*acmetest.Server) {},
		func(ca *acmetest.Server) { ca.SubdomainAuthorizations, ca.Challenges = true, []string{"http-01"} },
	} {
		synctest.Test(t, func(t *testing.T) {
			n := newNetwork(t)
			ca := n.newCA(t, change)
			c := newAccount(t, ca)
			var o order
			c.post(c.resource("newOrder"), below("example.com", "www.example.com")).want(http.StatusCreated, "").decode(&o)
			if value, subdomains, _ := c.scope(o.Authorizations[0]); value != "www.example.com" || subdomains != nil {
				t.Errorf("authorization for %s, subdomains %v", value, subdomains)
			}
		})
	}
	ca := inMemory(t)
	c := newAccount(t, ca)
	a := c.post(c.resource("newAuthz"), map[string]any{"identifier": map[string]any{"type": "dns", "value": "example.com", "subdomainAuthAllowed": true}})
	if _, subdomains, types := c.scope(a.header.Get("Location")); subdomains != nil || len(types) != 3 {
		t.Errorf("subdomains %v, by %v", subdomains, types)
	}
}
