package acmetest_test

import (
	"crypto/elliptic"
	"net/http"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme/acmetest"
)

func TestProfiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const day = 24 * time.Hour
		n := newNetwork(t)
		ca := n.newCA(t, func(ca *acmetest.Server) {
			ca.Lifetime = 30 * day
			ca.Profiles = map[string]acmetest.Profile{
				"classic":    {Description: "https://example.com/classic"},
				"shortlived": {Description: "Six days", Lifetime: 6 * day},
			}
		})
		c := newAccount(t, ca)
		meta, _ := c.directory["meta"].(map[string]any)
		if want := map[string]any{"classic": "https://example.com/classic", "shortlived": "Six days"}; !reflect.DeepEqual(meta["profiles"], want) {
			t.Errorf("profiles %v in the directory, want %v", meta["profiles"], want)
		}
		for i, test := range []struct {
			profile  string // empty: none asked for
			lifetime time.Duration
		}{{"", 30 * day}, {"classic", 30 * day}, {"shortlived", 6 * day}} {
			payload := map[string]any{"identifiers": identify("example.com")}
			if test.profile != "" {
				payload["profile"] = test.profile
			}
			o := c.order(payload)
			n.prove(c, o, "http-01")
			valid := finalize(c, o, newKey(t, elliptic.P256()))
			if o.Profile != test.profile || valid.Profile != test.profile || ca.Orders()[i].Profile != test.profile {
				t.Errorf("profile %q, later %q and %q, want %q", o.Profile, valid.Profile, ca.Orders()[i].Profile, test.profile)
			}
			leaf := c.chain(valid.Certificate)[0]
			if got := leaf.NotAfter.Sub(leaf.NotBefore); got != test.lifetime {
				t.Errorf("profile %q gives a lifetime of %v, want %v", test.profile, got, test.lifetime)
			}
		}
		for _, profile := range []string{"", "Classic", "tlsserver"} {
			c.post(c.resource("newOrder"), map[string]any{"identifiers": identify("example.com"), "profile": profile}).want(http.StatusBadRequest, "invalidProfile")
		}
		late := map[string]any{"identifiers": identify("example.com"), "profile": "shortlived", "notAfter": time.Now().Add(7 * day)}
		c.post(c.resource("newOrder"), late).want(http.StatusBadRequest, "malformed")
		late["profile"] = "classic"
		c.order(late)
	})
}

func TestNoProfiles(t *testing.T) {
	c := newAccount(t, inMemory(t))
	c.post(c.resource("newOrder"), map[string]any{"identifiers": identify("example.com"), "profile": "classic"}).want(http.StatusBadRequest, "invalidProfile")
}
