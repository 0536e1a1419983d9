package main

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/solver/libdns"

	// For a zone elsewhere name another of those in https://github.com/libdns here, and nothing else changes.
	dns "github.com/libdns/rfc2136"
)

// newLibdns returns a provider of libdns, whose fields are in a variable as JSON, by the names that stand in its type's tags, such
// as {"api_token":"…"}.
func newLibdns(getenv func(string) string) (solver.Provider, error) {
	text := getenv("LIBDNS_PROVIDER")
	if text == "" {
		return nil, errors.New(`set LIBDNS_PROVIDER to the provider's fields as JSON, such as {"api_token":"…"}`)
	}
	provider := new(dns.Provider)
	if err := json.Unmarshal([]byte(text), provider); err != nil {
		return nil, fmt.Errorf("LIBDNS_PROVIDER is not the provider's fields as JSON: %T", err) // its text may show a secret
	}
	return libdns.New(provider), nil
}
