package main

import (
	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver"

	// For a zone elsewhere name another of the 230 in https://go-acme.github.io/lego/dns/ here, and nothing else changes.
	dns "github.com/go-acme/lego/v5/providers/dns/hetzner"
)

// newLego returns a solver by a provider of lego, which takes its credentials from the environment variables that its page there
// names. Its error says which are missing.
func newLego(propagation solver.Propagation) (acme.Solver, error) {
	provider, err := dns.NewDNSProvider()
	if err != nil {
		return nil, err
	}
	lego := solver.LegoV5(provider)
	lego.Propagation = propagation
	return lego, nil
}
