package etcd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"
	"unicode"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

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
	case is(rpctypes.ErrPermissionDenied):
		return fmt.Sprintf("grant the user's role readwrite on the prefix %s", s.prefix)
	case is(rpctypes.ErrAuthFailed, rpctypes.ErrUserEmpty, rpctypes.ErrInvalidAuthToken):
		return "correct user and password; in a URL, characters such as @ : / ? # % are written as %40 %3A %2F %3F %23 %25"
	case is(rpctypes.ErrNoSpace):
		return "compact and defragment the cluster, or raise its --quota-backend-bytes, and then disarm the alarm"
	case is(rpctypes.ErrRequestTooLarge), status.Code(err) == codes.ResourceExhausted && strings.Contains(text, "larger than max"):
		return "let the members' --max-request-bytes be 1572864, as it is by default"
	case is(rpctypes.Error(rpctypes.ErrGRPCNotSupportedForLearner)):
		return "it is a learner: give the endpoints of voting members"
	case is(rpctypes.ErrCorrupt):
		return "the members disagree on what is stored: restore the cluster"
	case is(rpctypes.ErrCompacted, errLate, errRestored):
		return "hints were lost; watch again, and read everything then"
	case strings.Contains(text, "tls: ") || strings.Contains(text, "x509: "):
		return "make both sides agree on TLS (the parameter tls), and give the CA that has signed the members' certificates (ca), and a client certificate if they want one (cert, key)"
	case is(rpctypes.ErrNoLeader, rpctypes.ErrLeaderChanged, rpctypes.ErrStopped, rpctypes.ErrTimeout, rpctypes.ErrTimeoutDueToLeaderFail,
		rpctypes.ErrTimeoutDueToConnectionLost, rpctypes.ErrTimeoutWaitAppliedIndex, rpctypes.ErrUnhealthy):
		return "see whether most members of the cluster run and reach each other"
	case is(errUnanswered), status.Code(err) == codes.Unavailable:
		return "see whether the members run and can be reached from here, and whether they want TLS or a client certificate"
	}
	return ""
}

// String returns endpoints and prefix.
func (s *Store) String() string { return s.place }

// failure returns the error of an operation on a key, which may be empty.
func (s *Store) failure(ctx context.Context, operation, key string, err error) error {
	text := "storage/etcd: " + s.String() + ": " + operation
	if key != "" {
		text += " " + strconv.Quote(key)
	}
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		<-ctx.Done() // the client can be ahead of it by a moment
	}
	if ended := ctx.Err(); ended != nil {
		if context.Cause(ctx) != ended {
			return fmt.Errorf("%s: %w: %w", text, ended, context.Cause(ctx))
		}
		return fmt.Errorf("%s: %w", text, ended)
	}
	if cure := s.cure(err); cure != "" {
		return fmt.Errorf("%s: %w: %s", text, cause{err}, cure)
	}
	return fmt.Errorf("%s: %w", text, cause{err})
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
