package acmetest_test

import (
	"crypto/elliptic"
	"crypto/x509"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme/acmetest"
)

// limited returns a network with a CA that has rate limits, and an account there.
func limited(t *testing.T, limits acmetest.RateLimits) (*network, *client) {
	t.Helper()
	n := newNetwork(t)
	ca := n.newCA(t, func(ca *acmetest.Server) { ca.RateLimits = limits })
	return n, newAccount(t, ca)
}

// wantLimited checks a refusal: its time, in the header and in words, and what it says there are too many of.
func (a *answer) wantLimited(what string, room time.Time) {
	a.t.Helper()
	a.want(http.StatusTooManyRequests, "rateLimited")
	after, err := strconv.Atoi(a.header.Get("Retry-After"))
	if want := int(time.Until(room) / time.Second); err != nil || after != want {
		a.t.Errorf("Retry-After %q, want %d seconds", a.header.Get("Retry-After"), want)
	}
	detail := a.problem().Detail
	if !strings.Contains(detail, "too many "+what) || !strings.HasSuffix(detail, "retry after "+room.UTC().Format(time.RFC3339)) {
		a.t.Errorf("detail %q, want one about %s until %v", detail, what, room)
	}
}

func (c *client) tryOrder(names ...string) *answer {
	c.t.Helper()
	return c.post(c.resource("newOrder"), map[string]any{"identifiers": identify(names...)})
}

// issue goes the whole way for names, by dns-01.
func (n *network) issue(c *client, names ...string) *order {
	c.t.Helper()
	o := c.newOrder(names...)
	if o.Status == "pending" {
		n.prove(c, o, "dns-01")
	}
	return finalize(c, o, newKey(c.t, elliptic.P256()))
}

// The bucket holds Count, and gets one back each Per/Count, no more than it holds.
func TestNewOrdersLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, c := limited(t, acmetest.RateLimits{NewOrders: acmetest.Limit{Count: 3, Per: 3 * time.Hour}})
		began := time.Now()
		spend := func(count int) {
			t.Helper()
			for range count {
				c.tryOrder("example.com").want(http.StatusCreated, "")
			}
		}
		spend(3)
		c.tryOrder("example.com").wantLimited("new orders of this account (3) in the last 3h0m0s", began.Add(time.Hour))
		newAccount(t, n.ca).tryOrder("example.com").want(http.StatusCreated, "") // has a bucket of its own
		time.Sleep(time.Hour - time.Second)
		c.tryOrder("example.com").wantLimited("new orders", began.Add(time.Hour))
		time.Sleep(time.Second)
		spend(1)
		c.tryOrder("example.com").wantLimited("new orders", began.Add(2*time.Hour))
		time.Sleep(150 * time.Minute)
		spend(2)
		c.tryOrder("example.com").wantLimited("new orders", began.Add(4*time.Hour))
		time.Sleep(1000 * time.Hour)
		began = time.Now()
		spend(3)
		c.tryOrder("example.com").wantLimited("new orders", began.Add(time.Hour))
		if got := len(n.ca.Orders()); got != 10 {
			t.Errorf("%d orders, want those that were taken: 10", got)
		}
		c.tryOrder("example..com").want(http.StatusBadRequest, "malformed") // and is not counted
	})
}

func TestNewAccountsLimit(t *testing.T) {
	for _, memory := range []bool{true, false} {
		ca := acmetest.NewUnstartedServer()
		defer ca.Close()
		ca.RateLimits.NewAccounts = acmetest.Limit{Count: 2, Per: 2000 * time.Hour}
		if memory {
			ca.StartInMemory()
		} else {
			ca.Start()
		}
		first := newAccount(t, ca)
		newAccount(t, ca)
		third := newClient(t, ca)
		a := third.register(map[string]any{"termsOfServiceAgreed": true}).want(http.StatusTooManyRequests, "rateLimited")
		if seconds, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || seconds < 3500_000 || seconds > 3600_001 {
			t.Errorf("Retry-After %q", a.header.Get("Retry-After"))
		}
		if !strings.Contains(a.problem().Detail, "new accounts from this IP address (2)") {
			t.Errorf("detail %q", a.problem().Detail)
		}
		first.register(map[string]any{"termsOfServiceAgreed": true}).want(http.StatusOK, "") // is there already
	}
}

// Certificates are looked at when they are ordered and counted when they are issued.
func TestCertificatesLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, c := limited(t, acmetest.RateLimits{Certificates: acmetest.Limit{Count: 2, Per: 2 * time.Hour}})
		other := newAccount(t, n.ca)
		began := time.Now()
		first := c.newOrder("a.example.com")
		n.prove(c, first, "dns-01")
		n.issue(c, "b.example.com", "*.c.example.com", "example.org") // counts once for example.com
		n.issue(other, "c.example.com")
		what := `certificates for "example.com" (2) in the last 2h0m0s`
		other.tryOrder("d.example.com").wantLimited(what, began.Add(time.Hour))
		c.tryOrder("example.net", "*.example.com").wantLimited(what, began.Add(time.Hour))
		c.tryOrder("a.example.org").want(http.StatusCreated, "")
		finalize(c, first, newKey(t, elliptic.P256())) // was ordered when there was room
		n.issue(c, "c.example.com")                    // the same as another certificate
		time.Sleep(time.Hour)
		n.issue(other, "d.example.com")
		n.issue(other, "*.c.example.com", "example.org", "b.example.com")
		other.tryOrder("e.example.com").wantLimited(what, began.Add(2*time.Hour))
	})
}

// Of all limits that an order is beyond, the one that takes longest counts, and nothing was spent.
func TestLimitsTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, c := limited(t, acmetest.RateLimits{
			NewOrders:        acmetest.Limit{Count: 4, Per: 4 * time.Hour},
			Certificates:     acmetest.Limit{Count: 2, Per: 20 * time.Hour},
			SameCertificates: acmetest.Limit{Count: 2, Per: 2 * time.Hour},
		})
		began := time.Now()
		n.issue(c, "a.example.com")
		n.issue(c, "b.example.com")
		n.issue(c, "a.example.com")
		for range 5 {
			c.tryOrder("c.example.com").wantLimited(`certificates for "example.com" (2)`, began.Add(10*time.Hour))
		}
		c.tryOrder("a.example.com").wantLimited("certificates for exactly these identifiers (2)", began.Add(time.Hour))
		for range 2 {
			c.tryOrder("example.org").want(http.StatusCreated, "")
		}
		c.tryOrder("example.org").wantLimited("new orders", began.Add(time.Hour))
		c.tryOrder("c.example.com").wantLimited("certificates for", began.Add(10*time.Hour))
	})
}

// What is the same as an earlier certificate is not counted for its domain.
func TestRenewalsAreNotCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		two := acmetest.Limit{Count: 2, Per: 2 * time.Hour}
		n, c := limited(t, acmetest.RateLimits{Certificates: two, NewOrders: two})
		began := time.Now()
		for range 4 {
			n.issue(c, "a.example.com")
		}
		n.issue(c, "b.example.com")
		newAccount(t, n.ca).tryOrder("c.example.com").wantLimited("certificates for", began.Add(time.Hour))
	})
}

func TestSameCertificatesLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, c := limited(t, acmetest.RateLimits{SameCertificates: acmetest.Limit{Count: 2, Per: 2 * time.Hour}})
		began := time.Now()
		for range 2 {
			n.issue(c, "example.com", "www.example.com")
		}
		newAccount(t, n.ca).tryOrder("WWW.example.com", "example.com").wantLimited("certificates for exactly these identifiers (2)", began.Add(time.Hour))
		n.issue(c, "example.com")
		n.issue(c, "example.com", "www.example.com", "a.example.com")
	})
}

func TestRegisteredDomains(t *testing.T) {
	coUK := func(name string) string {
		if strings.HasSuffix(name, ".co.uk") {
			labels := strings.Split(name, ".")
			return strings.Join(labels[len(labels)-3:], ".")
		}
		return "?"
	}
	for _, test := range []struct {
		first, second    string
		registeredDomain func(string) string
		domain           string // that they share; empty: none
	}{
		{"example.com", "a.b.example.com", nil, "example.com"},
		{"*.example.com", "example.com", nil, "example.com"},
		{"example.com", "example.org", nil, ""},
		{"a.co.uk", "b.co.uk", nil, "co.uk"},
		{"a.co.uk", "b.co.uk", coUK, ""},
		{"*.a.co.uk", "b.a.co.uk", coUK, "a.co.uk"},
		{"test", "test.test", nil, ""},
		{"192.0.2.7", "192.0.2.8", nil, ""},
		{"2001:db8::7", "2001:db8::8:0:0:8", nil, "2001:db8::/64"},
		{"2001:db8::7", "2001:db8:0:1::7", nil, ""},
	} {
		t.Run(test.first+" "+test.second, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, c := limited(t, acmetest.RateLimits{Certificates: acmetest.Limit{Count: 1, Per: time.Hour}, RegisteredDomain: test.registeredDomain})
				began := time.Now()
				o := c.newOrder(test.first)
				challengeType := "http-01"
				if strings.HasPrefix(test.first, "*.") {
					challengeType = "dns-01"
				}
				n.prove(c, o, challengeType)
				finalize(c, o, newKey(t, elliptic.P256()))
				a := c.tryOrder(test.second)
				if test.domain == "" {
					a.want(http.StatusCreated, "")
				} else {
					a.wantLimited(fmt.Sprintf("certificates for %q (1)", test.domain), began.Add(time.Hour))
				}
			})
		})
	}
}

// What rightly says that it replaces a certificate is exempt from all in the suggested window, and a renewal like others before and
// after. It is counted all the same.
func TestReplacementIsExempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		two := acmetest.Limit{Count: 2, Per: 2 * time.Hour}
		n, c := limited(t, acmetest.RateLimits{NewOrders: two, Certificates: two, SameCertificates: two})
		began := time.Now()
		leaf := c.chain(n.issue(c, "example.com").Certificate)[0]
		replace := func(leaf *x509.Certificate) *answer {
			return c.post(c.resource("newOrder"), map[string]any{"identifiers": identify("example.com"), "replaces": certificateID(leaf.AuthorityKeyId, serial(t, leaf))})
		}
		suggest := func(leaf *x509.Certificate, start, end time.Duration) {
			n.ca.SetRenewalInfo(leaf.SerialNumber, acmetest.RenewalInfo{Start: time.Now().Add(start), End: time.Now().Add(end)})
		}
		suggest(leaf, 0, time.Hour)
		var o order
		a := replace(leaf).want(http.StatusCreated, "")
		a.decode(&o)
		o.URL = a.header.Get("Location")
		n.prove(c, &o, "dns-01")
		next := c.chain(finalize(c, &o, newKey(t, elliptic.P256())).Certificate)[0]
		replace(leaf).want(http.StatusConflict, "alreadyReplaced")
		c.tryOrder("example.com").wantLimited("certificates for exactly", began.Add(time.Hour))
		suggest(next, -time.Hour, 0)
		replace(next).wantLimited("certificates for exactly", began.Add(time.Hour))
		suggest(next, time.Second, time.Hour)
		replace(next).wantLimited("certificates for exactly", began.Add(time.Hour))
		suggest(next, 0, time.Hour)
		replace(next).want(http.StatusCreated, "")
	})
}

// fail makes n validations of the name fail, each in an order of its own.
func (n *network) fail(c *client, name string, count int) {
	c.t.Helper()
	n.ca.FailValidations(name, count)
	for range count {
		o := c.newOrder(name)
		n.prove(c, o, "dns-01")
		if got := c.getOrder(o.URL).Status; got != "invalid" {
			c.t.Fatalf("the order is %s, want it invalid", got)
		}
	}
}

func TestFailedAuthorizationsLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, c := limited(t, acmetest.RateLimits{FailedAuthorizations: acmetest.Limit{Count: 2, Per: 2 * time.Hour}})
		began := time.Now()
		n.issue(c, "example.com") // a success does not count
		n.fail(c, "www.example.com", 2)
		what := `failed authorizations for "www.example.com" (2) in the last 2h0m0s`
		c.tryOrder("example.com", "www.example.com").wantLimited(what, began.Add(time.Hour))
		c.tryOrder("*.www.example.com").wantLimited(what, began.Add(time.Hour))
		c.preauthorize(identifier{"dns", "www.example.com"}).wantLimited(what, began.Add(time.Hour))
		c.tryOrder("example.com").want(http.StatusCreated, "")
		newAccount(t, n.ca).tryOrder("www.example.com").want(http.StatusCreated, "")
		time.Sleep(time.Hour)
		n.fail(c, "www.example.com", 1)
		c.tryOrder("www.example.com").wantLimited(what, began.Add(2*time.Hour))
	})
}

// A pause is no matter of time.
func TestFailuresInARow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, c := limited(t, acmetest.RateLimits{FailuresInARow: acmetest.Limit{Count: 3, Per: 3 * time.Hour}})
		n.fail(c, "example.com", 2)
		n.issue(c, "example.com") // begins the row anew
		n.fail(c, "example.com", 2)
		n.fail(c, "example.org", 2)
		time.Sleep(5 * time.Hour)
		n.fail(c, "example.org", 2) // of which the bucket had two back
		o := c.newOrder("example.org", "example.com")
		if o.Status != "pending" {
			t.Errorf("order %+v", o)
		}
		n.fail(c, "example.org", 1)
		paused := func() {
			t.Helper()
			a := c.tryOrder("example.net", "*.example.org").want(http.StatusTooManyRequests, "rateLimited")
			if a.header.Get("Retry-After") != "" || !strings.Contains(a.problem().Detail, `"example.org" are paused`) || !strings.Contains(a.problem().Detail, "Please visit: https://") {
				t.Errorf("Retry-After %q, %s", a.header.Get("Retry-After"), a.problem().Detail)
			}
		}
		paused()
		c.preauthorize(identifier{"dns", "example.org"}).want(http.StatusTooManyRequests, "rateLimited")
		newAccount(t, n.ca).tryOrder("example.org").want(http.StatusCreated, "")
		time.Sleep(1000 * time.Hour)
		paused()
		n.ca.Unpause("Example.org")
		n.fail(c, "example.org", 3)
		paused()
		n.ca.Unpause("example.org")
		n.fail(c, "example.org", 2)
		c.tryOrder("example.org").want(http.StatusCreated, "")
	})
}

func TestLetsEncryptLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, c := limited(t, acmetest.LetsEncryptLimits())
		began := time.Now()
		for range 5 {
			n.issue(c, "example.com")
		}
		c.tryOrder("example.com").wantLimited("certificates for exactly these identifiers (5) in the last 168h0m0s", began.Add(7*24*time.Hour/5))
		n.fail(c, "www.example.com", 5)
		c.tryOrder("www.example.com").wantLimited(`failed authorizations for "www.example.com" (5) in the last 1h0m0s`, began.Add(12*time.Minute))
	})
}
