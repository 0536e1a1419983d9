package redis

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/redis/go-redis/v9"
)

var errClosed = errors.New("the store is closed")

const privileges = "give the user what the package's documentation has under Least privileges"

// cures are what to do about an answer that has one of these words; the first that fits.
var cures = []struct{ word, cure string }{
	{"READONLY", "the server is a replica: connect to the master, or by the sentinels"},
	{"NOREPLICAS", "the master has fewer replicas than its min-replicas-to-write: see whether they run"},
	{"OOM", "the server's memory is full: free some, or raise maxmemory"},
	{"MISCONF", "the server can't write to its disk: see its log, free some room"},
	{"NOPERM", privileges},
	{"can't run this command", privileges}, // of a script
	{"can't publish", privileges},
	{"can't access", privileges},
	{"WRONGPASS", "correct user and password; in a URL, characters such as @ : / ? # % are written as %40 %3A %2F %3F %23 %25"},
	{"NOAUTH", "give user and password"},
	{"WRONGTYPE", "something else is stored there: set Config.Prefix to another name"},
	{"CROSSSLOT", "use a redis.ClusterClient, or cluster=true in the URL"},
	{"MOVED", "use a redis.ClusterClient, or cluster=true in the URL"},
	{"TRYAGAIN", "the cluster is moving the slot: wait until it has"},
	{"CLUSTERDOWN", "the cluster has no master for the slot: see whether its nodes run"},
	{"cluster support disabled", "the server is none of a cluster: use a redis.Client, or leave out cluster=true in the URL"},
	{"LOADING", "the server has just been started: wait until it has read its data"},
	{"BUSY", "see which script the server is running"},
	{"unknown command", "the server is too old, or a proxy that leaves commands out: use Redis 6.2 (in a cluster 7) or Valkey"},
	{"max number of clients", "see who holds so many connections, or raise maxclients"},
	{"pool timeout", "see why the server is slow, or give the client more connections (pool_size in the URL)"},
	{"sentinels", "see whether the sentinels run, and know a master of that name (master_name in the URL)"},
	{"first record does not look like a TLS handshake", "the server does without TLS there: use its port for TLS, or redis:// in the URL"},
}

// cure returns what to do about an error.
func cure(err error) string {
	text := err.Error()
	for _, c := range cures {
		if strings.Contains(text, c.word) {
			return c.cure
		}
	}
	if untrusted(err) || strings.Contains(text, "certificate") {
		return "make both sides agree on TLS: rediss:// with the CA that has signed the server's certificate (cacert), and a certificate of your own if the server wants it"
	}
	if isUnreachable(err) {
		return "see whether the server runs and can be reached from here, and whether it wants TLS (rediss:// in the URL)"
	}
	return ""
}

func untrusted(err error) bool {
	var invalid *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	return errors.As(err, &invalid) || errors.As(err, &authority) || errors.As(err, &name)
}

// isReply reports whether the error is the server's answer.
func isReply(err error) bool {
	_, ok := errors.AsType[redis.Error](err)
	return ok
}

// isUnready reports whether the server has done nothing, and may do it a little later.
func isUnready(err error) bool {
	if err == nil || !isReply(err) {
		return false
	}
	for _, prefix := range []string{"TRYAGAIN", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "MOVED", "ASK "} {
		if redis.HasErrorPrefix(err, prefix) {
			return true
		}
	}
	return false
}

// isUnsure reports whether a command whose error it is may have been run: not if the server has answered, nor if nothing was sent.
func isUnsure(err error) bool {
	var dial *net.OpError
	switch {
	case isReply(err), errors.Is(err, errClosed), errors.Is(err, errReplicas), errors.Is(err, redis.ErrPoolTimeout), errors.Is(err, redis.ErrClosed):
		return false
	case errors.As(err, &dial) && dial.Op == "dial":
		return false
	}
	return !untrusted(err)
}

// isUnreachable reports whether the server has not answered.
func isUnreachable(err error) bool {
	return err != nil && !isReply(err) && !errors.Is(err, errClosed)
}

// String returns which servers and prefix it is.
func (s *Store) String() string {
	return "Redis " + s.place() + ", prefix " + strings.Trim(s.markKey, "{}")
}

// failure returns the error of an operation on a key, which may be empty.
func (s *Store) failure(ctx context.Context, operation, key string, err error) error {
	text := "storage/redis: " + s.String() + ": " + operation
	if key != "" {
		text += " " + strconv.Quote(key)
	}
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		<-ctx.Done() // a connection can be ahead of it by a moment
	}
	if ended := ctx.Err(); ended != nil {
		if context.Cause(ctx) != ended {
			return fmt.Errorf("%s: %w: %w", text, ended, context.Cause(ctx))
		}
		return fmt.Errorf("%s: %w", text, ended)
	}
	if isOwn(err) {
		return fmt.Errorf("%s: %w", text, err)
	}
	if cure := cure(err); cure != "" {
		return fmt.Errorf("%s: %w: %s", text, causeOf(err), cure)
	}
	return fmt.Errorf("%s: %w", text, causeOf(err))
}

// isOwn reports whether the error says all that there is to say.
func isOwn(err error) bool {
	for _, own := range []error{errForeign, errVersion, errRecord, errLost, errReplica, errPlain, errSent, errEvicts, errReplicas, errClosed,
		errLate, errDeaf, errEnded} {
		if errors.Is(err, own) {
			return true
		}
	}
	return false
}

// A cause is an error from outside, whose text is bounded and has no line ends or other controls.
type cause struct{ error }

// causeOf returns the error as one that may be shown. A server or proxy that does not know a command quotes its arguments: then
// only the text before them is kept.
func causeOf(err error) error {
	if before, _, found := strings.Cut(err.Error(), ", with args beginning"); found {
		err = errors.New(before)
	}
	return cause{err}
}

// Unwrap returns nothing if a file is missing, such as a server's socket, which would be taken for a missing record, nor if it
// was the driver's own time that was over, which would be taken for the caller's.
func (c cause) Unwrap() error {
	for _, misleading := range []error{fs.ErrNotExist, context.DeadlineExceeded, context.Canceled} {
		if errors.Is(c.error, misleading) {
			return nil
		}
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
