package certmanager

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver/diagnose"
	"github.com/everseal/everseal/storage"
)

// A Config says what a Manager manages and how. Zero fields are the right ones for a single server
// with certificates of Let's Encrypt. A Config, and what it refers to, is not changed after New.
type Config struct {
	// Names are domain names, wildcards or IP addresses to have a certificate each.
	Names []string
	// Subjects are certificates for several names, or with kinds of key or solvers of their own.
	Subjects []Subject

	// Email is told to CAs as the contact of the account, except those for which ACME.Email says otherwise. May be empty.
	Email string
	// AgreeToTerms says that the terms of service of all CAs that are asked were read and are agreed to. It can be said
	// for one of them by ACME.AgreeToTerms.
	AgreeToTerms bool
	// Issuers are asked one after another until one issues. Zero: Let's Encrypt. Another CA is
	// &ACME{DirectoryURL: …}; Let's Encrypt's staging environment that of acme.LetsEncryptStaging.
	Issuers []Issuer
	// Failover is after how many failures in a row with one issuer, for a certificate, the next is asked. What fails for
	// all names, such as a CA that is down or refuses the account, and a rate limit lead to the next at once, and to issuers
	// that support the names others do not. Failures to reach it are counted from its last refusal on. A solver that fails
	// leads to no other issuer, unless one has solvers of its own. Zero: one.
	Failover int

	// Solvers prove control of the names to the CA: the first that can, or after a failure the one
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
	// $STATE_DIRECTORY, or else in the folder "everseal" of the user's configuration folder. The log says which one it
	// is: a folder, or what a method String of the storage's returns, or else its type.
	Storage storage.Store

	// Keys, if set, makes and keeps the private keys of certificates and accounts. Nil: they are made here and are in the
	// records in the Storage. What was made before it was set is served until it is renewed; without it, what was
	// made with it can't be served, is reported with [EventCorrupt] and obtained anew.
	Keys Keys

	// OnDemand, if set, is asked whether a certificate may be obtained for a name that a client wants
	// and nobody configured. An error means no; one that wraps ErrDenied is a denial, which is remembered for a while,
	// any other, or a panic, means that the question could not be answered. Called concurrently, and again before a
	// certificate obtained so is renewed. When Run begins it is asked about a random name below .com, once: that it
	// should allow that one is a warning. It returns when ctx ends, which is after half a minute.
	OnDemand func(ctx context.Context, q Question) error
	// MaxNewNames bounds how many new names of one registered domain OnDemand has certificates obtained for within an
	// hour, even if it allows more: scanners make up names below a wildcard record. Renewals, and what is stored, do not
	// count. Zero: 20. Let's Encrypt issues 50 in a week; who has an exemption sets more.
	MaxNewNames int

	// KeyTypes are the kinds of key that there is a certificate of for each subject, those first that are to be preferred: a
	// client is served with the first that it understands. Zero: ECDSAP256 alone. Another one means another
	// certificate: it is obtained anew, and what is stored with a kind that is not among them is not served.
	KeyTypes []KeyType
	// DefaultName is the name whose certificate is served to clients that name none, where there is
	// none for the address they called.
	DefaultName string

	// Role is what this manager does, if others with its storage do the rest. Zero: all.
	Role Role

	// Fallback, if set, is asked for what the manager has no certificate for, as tls.Config.GetCertificate is: names that are
	// managed and have none yet, those that are still to be obtained on demand, and all others. While it has one nobody waits, so
	// that a server that moves here from elsewhere serves without interruption: set it to what it was served by, such as
	// GetCertificate of its former library. An error, or nil, means that it has none. Called concurrently.
	Fallback func(*tls.ClientHelloInfo) (*tls.Certificate, error)

	// Workers is how many certificates are loaded, obtained or renewed at once: with an issuer that takes two seconds for
	// each, 512 get 256 a second. One that takes longer than ten seconds makes room for another. Zero: 512.
	Workers int

	// FollowInterval is how often the storage is read, all certificates of it, for what other processes with it have
	// obtained, replaced and deleted, if it does not tell of that (storage.Watcher), and at least how long after one time
	// the next is, if it has failed to tell. Zero: a minute, and as much longer as there are more than 10,000 names. Negative:
	// it is not read for that, and a certificate that is due is looked for before it is renewed.
	FollowInterval time.Duration

	// MaxLoaded bounds how many certificates are in memory. What no handshake has asked for lately leaves it, and comes
	// back from the storage for the next one, which waits for that, ten seconds at most; its renewal continues. Nothing
	// leaves while the storage can't be read. Zero: there is no bound.
	MaxLoaded int

	// RenewalInfoInterval is the least time between two questions to the issuer of a certificate when to renew it (RFC 9773),
	// which one process of those on the storage asks. Zero: as the issuer says, of CAs usually six hours. Negative: none is
	// asked, and certificates are renewed by their age.
	RenewalInfoInterval time.Duration

	// SharedTickets has all managers with the Storage seal session tickets with the same keys, so that a client resumes its
	// session behind a balancer whichever of them it comes to. The keys are in the Storage, which therefore must be, or
	// wrap, a *storage.Sealed: who reads them can read recorded sessions of TLS 1.2. There is a new one each eight
	// hours. Managers that set it should serve the same clients by the same rules: a session that one has begun, all
	// resume. See [Manager.TLSConfig] for which configurations share none.
	SharedTickets bool

	// SweepInterval is the time from the end of one sweep to the next: one member of the fleet goes through the storage,
	// slowly, and deletes what nobody can need any more, such as a certificate that nobody manages a month after its
	// end. A minute at least. Zero: once a day. Negative: never.
	SweepInterval time.Duration

	// HTTPAddr is where Serve answers plain HTTP: http-01 challenges and redirects to HTTPS. Zero: ":80".
	HTTPAddr string
	// NoHTTP says that Serve does not listen for plain HTTP.
	NoHTTP bool

	// Logger is told what the manager does, and what solvers wait for that have no Logger of their own. Nil: slog.Default().
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
	Names    []string  // domain names, wildcards or IP addresses; at least one
	KeyTypes []KeyType // zero: the Config's
	Profile  string    // the kind of certificate, if a CA has several; zero: as ACME.Profile says

	// Solvers prove control of these names, in place of Config.Solvers; the built-in ones come after them.
	// A *solver.TLSALPN01 or *solver.HTTP01 stands for the manager's own, which has Addr and Storage of the one in
	// Config.Solvers. Zero: Config.Solvers.
	Solvers []acme.Solver
}

// ErrDenied is wrapped by the errors with which Config.OnDemand denies a name.
var ErrDenied = errors.New("certmanager: the name is not allowed a certificate")

// longestID bounds Issuer.ID in bytes.
const longestID = 100

// defaultWorkers is Config.Workers if that is zero.
const defaultWorkers = 512

// issuers returns those to ask, in their order.
func (c *Config) issuers() []Issuer {
	if len(c.Issuers) == 0 {
		return []Issuer{new(ACME)}
	}
	return c.Issuers
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
