package acmetest_test

import (
	"crypto/elliptic"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme/acmetest"
)

func TestNewOrder(t *testing.T) {
	ca := inMemory(t)
	c := newAccount(t, ca)
	o := c.newOrder("EXAMPLE.com", "*.example.com", "192.0.2.1", "2001:db8::1", "xn--bcher-kva.example")
	if want := identify("example.com", "*.example.com", "192.0.2.1", "2001:db8::1", "xn--bcher-kva.example"); !slices.Equal(o.Identifiers, want) {
		t.Errorf("identifiers %v, want %v", o.Identifiers, want)
	}
	if o.Status != "pending" || o.Error != nil || o.Certificate != "" || o.Finalize == "" || len(o.Authorizations) != 5 {
		t.Errorf("order %+v", o)
	}
	if shown := c.getOrder(o.URL); shown.Status != o.Status || !slices.Equal(shown.Authorizations, o.Authorizations) || shown.Expires != o.Expires {
		t.Errorf("order %+v\nwas made as %+v", shown, o)
	}
	for i, want := range []struct {
		identifier identifier
		wildcard   bool
		types      string
	}{
		{identifier{"dns", "example.com"}, false, "http-01 tls-alpn-01 dns-01"},
		{identifier{"dns", "example.com"}, true, "dns-01"},
		{identifier{"ip", "192.0.2.1"}, false, "http-01 tls-alpn-01"},
		{identifier{"ip", "2001:db8::1"}, false, "http-01 tls-alpn-01"},
		{identifier{"dns", "xn--bcher-kva.example"}, false, "http-01 tls-alpn-01 dns-01"},
	} {
		a := c.authorization(o.Authorizations[i])
		var types []string
		tokens := make(map[string]bool)
		for _, challenge := range a.Challenges {
			types = append(types, challenge.Type)
			tokens[challenge.Token] = true
			if challenge.Status != "pending" || len(challenge.Token) != 22 || challenge.Error != nil {
				t.Errorf("challenge %+v", challenge)
			}
		}
		if strings.Join(types, " ") != want.types || len(tokens) != len(types) {
			t.Errorf("challenges %v, want %s, each with a token of its own", types, want.types)
		}
		if a.Status != "pending" || a.Expires != o.Expires || a.Identifier != want.identifier || a.Wildcard != want.wildcard {
			t.Errorf("authorization %+v, want %+v", a, want)
		}
	}
	if again := c.newOrder("example.com"); again.URL == o.URL || again.Authorizations[0] == o.Authorizations[0] {
		t.Errorf("the order %+v has parts of an earlier one", again)
	}
	orders := ca.Orders()
	if len(orders) != 2 || orders[0].URL != o.URL || orders[1].Created.Before(orders[0].Created) ||
		orders[1].Status != "pending" || !slices.Equal(orders[1].Names, []string{"example.com"}) {
		t.Errorf("orders %+v", orders)
	}
}

func TestIdentifiers(t *testing.T) {
	ca := inMemory(t)
	ca.Refuse("Refused.example.com")
	ca.Refuse("192.0.2.9")
	c := newAccount(t, ca)
	long := strings.Repeat(strings.Repeat("a", 62)+".", 4) + "com" // 255 bytes
	c.newOrder(long[2:], "localhost", "a.refused.example.com")
	dns := func(names ...string) (ids []identifier) {
		for _, name := range names {
			ids = append(ids, identifier{"dns", name})
		}
		return ids
	}
	for _, test := range []struct {
		name        string
		identifiers []identifier
		want        string
		wrong       []string // values of the subproblems' identifiers
	}{
		{"none", nil, "malformed", nil},
		{"too many", slices.Repeat(dns("example.com"), 101), "malformed", nil},
		{"twice", dns("example.com", "example.org", "EXAMPLE.com"), "malformed", []string{"example.com"}},
		{"covered by a wildcard", dns("www.example.com", "*.example.com"), "malformed", []string{"www.example.com"}},
		{"empty", dns(""), "malformed", []string{""}},
		{"asterisk", dns("*"), "malformed", []string{"*"}},
		{"asterisk and dot", dns("*."), "malformed", []string{"*."}},
		{"two asterisks", dns("*.*.example.com"), "malformed", []string{"*.*.example.com"}},
		{"asterisk within", dns("www.*.example.com"), "malformed", []string{"www.*.example.com"}},
		{"asterisk in a label", dns("w*.example.com"), "malformed", []string{"w*.example.com"}},
		{"final dot", dns("example.com."), "malformed", []string{"example.com."}},
		{"empty label", dns("www..example.com"), "malformed", []string{"www..example.com"}},
		{"underscore", dns("_dmarc.example.com"), "malformed", []string{"_dmarc.example.com"}},
		{"hyphen", dns("-a.example.com"), "malformed", []string{"-a.example.com"}},
		{"U-label", dns("bücher.example"), "malformed", []string{"bücher.example"}},
		{"broken A-label", dns("xn--0.example"), "malformed", []string{"xn--0.example"}},
		{"not an A-label", dns("ab--c.example"), "malformed", []string{"ab--c.example"}},
		{"long label", dns(strings.Repeat("a", 64) + ".example"), "malformed", []string{strings.Repeat("a", 64) + ".example"}},
		{"long name", dns(long[1:]), "malformed", []string{long[1:]}},
		{"port", dns("example.com:443"), "malformed", []string{"example.com:443"}},
		{"address as name", dns("192.0.2.1"), "malformed", []string{"192.0.2.1"}},
		{"name as address", []identifier{{"ip", "example.com"}}, "malformed", []string{"example.com"}},
		{"address not in short form", []identifier{{"ip", "2001:DB8:0::1"}}, "malformed", []string{"2001:DB8:0::1"}},
		{"mapped address", []identifier{{"ip", "::ffff:192.0.2.1"}}, "malformed", []string{"::ffff:192.0.2.1"}},
		{"zone", []identifier{{"ip", "fe80::1%eth0"}}, "malformed", []string{"fe80::1%eth0"}},
		{"prefix", []identifier{{"ip", "192.0.2.0/24"}}, "malformed", []string{"192.0.2.0/24"}},
		{"e-mail", []identifier{{"email", "admin@example.com"}}, "unsupportedIdentifier", []string{"admin@example.com"}},
		{"refused", dns("good.example.com", "refused.example.com"), "rejectedIdentifier", []string{"refused.example.com"}},
		{"refused address", []identifier{{"ip", "192.0.2.9"}}, "rejectedIdentifier", []string{"192.0.2.9"}},
		{"several", dns("_a.example.com", "good.example.com", "refused.example.com"), "compound", []string{"_a.example.com", "refused.example.com"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c.t = t
			p := c.post(c.resource("newOrder"), map[string]any{"identifiers": test.identifiers}).want(http.StatusBadRequest, test.want).problem()
			var wrong []string
			for _, sub := range p.Subproblems {
				wrong = append(wrong, sub.Identifier.Value)
				if test.want != "compound" && sub.kind() != test.want || sub.Detail == "" {
					t.Errorf("subproblem %+v of %+v", sub, p)
				}
			}
			if !slices.Equal(wrong, test.wrong) || p.Detail == "" || p.Identifier != (identifier{}) {
				t.Errorf("subproblems about %q, want %q: %+v", wrong, test.wrong, p)
			}
		})
	}
}

func TestOrderDates(t *testing.T) {
	const day = 24 * time.Hour
	for _, test := range []struct {
		name                string
		notBefore, notAfter time.Duration // from now; zero: not asked for
		status              int
		begins, ends        time.Duration // from now, of the certificate
	}{
		{"none asked for", 0, 0, 201, -time.Hour, 10*day - time.Hour},
		{"the whole lifetime", 0, 10*day - time.Hour, 201, -time.Hour, 10*day - time.Hour},
		{"a second too long", 0, 10*day - time.Hour + time.Second, 400, 0, 0},
		{"an hour", 0, time.Hour, 201, -time.Hour, time.Hour},
		{"from tomorrow", day, 0, 201, day, 11 * day},
		{"from tomorrow, an hour", day, day + time.Hour, 201, day, day + time.Hour},
		{"from tomorrow, a second too long", day, 11*day + time.Second, 400, 0, 0},
		{"ends in the past", 0, -time.Second, 400, 0, 0},
		{"begins in the past", -day, day, 400, 0, 0},
		{"the wrong way round", 2 * day, day, 400, 0, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(t)
				ca := n.newCA(t, func(ca *acmetest.Server) { ca.Lifetime, ca.Backdate = 10*day, time.Hour })
				c := newAccount(t, ca)
				now := time.Now()
				request := map[string]any{"identifiers": identify("example.com")}
				for name, from := range map[string]time.Duration{"notBefore": test.notBefore, "notAfter": test.notAfter} {
					if from != 0 {
						request[name] = now.Add(from)
					}
				}
				answer := c.post(c.resource("newOrder"), request)
				if test.status == http.StatusBadRequest {
					answer.want(http.StatusBadRequest, "malformed")
					return
				}
				o := &order{URL: answer.want(http.StatusCreated, "").header.Get("Location")}
				answer.decode(o)
				n.prove(c, o, "http-01")
				leaf := c.chain(finalize(c, o, newKey(t, elliptic.P256())).Certificate)[0]
				if begins, ends := leaf.NotBefore.Sub(now), leaf.NotAfter.Sub(now); begins != test.begins || ends != test.ends {
					t.Errorf("the certificate lasts from %v to %v, want %v to %v", begins, ends, test.begins, test.ends)
				}
			})
		})
	}
	c := newAccount(t, inMemory(t))
	c.post(c.resource("newOrder"), map[string]any{"identifiers": identify("example.com"), "notAfter": "tomorrow"}).want(400, "malformed")
}

func TestOrderExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		ca := n.newCA(t, nil)
		c := newAccount(t, ca)
		o, ready := c.newOrder("example.com"), c.newOrder("example.com")
		n.prove(c, ready, "http-01")
		if got := c.getOrder(ready.URL); got.Status != "ready" {
			t.Fatalf("order %+v, want it ready", got)
		}
		time.Sleep(7*24*time.Hour - 2*time.Second)
		if got := c.getOrder(o.URL); got.Status != "pending" {
			t.Errorf("order %+v before it expires", got)
		}
		time.Sleep(2 * time.Second)
		for _, o := range []*order{o, ready} {
			if got := c.getOrder(o.URL); got.Status != "invalid" || got.Error == nil || !strings.Contains(got.Error.Detail, "expired") {
				t.Errorf("expired order %+v", got)
			}
			c.post(o.Finalize, map[string]any{"csr": ""}).want(http.StatusForbidden, "orderNotReady")
		}
		if a := c.authorization(o.Authorizations[0]); a.Status != "invalid" || len(a.Challenges) != 3 {
			t.Errorf("authorization %+v of an expired order", a)
		} else {
			c.post(a.challenge(t, "http-01").URL, map[string]any{}).want(http.StatusBadRequest, "malformed")
		}
		if a := c.authorization(ready.Authorizations[0]); a.Status != "expired" || len(a.Challenges) != 1 {
			t.Errorf("authorization %+v that was valid", a)
		}
	})
}

// An account sees nothing of another's, and can do nothing with it.
func TestOwnership(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		ca := n.newCA(t, nil)
		c, other := newAccount(t, ca), newAccount(t, ca)
		o := n.obtain(c, "example.com")
		pending := c.newOrder("example.com")
		a := c.authorization(pending.Authorizations[0])
		for _, url := range []string{o.URL, o.Certificate, pending.URL, pending.Authorizations[0], a.challenge(t, "http-01").URL} {
			other.post(url, nil).want(http.StatusForbidden, "unauthorized")
			c.post(url, nil).want(http.StatusOK, "")
			c.post(url, "{\"a\":1}").want(http.StatusBadRequest, "malformed")
		}
		other.post(a.challenge(t, "http-01").URL, map[string]any{}).want(http.StatusForbidden, "unauthorized")
		other.post(pending.Finalize, map[string]any{"csr": ""}).want(http.StatusForbidden, "unauthorized")
		other.post(pending.Authorizations[0], map[string]any{"status": "deactivated"}).want(http.StatusForbidden, "unauthorized")
		synctest.Wait()
		if got := c.getOrder(pending.URL); got.Status != "pending" {
			t.Errorf("another account changed the order to %+v", got)
		}
	})
}

func TestDeactivateAuthorization(t *testing.T) {
	c := newAccount(t, inMemory(t))
	o := c.newOrder("example.com", "example.org")
	url := o.Authorizations[1]
	c.post(url, map[string]any{"status": "valid"}).want(http.StatusBadRequest, "malformed")
	var a authorization
	c.post(url, map[string]any{"status": "deactivated"}).want(http.StatusOK, "").decode(&a)
	if a.Status != "deactivated" {
		t.Errorf("authorization %+v", a)
	}
	c.post(url, map[string]any{"status": "deactivated"}).want(http.StatusBadRequest, "malformed")
	c.post(a.challenge(t, "http-01").URL, map[string]any{}).want(http.StatusBadRequest, "malformed")
	if got := c.getOrder(o.URL); got.Status != "invalid" || got.Error == nil {
		t.Errorf("order %+v after the deactivation of one of its authorizations", got)
	}
}
