package certmanager

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/storage"
)

// check returns what Names and Subjects ask for, and notes what is wrong with the configuration, as far as it shows without
// calling anybody.
func (c *Config) check(wrong *misconfiguration) []subject {
	c.checkIssuers(wrong)
	checkSolvers("Config.Solvers", c.Solvers, wrong)
	wrong.add(c.Preflight.check(), c.Role.check(), c.checkHTTP(), c.checkListeners())
	if c.MaxLoaded < 0 {
		wrong.addf("Config.MaxLoaded is %d: zero means that there is no bound", c.MaxLoaded)
	}
	if c.MaxNewNames < 0 {
		wrong.addf("Config.MaxNewNames is %d: zero means %d, and to obtain nothing on demand leave out Config.OnDemand", c.MaxNewNames, defaultMaxNewNames)
	}
	if c.Failover < 0 {
		wrong.addf("Config.Failover is %d: zero means one, and less than one failure is none", c.Failover)
	}
	if c.FollowInterval > 0 && c.FollowInterval < time.Second {
		wrong.addf("Config.FollowInterval is %v: all certificates that are stored are read each time, so that it is to be a second at least", c.FollowInterval)
	}
	if c.Workers < 0 {
		wrong.addf("Config.Workers is %d: zero means %d, and less than one does nothing", c.Workers, defaultWorkers)
	}
	if c.SweepInterval > 0 && c.SweepInterval < minSweepInterval {
		wrong.addf("Config.SweepInterval is %v: less than %v keeps the storage busy; zero means %v, and a negative one never", c.SweepInterval, minSweepInterval, defaultSweepInterval)
	}
	if err := checkKeyTypes(c.KeyTypes); err != nil {
		wrong.addf("Config.KeyTypes: %w", err)
	}
	all := make([]Subject, 0, len(c.Names)+len(c.Subjects))
	for _, name := range c.Names {
		all = append(all, Subject{Names: []string{name}})
	}
	subjects := c.normalize(append(all, c.Subjects...), wrong)
	wrong.add(c.checkDefaultName(subjects))
	return subjects
}

// checkTickets reports a storage that is not to have the keys of session tickets.
func (c *Config) checkTickets(store storage.Store) error {
	if _, sealed := storage.As[*storage.Sealed](store); c.SharedTickets && !sealed {
		return errors.New("Config.SharedTickets keeps keys in the storage that must be sealed there: set Config.Storage to a *storage.Sealed around the present one")
	}
	return nil
}

func (c *Config) checkIssuers(wrong *misconfiguration) {
	if err := checkEmail(c.Email); err != nil {
		wrong.addf("Config.Email %w", err)
	}
	ids := make(map[string]bool)
	for _, issuer := range c.issuers() {
		if a, isACME := issuer.(*ACME); issuer == nil || isACME && a == nil {
			wrong.add(errors.New("Config.Issuers: one is nil"))
			continue
		}
		if a, ok := issuerAs[*ACME](issuer); ok && a != nil {
			c.checkStandIns("ACME.Solvers", a.Solvers, wrong)
		}
		id := issuer.ID()
		if len(id) > longestID {
			wrong.addf("Config.Issuers: the ID %.20q… has %d bytes, at most %d leave room for names in storage keys", id, len(id), longestID)
		} else if err := storage.CheckKey(id); err != nil || strings.Contains(id, "/") {
			wrong.addf("Config.Issuers: the ID %q can't be part of a storage key: use lower-case letters, digits, hyphens and dots", id)
		}
		if ids[id] {
			wrong.addf("Config.Issuers: two have the ID %.100q", id)
		}
		ids[id] = true
	}
}

// checkSolvers reports solvers that can't ever work. A solver can have a method that says so.
func checkSolvers(field string, solvers []acme.Solver, wrong *misconfiguration) {
	overHTTP, overTLS := 0, 0
	for _, s := range solvers {
		switch s.(type) {
		case nil:
			wrong.addf("%s: one is nil", field)
			continue
		case *solver.HTTP01:
			overHTTP++
		case *solver.TLSALPN01:
			overTLS++
		}
		if checked, ok := acme.As[interface{ Ready() error }](s); ok {
			if err := checked.Ready(); err != nil {
				wrong.addf("%s: %w", field, err)
			}
		}
	}
	if overHTTP > 1 {
		wrong.addf("%s: %d are a *solver.HTTP01, of which a manager has one: leave one", field, overHTTP)
	}
	if overTLS > 1 {
		wrong.addf("%s: %d are a *solver.TLSALPN01, of which a manager has one: leave one", field, overTLS)
	}
}

// checkHTTP reports what is wrong with where plain HTTP is to be answered.
func (c *Config) checkHTTP() error {
	if c.HTTPAddr == "" {
		return nil
	}
	if c.NoHTTP {
		return fmt.Errorf("Config.HTTPAddr is %.100q, though Config.NoHTTP is set: set one of them", c.HTTPAddr)
	}
	_, port, err := net.SplitHostPort(c.HTTPAddr)
	if err == nil {
		_, err = net.LookupPort("tcp", port) // in a file at most
	}
	if err != nil {
		return fmt.Errorf("Config.HTTPAddr is %.100q: it must be a host, or none, and a port, such as %q", c.HTTPAddr, ":80")
	}
	return nil
}

// checkDefaultName reports a DefaultName that there is no certificate for. Names may come later, if there are none.
func (c *Config) checkDefaultName(subjects []subject) error {
	if c.DefaultName == "" {
		return nil
	}
	id, err := acme.ParseIdentifier(c.DefaultName)
	if err != nil {
		return fmt.Errorf("Config.DefaultName: %w", err)
	}
	_, parent, _ := strings.Cut(id.Value, ".")
	for i := range subjects {
		for _, name := range subjects[i].identifiers {
			if name.Value == id.Value || name.Value == "*."+parent {
				return nil
			}
		}
	}
	if len(subjects) == 0 || c.OnDemand != nil {
		return nil
	}
	return fmt.Errorf("Config.DefaultName is %s, for which there is no certificate: add it to Config.Names", id.Value)
}

// normalize returns the subjects in the form that the manager works with, but those with which something is wrong.
func (c *Config) normalize(given []Subject, wrong *misconfiguration) []subject {
	subjects := make([]subject, 0, len(given))
	usual := c.KeyTypes
	if len(usual) == 0 {
		usual = defaultKeyTypes()
	}
	public := c.asksPublicCAs()
	for _, s := range given {
		if len(s.KeyTypes) == 0 {
			s.KeyTypes = usual
		}
		normal, err := newSubject(s)
		if err != nil {
			wrong.add(err)
			continue
		}
		checkSolvers("Subject.Solvers", s.Solvers, wrong)
		c.checkStandIns("Subject.Solvers", s.Solvers, wrong)
		for _, id := range normal.identifiers {
			if strings.HasPrefix(id.Value, "*.") && !c.provesWildcards(id, normal.solvers) {
				wrong.addf("%s: a CA issues for a wildcard only on proof by DNS: add a solver for dns-01, such as solver.DNS01, to Config.Solvers", id.Value)
			}
			if public {
				wrong.add(checkPublic(id))
			}
		}
		subjects = append(subjects, normal)
	}
	return subjects
}

// provesWildcards reports whether some solver can be used for the wildcard. If issuers are given
// that do not speak ACME, that is their matter.
func (c *Config) provesWildcards(id acme.Identifier, own []acme.Solver) bool {
	if len(own) == 0 {
		own = c.Solvers
	}
	base := acme.Identifier{Type: id.Type, Value: strings.TrimPrefix(id.Value, "*.")}
	able := func(s acme.Solver) bool { return s != nil && acme.Supports(s, base, true) }
	return slices.ContainsFunc(c.issuers(), func(issuer Issuer) bool {
		a, ok := issuerAs[*ACME](issuer)
		switch {
		case !ok:
			return true
		case a != nil && len(a.Solvers) > 0:
			return slices.ContainsFunc(a.Solvers, able)
		}
		return slices.ContainsFunc(own, able)
	})
}
