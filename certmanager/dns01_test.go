package certmanager_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"sync"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/acme/acmetest"
)

// dns01 is a solver that writes the TXT records which the CA sees. A name and its wildcard have one
// record together, with a value each.
type dns01 struct {
	ca *acmetest.Server

	mu     sync.Mutex
	values map[string][]string
}

func newDNS01(ca *acmetest.Server) *dns01 { return &dns01{ca: ca, values: make(map[string][]string)} }

func (*dns01) Type() string { return "dns-01" }

func (s *dns01) Present(_ context.Context, p acme.Proof) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	name, value := txtRecord(p)
	if !slices.Contains(s.values[name], value) {
		s.values[name] = append(s.values[name], value)
	}
	s.ca.SetTXT(name, s.values[name]...)
	return nil
}

func (s *dns01) CleanUp(_ context.Context, p acme.Proof) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	name, value := txtRecord(p)
	s.values[name] = slices.DeleteFunc(s.values[name], func(v string) bool { return v == value })
	s.ca.SetTXT(name, s.values[name]...)
	return nil
}

func txtRecord(p acme.Proof) (name, value string) {
	digest := sha256.Sum256([]byte(p.KeyAuthorization))
	return "_acme-challenge." + p.Identifier.Value, base64.RawURLEncoding.EncodeToString(digest[:])
}
