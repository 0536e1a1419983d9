package certmanager

import (
	"fmt"
	"slices"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver"
)

// checkStandIns reports solvers of a subject or an issuer in whose place one of the manager's own answers, though they have a
// listener or storage of their own, which would not be used.
func (c *Config) checkStandIns(field string, solvers []acme.Solver, wrong *misconfiguration) {
	for _, s := range solvers {
		own := ""
		switch s := s.(type) {
		case *solver.HTTP01:
			switch {
			case s == nil:
			case s.Addr != "":
				own = fmt.Sprintf("the Addr %.100q", s.Addr)
			case s.Storage != nil:
				own = "a Storage"
			}
		case *solver.TLSALPN01:
			if s != nil && s.Storage != nil {
				own = "a Storage"
			}
		}
		if own != "" && !slices.Contains(c.Solvers, s) {
			wrong.addf("%s: a %T has %s, which is not used, for it stands for the manager's own: give it to Config.Solvers, too", field, s, own)
		}
	}
}

// checkListeners reports that Serve and a solver are to listen on the same address.
func (c *Config) checkListeners() error {
	for _, s := range c.Solvers {
		if own, ok := s.(*solver.HTTP01); ok && own != nil && own.Addr != "" && own.Addr == c.HTTPAddr {
			return fmt.Errorf("Config.HTTPAddr is %.100q, as the Addr of the *solver.HTTP01 in Config.Solvers: leave out Addr, for Serve answers there, or set Config.NoHTTP in place of HTTPAddr", c.HTTPAddr)
		}
	}
	return nil
}
