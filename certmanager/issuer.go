package certmanager

import (
	"cmp"
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver/diagnose"
	"github.com/everseal/everseal/storage"
)

// An Issuer signs certificates. [ACME] is the one for CAs that speak ACME, [LocalCA] one that signs by itself; a private
// CA with an interface of its own can be another. Its methods are called concurrently.
//
// Issuers may also have these methods. They are found through those that wrap an issuer, too, such as to measure it, if
// these have a method Unwrap() Issuer:
//
//	// Bind is called once for each Manager, by New, which returns its error. It returns the issuer at work for
//	// that manager, in which the other methods are looked for first: the issuer itself, or another that keeps
//	// what it needs between requests. All requests have it as Request.Bound.
//	Bind(s Services) (Issuer, error)
//
//	// Supports returns why the issuer will never issue what is asked for, by Identifiers and Profile alone; nil:
//	// it may. What no issuer supports is refused by New and Manage; other issuers are passed over.
//	Supports(r Request) error
//
//	// Solvers returns those that prove control to this issuer, in place of the Subject's and the Config's; the
//	// built-in ones come after them. None: those are used.
//	Solvers() []acme.Solver
//
//	// Revoke revokes what the issuer has signed, and returns nil when that is done, by whomever. It is called again
//	// after an error, until the certificate has ended.
//	Revoke(ctx context.Context, r Revocation) error
//
//	// RenewalInfo says when to renew what the issuer has signed (RFC 9773): in a window of time, and when to ask
//	// again. It is asked as long as the certificate is served. An error that wraps errors.ErrUnsupported means that
//	// it has no such thing: it is asked again after a day.
//	RenewalInfo(ctx context.Context, leaf *x509.Certificate) (*acme.RenewalInfo, error)
//
//	// CloseIdleConnections is called when Run ends.
//	CloseIdleConnections()
type Issuer interface {
	// ID names the issuer in the keys of stored records, in lower-case letters, digits, "-" and ".".
	// It stays the same for as long as what is stored is to be found.
	ID() string
	// Issue returns a certificate for the request's identifiers and key. After an error for which
	// errors.As finds an *acme.OrderError the next request comes with a new key and no journal;
	// after any other the same request is made again later, with what r.Record was last given. An
	// *UnavailableError says that the issuer can sign for no name at the moment.
	Issue(ctx context.Context, r Request) (*acme.Certificate, error)
}

// Services are what a Manager has for its issuers, the same for all requests.
type Services struct {
	Storage storage.Store // for what the issuer itself has to keep, such as its account
	Keys    Keys          // makes the issuer's own keys, and keeps them; nil: they are in its records
	Logger  *slog.Logger

	// Email and AgreeToTerms are those of the Config.
	Email        string
	AgreeToTerms bool

	// Preflight and Vantage are those of the Config: whether to check what a CA is about to validate, and
	// from where, also when a validation has failed.
	Preflight Preflight
	Vantage   diagnose.Vantage

	requests *requestCounter // of what ACME issuers ask; nil: nobody counts
}

// A Request is what the manager wants of an [Issuer]. An issuer that leaves the work to another passes it on.
type Request struct {
	Identifiers []acme.Identifier
	Key         crypto.Signer // the certificate's key
	Solvers     []acme.Solver
	Profile     string // Subject.Profile

	// Replaces is the certificate of the same issuer's that is to be replaced; nil: there is none that is valid, or it is
	// another issuer's.
	Replaces *x509.Certificate

	// Bound is what the issuer's method Bind returned; nil: it has none.
	Bound Issuer

	// Refusals is how often the issuer has refused these names since their last certificate, as by failing to
	// validate them.
	Refusals int

	// Journal is what Record was last given for this key; nil at first. The process may have been
	// killed in between, or the work taken over by another.
	Journal []byte
	// Record keeps the issuer's notes on how far it came, in place of those kept before. An error means
	// that the work is no longer this process's: Issue returns it. Nil: nothing is kept.
	Record func(ctx context.Context, journal []byte) error

	waiter waiter // for the issuer's budgets

	// What the issuer tells of, if it likes; each may be nil. Warn: of what wants attention though it does not keep the
	// certificate from being issued. Answered: that the issuer has shown that it works, any number of times, long
	// before Issue returns. Proved: with a certificate, how control of a name was proved, and by when.
	Warn     func(error)
	Answered func()
	Proved   func(p acme.Proof, by time.Time)
}

// ACME is an Issuer that speaks ACME (RFC 8555) to a CA. Its account is made when first needed and
// kept in the manager's storage.
type ACME struct {
	DirectoryURL    string                // zero: acme.LetsEncrypt
	Email           string                // the account's contact; zero: Config.Email
	AgreeToTerms    bool                  // that the CA's terms of service were read and are agreed to; or Config.AgreeToTerms says it
	ExternalAccount *acme.ExternalAccount // if the CA wants one; its KeyID belongs to the account's place in the storage
	CommonName      bool                  // for a CA that wants one: see acme.Request
	HTTPClient      *http.Client          // zero: one of its own, with a timeout of a minute
	Roots           *x509.CertPool        // that vouch for the CA's own HTTPS server; zero: the system's

	// Profile is the kind of certificate, if the CA has several, for Subjects that say nothing of it. Zero: the CA's
	// choice, and for IP addresses at Let's Encrypt "shortlived", the only one that has them.
	Profile string
	// Lifetime is for how long certificates are asked for (notAfter, RFC 8555 §7.4), of CAs that let it be
	// chosen: Google Trust Services does, from one to 90 days, Let's Encrypt does not. Zero: the CA's choice.
	Lifetime time.Duration
	// PreferredChain is the common name of a root or intermediate: see acme.Request.
	PreferredChain string
	// Solvers prove control of names to this CA, in place of the Subject's and the Config's, as Subject.Solvers
	// are. Zero: those.
	Solvers []acme.Solver

	// Staging is asked before the CA is asked again for names that it has refused: a dry run, which costs none of the
	// few failures that the CA grants. Its certificate is thrown away. If it fails for the names, the CA is not
	// asked at this attempt; if it tells nothing, as when staging is down, the CA is. What is left out of Email,
	// AgreeToTerms, Profile, PreferredChain and CommonName is as here. Nil: of Let's Encrypt its own staging environment, of
	// others none, for most that have one want an external account there, too.
	Staging *ACME
	// NoDryRun says that there are none.
	NoDryRun bool

	// Limits are how often the CA may be asked, if they are others than those known of it: such as raised ones, or those of
	// a CA of which none are known.
	Limits Limits
}

// ID returns the directory's host and the beginning of a hash of its URL.
func (a *ACME) ID() string {
	directory := a.directoryURL()
	host := "acme"
	if u, err := url.Parse(directory); err == nil && u.Hostname() != "" {
		host = strings.Map(func(r rune) rune {
			if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '.' || r == '-' {
				return r
			}
			return '-'
		}, strings.ToLower(u.Hostname()))
	}
	sum := sha256.Sum256([]byte(directory))
	return host[:min(len(host), 64)] + "-" + hex.EncodeToString(sum[:4])
}

// Bind checks what is set, as far as it shows without calling anybody, and returns the issuer at work for one manager,
// which keeps connection and account between requests.
func (a *ACME) Bind(s Services) (Issuer, error) {
	told := *a
	told.Email, told.AgreeToTerms = cmp.Or(a.Email, s.Email), a.AgreeToTerms || s.AgreeToTerms
	var wrong misconfiguration
	told.check(&wrong)
	if err := wrong.err(); err != nil {
		return nil, err
	}
	if s.Storage == nil {
		return nil, errors.New("certmanager: Services.Storage is nil: an ACME issuer keeps its account there")
	}
	s.Logger = cmp.Or(s.Logger, slog.Default())
	return newACMEIssuer(&told, s), nil
}

// Issue obtains a certificate by ACME, if the issuer was bound to a manager.
func (a *ACME) Issue(ctx context.Context, r Request) (*acme.Certificate, error) {
	if r.Bound == nil {
		return nil, errNotBound
	}
	return r.Bound.Issue(ctx, r)
}

// requestTimeout bounds one request to the CA, if the HTTP client is not given: one that hangs must not
// hold up the work for good.
const requestTimeout = time.Minute

// httpClient returns the client to call the CA with.
func (a *ACME) httpClient() *http.Client {
	switch {
	case a.HTTPClient != nil:
		return a.HTTPClient
	case a.Roots == nil:
		return &http.Client{Timeout: requestTimeout}
	}
	return &http.Client{Timeout: requestTimeout, Transport: &http.Transport{
		Proxy:             http.ProxyFromEnvironment,
		ForceAttemptHTTP2: true,
		IdleConnTimeout:   time.Minute,
		TLSClientConfig:   &tls.Config{RootCAs: a.Roots},
	}}
}

func (a *ACME) directoryURL() string {
	if a.DirectoryURL == "" {
		return acme.LetsEncrypt
	}
	return a.DirectoryURL
}
