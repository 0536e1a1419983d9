package certmanager_test

import (
	"context"
	"crypto/tls"
	"net/netip"
	"testing"
	"testing/synctest"

	"github.com/everseal/everseal/certmanager"
)

// TestPolicyIsToldTheClient has clients want names: the policy is told their addresses, of IPv4 as such also where the socket is
// one of IPv6, and none of a renewal.
func TestPolicyIsToldTheClient(t *testing.T) {
	for from, want := range map[string]string{
		"203.0.113.7:4711":          "203.0.113.7:4711",
		"[::ffff:203.0.113.7]:4711": "203.0.113.7:4711",
		"[2001:db8::7]:4711":        "[2001:db8::7]:4711",
	} {
		synctest.Test(t, func(t *testing.T) {
			w, local := newWorld(t), newLocalCA(t, "local")
			questions := make(chan certmanager.Question, 10)
			config := w.onDemandFrom(local)
			config.OnDemand = func(_ context.Context, q certmanager.Question) error {
				if isProbe(q.Name) {
					return errForbidden
				}
				questions <- q
				return nil
			}
			m, stop := w.running(config)
			defer stop()
			withHello(t, nil, func(hello *tls.ClientHelloInfo) {
				hello = named(hello, "example.com")
				hello.Conn = addressed{from: netip.MustParseAddrPort(from)}
				if _, err := m.GetCertificate(hello); err != nil {
					t.Error(err)
				}
			})
			if q := <-questions; q.Name != "example.com" || q.Renewal || q.Remote.String() != want {
				t.Errorf("from %s: %+v", from, q)
			}
			if err := m.Renew(t.Context(), "example.com"); err != nil {
				t.Error(err)
			}
			if q := <-questions; !q.Renewal || q.Remote.IsValid() {
				t.Errorf("a renewal: %+v", q)
			}
		})
	}
}
