package nats

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"strconv"
	"strings"
	"unicode"

	driver "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const cureUnreachable = "see whether the servers run and can be reached from here, and whether they want TLS or a client certificate"

// cure returns what to do about an error.
func (s *Store) cure(err error) string {
	is := func(any ...error) bool {
		for _, one := range any {
			if errors.Is(err, one) {
				return true
			}
		}
		return false
	}
	text := err.Error()
	switch {
	case is(driver.ErrPermissionViolation):
		return "grant the user what the package's documentation lists for the bucket " + s.bucket
	case is(driver.ErrAuthorization, driver.ErrAuthExpired, driver.ErrAuthRevoked) || strings.Contains(strings.ToLower(text), "authorization violation"):
		return "correct user and password, token, or credentials; in a URL, characters such as @ : / ? # % are written as %40 %3A %2F %3F %23 %25"
	case is(jetstream.ErrJetStreamNotEnabled, jetstream.ErrJetStreamNotEnabledForAccount):
		return "enable JetStream in the servers' configuration, and for the account"
	case strings.Contains(text, "insufficient resources") || strings.Contains(text, "maximum bytes exceeded") || strings.Contains(text, "resource limits exceeded"):
		return "raise the limits of JetStream, of the account, or the bucket's max_bytes"
	case strings.Contains(text, "no suitable peers") || strings.Contains(text, "replicas > 1 not supported"):
		return "set Config.Replicas, or the parameter replicas, to as many as there are servers with JetStream"
	case is(driver.ErrMaxPayload):
		return "let the servers' max_payload be 1MB, as it is by default"
	case is(jetstream.ErrStreamNotFound):
		return "the bucket was deleted: restore it, or restart the program, which makes another"
	case is(errLate, errBroke, errGap, jetstream.ErrNoHeartbeat, jetstream.ErrConsumerDeleted):
		return "hints or records may have been lost; begin again"
	case strings.Contains(text, "tls: ") || strings.Contains(text, "x509: ") || is(driver.ErrSecureConnRequired, driver.ErrSecureConnWanted):
		return "make both sides agree on TLS (the parameter tls), and give the CA that has signed the servers' certificates (ca), and a client certificate if they want one (cert, key)"
	case unreachable(err) || is(driver.ErrReconnectBufExceeded, driver.ErrConnectionReconnecting):
		return cureUnreachable
	case refused(err) || passing(err):
		return "see whether JetStream runs, and most of the bucket's servers run and reach each other"
	}
	return ""
}

// unreachable reports whether the network has failed, and not what the servers ask of a client: the driver returns what connect(2),
// read(2) or the resolver said, and the bare EOF of a server, or of a balancer before it, that ends the connection at once.
func unreachable(err error) bool {
	if text := err.Error(); errors.Is(err, driver.ErrTLS) || strings.Contains(text, "tls: ") || strings.Contains(text, "x509: ") {
		return false
	}
	_, network := errors.AsType[*net.OpError](err)
	return network || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, driver.ErrNoServers) || errors.Is(err, driver.ErrConnectionClosed)
}

// String returns servers and bucket.
func (s *Store) String() string { return s.place }

// failure returns the error of an operation on a key, which may be empty.
func (s *Store) failure(ctx context.Context, operation, key string, err error) error {
	text := "storage/nats: " + s.String() + ": " + operation
	if key != "" {
		text += " " + strconv.Quote(key)
	}
	if ended := ctx.Err(); ended != nil {
		if context.Cause(ctx) != ended {
			return fmt.Errorf("%s: %w: %w", text, ended, context.Cause(ctx))
		}
		return fmt.Errorf("%s: %w", text, ended)
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, driver.ErrTimeout) {
		err = s.unanswered(err)
	}
	if cure := s.cure(err); cure != "" {
		return fmt.Errorf("%s: %w: %s", text, cause{err}, cure)
	}
	return fmt.Errorf("%s: %w", text, cause{err})
}

var errUnanswered = fmt.Errorf("the servers do not answer: %w", driver.ErrTimeout)

// unanswered returns why there was no answer: what a user may not send is dropped, and only the connection is told.
func (s *Store) unanswered(err error) error {
	if c := s.last.Load(); c != nil {
		if last := c.conn.LastError(); errors.Is(last, driver.ErrPermissionViolation) {
			return last
		}
	}
	return errUnanswered
}

// A cause is an error from outside, whose text is bounded and has no line ends or other controls.
type cause struct{ error }

// Unwrap returns nothing if a file is missing, such as a certificate: that would be taken for a missing record.
func (c cause) Unwrap() error {
	if errors.Is(c.error, fs.ErrNotExist) {
		return nil
	}
	return c.error
}

func (c cause) Error() string {
	const maxText = 500
	text := strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, c.error.Error())
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + "…"
	}
	return text
}
