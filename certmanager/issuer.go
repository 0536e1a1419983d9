package certmanager

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager/internal/record"
	"github.com/everseal/everseal/solver/diagnose"
	"github.com/everseal/everseal/storage"
)

// An Issuer signs certificates. [ACME] is the one for CAs that speak ACME; a local CA or a private one
// can be another. Its methods are called concurrently. One that can revoke is a [Revoker], too.
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

// A Request is what the manager wants of an [Issuer].
type Request struct {
	Identifiers []acme.Identifier
	Key         crypto.Signer // the certificate's key
	Solvers     []acme.Solver
	Storage     storage.Store // for what the issuer itself has to keep, such as its account

	// Journal is what Record was last given for this key; nil at first. The process may have been
	// killed in between, or the work taken over by another.
	Journal []byte
	// Record keeps the issuer's notes on how far it came, in place of those kept before. An error means
	// that the work is no longer this process's: Issue returns it. Nil: nothing is kept.
	Record func(ctx context.Context, journal []byte) error

	// Preflight and Vantage are those of the Config: whether to check what a CA is about to validate, and
	// from where, also when a validation has failed.
	Preflight Preflight
	Vantage   diagnose.Vantage

	// Warn reports what wants attention though it does not keep the certificate from being issued. Nil:
	// nobody is told.
	Warn func(error)

	validated func([]record.Validation) // is told how control of the names was proved

	answered func()    // told that the issuer has shown that it works, any number of times; nil: nobody is told
	end      time.Time // of the certificate that is to be replaced; zero: there is none
}

// ACME is an Issuer that speaks ACME (RFC 8555) to a CA. Its account is made when first needed and
// kept in the manager's storage.
type ACME struct {
	DirectoryURL    string                // zero: acme.LetsEncrypt
	Email           string                // the account's contact; zero: Config.Email
	AgreeToTerms    bool                  // that the CA's terms of service were read and are agreed to; or Config.AgreeToTerms says it
	ExternalAccount *acme.ExternalAccount // if the CA wants one
	CommonName      bool                  // for a CA that wants one: see acme.Request
	HTTPClient      *http.Client          // zero: one of its own, with a timeout of a minute
	Roots           *x509.CertPool        // that vouch for the CA's own HTTPS server; zero: the system's
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

// Issue obtains a certificate by ACME. A manager keeps the connection and the account of its issuers
// between calls; called directly, Issue looks the account up each time.
func (a *ACME) Issue(ctx context.Context, r Request) (*acme.Certificate, error) {
	once := newACMEIssuer(a)
	defer once.closeIdle()
	return once.Issue(ctx, r)
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
