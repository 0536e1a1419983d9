package s3

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

var (
	errNotOffered = errors.New("the service has no conditional writes: use another")
	errNoETag     = errors.New("the answer has no strong ETag: is a proxy in between that changes what it passes on, or is it no S3 service?")
	errUnknown    = errors.New("it is not known whether it was done, as a request for it has had no answer: load it to know")
	errReplica    = errors.New("the object has come by replication from another bucket, so that conditions mean nothing: use that one, or, if it is lost, copy the objects onto themselves")
	errCache      = errors.New("a cache answered, which may be stale: use the service's own endpoint")
	errListing    = errors.New("the answer to a listing lacks what each has: is the endpoint an S3 service?")
)

// An answer is what the service says of a request that has failed.
type answer struct {
	status  int // 0 if there was no answer
	code    string
	message string
}

func answerOf(err error) answer {
	var a answer
	if response, ok := errors.AsType[*smithyhttp.ResponseError](err); ok {
		a.status = response.HTTPStatusCode()
	}
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		a.code, a.message = api.ErrorCode(), api.ErrorMessage()
	}
	return a
}

// isNoSuchKey reports whether the service has no object of that name. Any other 404 is of a missing bucket, or of what is no
// S3 service at all: there it would be a lie that nothing is stored.
func (a answer) isNoSuchKey() bool { return a.status == 404 && a.code == "NoSuchKey" }

// isRefusal reports whether the condition was not met, which for an If-Match includes that there is no object.
func (a answer) isRefusal(match bool) bool { return a.status == 412 || match && a.isNoSuchKey() }

// isAgain reports whether another request for the same object was under way, and this one not even begun.
func (a answer) isAgain() bool { return a.status == 409 }

// isThrottle reports whether the service has refused to look at the request.
func (a answer) isThrottle() bool { return a.code == "SlowDown" }

// cures say what to do about the codes of answers.
var cures = map[string]string{
	"NoSuchBucket":                 "create the bucket, or correct its name or the endpoint",
	"AccessDenied":                 "allow s3:GetObject, s3:PutObject and s3:DeleteObject on the objects below the prefix, and s3:ListBucket on the bucket, without which what is absent is denied, too",
	"InvalidAccessKeyId":           cureKeys,
	"SignatureDoesNotMatch":        cureKeys,
	"InvalidToken":                 cureKeys,
	"ExpiredToken":                 cureKeys,
	"InvalidSecurity":              cureKeys,
	"RequestTimeTooSkewed":         "set this machine's clock",
	"PermanentRedirect":            cureRegion,
	"TemporaryRedirect":            cureRegion,
	"AuthorizationHeaderMalformed": cureRegion,
	"QuotaExceeded":                "there is no room left: free or add some",
	"SlowDown":                     "it has too many requests: poll less often, or watch fewer records",
	"InvalidObjectState":           "the object is in an archive: restore it, and let no lifecycle rule move what is below the prefix",
}

const (
	cureKeys   = "correct access key and secret key; in a URL, characters such as / + @ : % are written as %2F %2B %40 %3A %25"
	cureRegion = "name the region that the bucket is in"
)

// cureOf returns what to do about an error, if that is known.
func cureOf(err error) string {
	if errors.Is(err, errUnknown) || errors.Is(err, errNotOffered) {
		return "" // they say it
	}
	a := answerOf(err)
	if cure := cures[a.code]; cure != "" {
		return cure
	}
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
	_, plain := errors.AsType[tls.RecordHeaderError](err)
	_, network := errors.AsType[net.Error](err)
	switch {
	case a.status == 301 || a.status == 307:
		return cureRegion
	case a.status == 403:
		return cures["AccessDenied"]
	case a.status >= 500:
		return "see what the service says about it"
	case a.status != 0:
		return "see whether the endpoint is that of an S3 service"
	case untrusted || plain || strings.Contains(err.Error(), "HTTP response to HTTPS client"):
		return "give the CA that has signed the server's certificate, and make both sides agree on TLS (https or http in the endpoint)"
	case network:
		return "see whether the service can be reached from here"
	}
	return ""
}

// failure returns the error of an operation on a key, which may be empty.
func (s *Store) failure(ctx context.Context, operation, key string, err error) error {
	text := "storage/s3: " + s.String() + ": " + operation
	if key != "" {
		text += " " + strconv.Quote(key)
	}
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		<-ctx.Done() // a dialer can be ahead of it by a moment
	}
	if ended := ctx.Err(); ended != nil {
		if context.Cause(ctx) != ended {
			return fmt.Errorf("%s: %w: %w", text, ended, context.Cause(ctx))
		}
		return fmt.Errorf("%s: %w", text, ended)
	}
	if cure := cureOf(err); cure != "" {
		return fmt.Errorf("%s: %w: %s", text, cause{err}, cure)
	}
	return fmt.Errorf("%s: %w", text, cause{err})
}

// String returns where the records are: the bucket, the address and the prefix.
func (s *Store) String() string {
	address := s.address
	if address == "" {
		address = "AWS"
	}
	return fmt.Sprintf("bucket %s at %s, prefix %s", s.bucket, address, strings.TrimSuffix(s.prefix, "/"))
}

// A cause is an error from outside, whose text is bounded and has no line ends or other controls.
type cause struct{ error }

// Unwrap returns nothing if a file is missing, such as one with credentials: that would be taken for a missing record.
func (c cause) Unwrap() error {
	if errors.Is(c.error, fs.ErrNotExist) {
		return nil
	}
	return c.error
}

func (c cause) Error() string {
	const maxText = 400
	text := c.error.Error()
	a := answerOf(c.error)
	sending, unsent := errors.AsType[*smithyhttp.RequestSendError](c.error)
	switch {
	case errors.Is(c.error, errUnknown) || errors.Is(c.error, errNotOffered):
	case a.code != "":
		text = fmt.Sprintf("%d %s: %s", a.status, a.code, strings.TrimRight(a.message, "."))
	case unsent:
		text = sending.Err.Error() // the rest is the SDK's
	}
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
