package dnsclient

import (
	"testing"

	"github.com/everseal/everseal/solver/internal/solvertest"
)

// clientOf returns a client for a call that asks d.
func clientOf(t *testing.T, d *solvertest.DNS) *Client {
	return New(t.Context(), &Settings{Resolvers: []string{solvertest.ResolverAddr}, Dial: d.Dial}, "")
}
