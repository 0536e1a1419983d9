package kubernetes

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// String returns the API server, the namespace and the store's name.
func (s *Store) String() string {
	return fmt.Sprintf("%s, namespace %s, store %s", s.host, s.namespace, s.name)
}

// failure returns the error of an operation on a key, or a prefix, which may be empty.
func (s *Store) failure(ctx context.Context, operation, key string, err error) error {
	text := "storage/kubernetes: " + s.String() + ": " + operation
	if key != "" {
		text += " " + strconv.Quote(key)
	}
	return explain(ctx, text, err, s.namespace)
}

// explain returns the error behind the text, with what to do about it.
func explain(ctx context.Context, text string, err error, namespace string) error {
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		<-ctx.Done() // a dialer can be ahead of it by a moment
	}
	if ended := ctx.Err(); ended != nil {
		if context.Cause(ctx) != ended {
			return fmt.Errorf("%s: %w: %w", text, ended, context.Cause(ctx))
		}
		return fmt.Errorf("%s: %w", text, ended)
	}
	if cure := cure(err, namespace); cure != "" {
		return fmt.Errorf("%s: %w: %s", text, cause{err}, cure)
	}
	return fmt.Errorf("%s: %w", text, cause{err})
}

// cure returns what to do about an error; empty: it says so itself.
func cure(err error, namespace string) string {
	if refusal, ok := errors.AsType[*StatusError](err); ok {
		return refusal.cure(namespace)
	}
	_, untrusted := errors.AsType[x509.UnknownAuthorityError](err)
	_, misnamed := errors.AsType[x509.HostnameError](err)
	_, invalid := errors.AsType[x509.CertificateInvalidError](err)
	_, unreachable := errors.AsType[net.Error](err)
	switch {
	case untrusted:
		return "give the CA that has signed the API server's certificate: ca.crt of the service account, or the parameter ca"
	case misnamed:
		return "reach the server by a name or an address that its certificate has"
	case invalid:
		return "see the certificate of the API server"
	case unreachable:
		return "see whether the API server can be reached from here, and whether a NetworkPolicy forbids it"
	}
	return ""
}

// cure returns what to do about what the server has said.
func (e *StatusError) cure(namespace string) string {
	says := func(part string) bool { return strings.Contains(e.Message, part) }
	switch {
	case e.Code == http.StatusUnauthorized:
		return "the server does not know the token, or it has expired: see that the service account exists and its token is mounted, and that this is its cluster"
	case says("exceeded quota"):
		return "raise the quota of the namespace " + namespace + ", or delete what is not needed"
	case says("is being terminated"), e.Code == http.StatusNotFound && e.kind == "namespaces":
		return "make the namespace " + namespace + ", or name another one"
	case says("database space exceeded"):
		return "etcd is full: compact and defragment it, or raise its quota"
	case says("immutable"):
		return "another program has marked the Secret as immutable: delete it"
	case e.Code == http.StatusForbidden:
		return "have an administrator grant the service account get, list, watch, create, update and delete on secrets in the namespace " +
			namespace + ", as rbac.yaml does"
	case e.Code == http.StatusNotFound && e.kind != "secrets":
		return "see whether the address is that of an API server"
	case e.Code == http.StatusTooManyRequests, e.Code == http.StatusServiceUnavailable:
		return "see whether the API server is overloaded, or restarts"
	case e.Code/100 == 3:
		return "redirects are not followed, as they would be told the token: give the address of the API server itself"
	}
	return ""
}

// A cause is an error from outside, whose text is bounded and has no line ends or other controls.
type cause struct{ error }

// Unwrap returns nothing if a file is missing, such as that of a token: that would be taken for a missing record.
func (c cause) Unwrap() error {
	if errors.Is(c.error, fs.ErrNotExist) {
		return nil
	}
	return c.error
}

func (c cause) Error() string { return printable(c.error.Error()) }

func printable(text string) string {
	const maxText = 700
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + "…"
	}
	return text
}
