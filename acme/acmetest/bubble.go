package acmetest

import (
	"context"
	"errors"
	"net"
)

// Package net makes channels at the first lookups of a process. Made in a bubble of testing/synctest, they end the
// process at the next lookup outside of it: so these are made here, by lookups that ask nobody.
func init() {
	nobody := func(context.Context, string, string) (net.Conn, error) { return nil, errors.ErrUnsupported }
	_, _ = (&net.Resolver{PreferGo: true, Dial: nobody}).LookupHost(context.Background(), "acmetest.invalid.")
}
