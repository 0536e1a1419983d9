package certmanager

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/everseal/everseal/acme"
)

// A cause is an error of an issuer's, in words for whoever runs the server: what is wrong, and what to do.
type cause struct {
	words string
	err   error
}

func (c *cause) Error() string { return c.words }
func (c *cause) Unwrap() error { return c.err }

// inWords returns an error of an issuer's, with words that begin with the cause if it is one that many meet.
func inWords(err error) error {
	words := wordsFor(err)
	if words == "" {
		return err
	}
	return &cause{words, err}
}

// wordsFor returns the words for an error; empty: it has its own.
func wordsFor(err error) string {
	switch {
	case err == nil, isInHouse(err), errors.As(err, new(*acme.PanicError)), errors.As(err, new(*acme.SolverError)), errors.As(err, new(*diagnosed)),
		errors.As(err, new(*spentError)), errors.As(err, new(*pausedError)):
		return ""
	case isOfOrder(err) && acme.IsOutage(err):
		return "the CA lost the order by a fault of its own: " + bare(err)
	case isOfOrder(err), errors.As(err, new(*acme.AuthorizationError)):
		return ""
	}
	if errors.Is(err, acme.ErrNoDirectory) {
		return "what answers is no CA: check ACME.DirectoryURL and the proxy: " + strings.TrimPrefix(bare(err), "directory: ")
	}
	if problem, ok := errors.AsType[*acme.Problem](err); ok {
		return wordsForProblem(err, problem)
	}
	return wordsForNetwork(err)
}

func wordsForProblem(err error, problem *acme.Problem) string {
	switch {
	case acme.IsOutage(err):
		return "the CA is down: " + problem.Error()
	case errors.Is(err, acme.ErrRateLimited), problem.Status == http.StatusTooManyRequests:
		return "a rate limit of the CA is reached: wait, or stop others that use the account or the names: " + problem.Error()
	case errors.Is(err, acme.ErrRejectedIdentifier):
		return "the CA refuses the name: " + problem.Error()
	case errors.As(err, new(*UnavailableError)):
		return "the CA refuses the account: " + bare(err)
	}
	return "the CA refuses the request: " + bare(err)
}

// wordsForNetwork returns the words for an error that is no answer of the CA's.
func wordsForNetwork(err error) string {
	call, ok := errors.AsType[*url.Error](err)
	if !ok {
		return ""
	}
	text := bare(err)
	if i := strings.Index(text, fmt.Sprintf("%s %q", call.Op, call.URL)); i >= 0 {
		text = text[i:] // what it was for does not matter
	}
	invalid, isInvalid := errors.AsType[x509.CertificateInvalidError](err)
	switch {
	case isInvalid && invalid.Reason == x509.Expired:
		return fmt.Sprintf("this machine's clock is wrong, or the certificate of the CA's own server is over: it is %s here: %s", time.Now().UTC().Format(time.RFC3339), text)
	case errors.As(err, new(x509.UnknownAuthorityError)):
		return "this machine does not trust the CA's server: update its root certificates, or set ACME.Roots for a private CA: " + text
	case errors.As(err, new(x509.HostnameError)):
		return "another server answers in place of the CA's: check ACME.DirectoryURL, and this machine's DNS and proxy: " + text
	case errors.As(err, new(*net.DNSError)):
		return "the CA's name can't be resolved: check this machine's DNS: " + text
	case call.Timeout():
		return "the CA does not answer: check this machine's network, firewall and proxy: " + text
	case errors.As(err, new(*net.OpError)):
		return "the CA can't be reached: check this machine's network, firewall and proxy: " + text
	}
	return ""
}

// bare returns the text of an error without the name of a package.
func bare(err error) string {
	text := strings.TrimPrefix(err.Error(), "acme: ")
	return strings.ReplaceAll(text, ": acme: ", ": ")
}
