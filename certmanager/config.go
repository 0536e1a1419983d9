package certmanager

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver/diagnose"
	"github.com/everseal/everseal/storage"
)

// A Config says what a Manager manages and how. Zero fields are the right ones for a single server
// with certificates of Let's Encrypt. A Config, and what it refers to, is not changed after New.
type Config struct {
	// Names are domain names, wildcards or IP addresses to have a certificate each.
	Names []string
	// Subjects are certificates for several names, or with a key type of their own.
	Subjects []Subject

	// Email is told to CAs as the contact of the account, except those for which ACME.Email says otherwise. May be empty.
	Email string
	// AgreeToTerms says that the terms of service of all CAs that are asked were read and are agreed to. It can be said
	// for one of them by ACME.AgreeToTerms.
	AgreeToTerms bool
	// Issuers are asked one after another until one issues. Zero: Let's Encrypt. Another CA is
	// &ACME{DirectoryURL: …}; Let's Encrypt's staging environment that of acme.LetsEncryptStaging.
	Issuers []Issuer

	// Solvers prove control of the names to the Issuers: []Issuer{&ACME{DirectoryURL: the}} first that can, or after a failure the one
	// behind it. After them come the built-in ones: tls-alpn-01 in GetCertificate, and http-01 where Serve
	// or HTTPHandler has it. A *solver.TLSALPN01 or *solver.HTTP01 given here takes the built-in one's
	// place; one without a Storage is copied, so that not its own GetCertificate or Handler answers but the
	// manager's. Others that keep something and have no storage, such as a *solver.DNS01, use the manager's. With
	// a *solver.Webroot the server that has port 80 answers, so that NoHTTP is to be set.
	Solvers []acme.Solver

	// Preflight says what becomes of a fault that the manager sees before the CA is told to validate. Zero:
	// PreflightWarn.
	Preflight Preflight
	// Vantage is where the manager checks from, before and after a validation fails. Solvers that wait until
	// name servers have a record, such as a *solver.DNS01, ask from there too, unless they have a DNS of their own;
	// Private holds for them in either case. Zero: from this process, as the system does.
	Vantage diagnose.Vantage

	// Storage keeps account, certificates and work under way. Nil: a storage.Dir in systemd's
	// $STATE_DIRECTORY, or else in the folder "everseal" of the user's configuration folder.
	Storage storage.Store

	// OnDemand, if set, is asked whether a certificate may be obtained for a name that a client wants
	// and nobody configured. An error refuses; one that wraps ErrDenied is remembered for a while,
	// any other, or a panic, means that the question could not be answered. Called concurrently, and again before a
	// certificate obtained so is renewed. When Run begins it is asked about a random name below .com, once: that it
	// should allow that one is a warning. It returns when ctx ends, which is after half a minute.
	OnDemand func(ctx context.Context, q Question) error
	// MaxNewNames bounds how many new names of one registered domain OnDemand has certificates obtained for within an
	// hour, even if it allows more: scanners make up names below a wildcard record. Renewals, and what is stored, do not
	// count. Zero: 20. Let's Encrypt issues 50 in a week; who has an exemption sets more.
	MaxNewNames int

	// KeyType is the kind of key of new certificates. Zero: ECDSAP256. Another one means other
	// certificates: they are obtained anew, and those stored with the old one are not served meanwhile.
	KeyType KeyType
	// DefaultName is the name whose certificate is served to clients that name none, where there is
	// none for the address they called.
	DefaultName string

	// Workers is how many certificates are loaded, obtained or renewed at once: with an issuer that takes two seconds for
	// each, 512 get 256 a second. One that takes longer than ten seconds makes room for another. Zero: 512.
	Workers int

	// MaxLoaded bounds how many certificates are in memory. What no handshake has asked for lately leaves it, and comes
	// back from the storage for the next one, which waits for that, ten seconds at most; its renewal continues. Nothing
	// leaves while the storage can't be read. Zero: there is no bound.
	MaxLoaded int

	// HTTPAddr is where Serve answers plain HTTP: http-01 challenges and redirects to HTTPS. Zero: ":80".
	HTTPAddr string
	// NoHTTP says that Serve does not listen for plain HTTP.
	NoHTTP bool

	// Logger is told what the manager does. Nil: slog.Default().
	Logger *slog.Logger
	// OnEvent, if set, is called with what happens to certificates: with one event after another, beside the
	// work, which it does not hold up. It may call the manager. Of the events that wait while it has not returned,
	// 1,024 are kept, the latest ones; Event.Missed counts the others. Run returns when those that wait have been
	// delivered, or after ten seconds: a call that has not returned by then is left behind, and what waits is dropped. A
	// panic is logged, and the next event delivered.
	OnEvent func(Event)
}

// A Subject is what one certificate is for.
type Subject struct {
	Names   []string // domain names, wildcards or IP addresses; at least one
	KeyType KeyType  // zero: the Config's

	// Solvers prove control of these names, in place of Config.Solvers; the built-in ones come after them.
	// A *solver.TLSALPN01 or *solver.HTTP01 stands for the manager's own. Zero: Config.Solvers.
	Solvers []acme.Solver
}

// ErrDenied is wrapped by the errors with which Config.OnDemand refuses a name.
var ErrDenied = errors.New("certmanager: the name is not allowed a certificate")

// longestID bounds Issuer.ID in bytes.
const longestID = 100

// defaultWorkers is Config.Workers if that is zero.
const defaultWorkers = 512

// check reports what is wrong with the configuration as far as it shows without calling anybody.
func (c *Config) check() error {
	if slices.Contains(c.Solvers, nil) {
		return errors.New("certmanager: Config.Solvers: one is nil")
	}
	if err := c.Preflight.check(); err != nil {
		return err
	}
	if c.Workers < 0 {
		return fmt.Errorf("certmanager: Config.Workers is %d: zero means %d, and less than one does nothing", c.Workers, defaultWorkers)
	}
	if c.MaxLoaded < 0 {
		return fmt.Errorf("certmanager: Config.MaxLoaded is %d: zero means that there is no bound", c.MaxLoaded)
	}
	if c.MaxNewNames < 0 {
		return fmt.Errorf("certmanager: Config.MaxNewNames is %d: zero means %d, and to obtain nothing on demand leave out Config.OnDemand", c.MaxNewNames, defaultMaxNewNames)
	}
	if err := checkEmail(c.Email); err != nil {
		return fmt.Errorf("certmanager: Config.Email %w", err)
	}
	return c.checkIssuers()
}

func (c *Config) checkIssuers() error {
	ids := make(map[string]bool)
	for _, issuer := range c.issuers() {
		if issuer == nil {
			return errors.New("certmanager: Config.Issuers: one is nil")
		}
		if a, ok := issuer.(*ACME); ok {
			if a == nil {
				return errors.New("certmanager: Config.Issuers: one is a nil *ACME")
			}
			if err := a.check(); err != nil {
				return err
			}
		}
		id := issuer.ID()
		if len(id) > longestID {
			return fmt.Errorf("certmanager: Config.Issuers: the ID %.20q… has %d bytes, at most %d leave room for names in storage keys", id, len(id), longestID)
		}
		if err := storage.CheckKey(id); err != nil || strings.Contains(id, "/") {
			return fmt.Errorf("certmanager: Config.Issuers: the ID %q can't be part of a storage key: use lower-case letters, digits, hyphens and dots", id)
		}
		if ids[id] {
			return fmt.Errorf("certmanager: Config.Issuers: two have the ID %q", id)
		}
		ids[id] = true
	}
	return nil
}

// issuers returns those to ask, in their order. Those that speak ACME are told what the Config says for all.
func (c *Config) issuers() []Issuer {
	if len(c.Issuers) == 0 {
		return []Issuer{&ACME{Email: c.Email, AgreeToTerms: c.AgreeToTerms}}
	}
	issuers := slices.Clone(c.Issuers)
	for i, issuer := range issuers {
		if a, ok := issuer.(*ACME); ok && a != nil {
			told := *a
			told.Email, told.AgreeToTerms = cmp.Or(a.Email, c.Email), a.AgreeToTerms || c.AgreeToTerms
			issuers[i] = &told
		}
	}
	return issuers
}

// store returns where to keep things.
func (c *Config) store() (storage.Store, error) {
	if c.Storage != nil {
		return c.Storage, nil
	}
	// systemd may name several folders, joined with colons.
	if dir, _, _ := strings.Cut(os.Getenv("STATE_DIRECTORY"), ":"); dir != "" {
		return storage.Dir(dir), nil
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return nil, fmt.Errorf("certmanager: no folder to keep certificates in: set Config.Storage, such as to storage.Dir(\"/var/lib/myserver\"): %w", err)
	}
	return storage.Dir(filepath.Join(dir, "everseal")), nil
}

// subjects returns what Names and Subjects ask for, checked.
func (c *Config) subjects() ([]subject, error) {
	all := make([]Subject, 0, len(c.Names)+len(c.Subjects))
	for _, name := range c.Names {
		all = append(all, Subject{Names: []string{name}})
	}
	return c.normalize(append(all, c.Subjects...))
}

// normalize returns the subjects in the form that the manager works with.
func (c *Config) normalize(given []Subject) ([]subject, error) {
	subjects := make([]subject, 0, len(given))
	for _, s := range given {
		if s.KeyType == "" {
			s.KeyType = c.KeyType
		}
		normal, err := newSubject(s)
		if err != nil {
			return nil, err
		}
		for _, id := range normal.identifiers {
			if strings.HasPrefix(id.Value, "*.") && !c.provesWildcards(id, normal.solvers) {
				return nil, fmt.Errorf("certmanager: %s: a CA issues for a wildcard only on proof by DNS: add a solver for dns-01, such as solver.DNS01, to Config.Solvers", id.Value)
			}
		}
		subjects = append(subjects, normal)
	}
	return subjects, nil
}

// provesWildcards reports whether some solver can be used for the wildcard. If issuers are given
// that do not speak ACME, that is their matter.
func (c *Config) provesWildcards(id acme.Identifier, own []acme.Solver) bool {
	for _, issuer := range c.Issuers {
		if _, ok := issuer.(*ACME); !ok {
			return true
		}
	}
	base := acme.Identifier{Type: id.Type, Value: strings.TrimPrefix(id.Value, "*.")}
	given := own
	if len(given) == 0 {
		given = c.Solvers
	}
	for _, s := range given {
		if acme.Supports(s, base, true) {
			return true
		}
	}
	return false
}
