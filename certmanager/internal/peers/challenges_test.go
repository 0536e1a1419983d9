package peers

import (
	"errors"
	"strings"
	"testing"

	"github.com/everseal/everseal/acme"
)

// Control is proved by DNS records of each type that Pebble looks for, of a wildcard and its base name side by side.
func TestIssueByRecord(t *testing.T) {
	for _, challenge := range []string{acme.TypeDNS01, acme.TypeDNSAccount01, acme.TypeDNSPersist01} {
		t.Run(challenge, func(t *testing.T) {
			p := startPebble(t, pebbleSettings{})
			records := &answers{setTXT: p.names.setTXT}
			client := newAccount(t, p)
			r := acme.Request{
				Identifiers: identifiers(t, "example.test", "*.example.test", "*.www.example.test"),
				Key:         newKey(t),
				Solvers:     []acme.Solver{recordSolver{challenge, records}},
			}
			certificate, err := client.Issue(within(t), r)
			if err != nil {
				t.Fatal(err)
			}
			verify(t, p, certificate, r)
			p.wants(t, 1, 1)
			for name, values := range records.records {
				if len(values) != 0 {
					t.Errorf("after the clean-up %s has the records %q", name, values)
				}
			}
		})
	}
}

// Records that are almost right prove nothing, and the CA's reason comes back with the name it is about.
func TestIssueByWrongRecord(t *testing.T) {
	tests := map[string]struct {
		challenge string
		name      string
		change    func(record string) string
	}{
		"another key authorization": {acme.TypeDNS01, "example.test", func(record string) string { return record[1:] }},
		"another account's record":  {acme.TypeDNSPersist01, "example.test", func(record string) string { return record + "0" }},
		"no policy for a wildcard": {acme.TypeDNSPersist01, "*.example.test", func(record string) string {
			return strings.Replace(record, "; policy=wildcard", "", 1)
		}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p := startPebble(t, pebbleSettings{})
			records := &answers{setTXT: func(name string, values ...string) {
				for i := range values {
					values[i] = test.change(values[i])
				}
				p.names.setTXT(name, values...)
			}}
			_, err := newAccount(t, p).Issue(within(t), acme.Request{
				Identifiers: identifiers(t, test.name),
				Key:         newKey(t),
				Solvers:     []acme.Solver{recordSolver{test.challenge, records}},
			})
			var failed *acme.OrderError
			if !errors.As(err, &failed) {
				t.Fatalf("Issue: %v", err)
			}
			if len(failed.Authorizations) != 1 || failed.Authorizations[0].Identifier != test.name || failed.Authorizations[0].ChallengeType != test.challenge {
				t.Errorf("the failures are %v", failed.Authorizations)
			}
			p.wants(t, 1, 0)
		})
	}
}
