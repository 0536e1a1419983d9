package s3

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/everseal/everseal/storage/internal/server"
)

const (
	rootSecret = "the/root+secret"
	userSecret = "the/user+secret"
	bucket     = "records"
)

// A target is where a store's records are.
type target struct {
	address string // of the server
	values  url.Values
	user    string
	secret  string
	prefix  string
}

var prefixes atomic.Int64

func newPrefix() string { return fmt.Sprintf("store-%d", prefixes.Add(1)) }

func (d target) url() string {
	values := url.Values{"endpoint": {"http://" + d.address}, "poll": {"20ms"}}
	for name, all := range d.values {
		values[name] = all
	}
	u := url.URL{Scheme: "s3", User: url.UserPassword(d.user, d.secret), Host: bucket, Path: "/" + d.prefix, RawQuery: values.Encode()}
	return u.String()
}

func (d target) with(name, value string) target {
	values := url.Values{name: {value}}
	for name, all := range d.values {
		if !values.Has(name) {
			values[name] = all
		}
	}
	d.values = values
	return d
}

func (d target) open(t testing.TB) *Store {
	t.Helper()
	s, err := Open(t.Context(), d.url(), Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// startServer starts a real server with an empty bucket.
func startServer(more ...string) (*server.Server, error) {
	program, err := server.Build("../internal/server/s3server")
	if err != nil {
		return nil, err
	}
	s, err := server.New(program, "")
	if err != nil {
		return nil, err
	}
	s.Arguments = append([]string{"-port", s.Port, "-folder", s.Folder, "-root", "root:" + rootSecret, "-user", "user:" + userSecret}, more...)
	ctx := context.Background()
	if err := s.Start(ctx); err != nil {
		return s, err
	}
	if len(more) > 0 {
		return s, nil
	}
	_, err = rootOf(s).client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String(bucket)})
	return s, err
}

// rootOf returns a store with the rights of the server's root.
func rootOf(s *server.Server) *Store {
	store, err := Open(context.Background(), target{address: s.Address(), user: "root", secret: rootSecret}.url(), Config{})
	if err != nil {
		panic(err)
	}
	return store
}

// realServer returns the server that all tests share.
func realServer(t testing.TB) *server.Server {
	t.Helper()
	s, err := shared.Server("s3", func() (*server.Server, error) { return startServer() })
	server.Skip(t, err)
	return s
}

// realTarget returns an empty place on a real server.
func realTarget(t testing.TB) target {
	t.Helper()
	return target{address: realServer(t).Address(), user: "root", secret: rootSecret, prefix: newPrefix()}
}

var errNoAnswer = errors.New("the answer was lost")

// A tripper is what a client's requests go through.
type tripper func(*http.Request) (*http.Response, error)

func (f tripper) Do(r *http.Request) (*http.Response, error) { return f(r) }

// through returns a store like s whose requests go through trip.
func through(t *testing.T, s *Store, trip func(r *http.Request, next tripper) (*http.Response, error)) *Store {
	t.Helper()
	o := s.client.Options()
	next := o.HTTPClient.Do
	o.HTTPClient = tripper(func(r *http.Request) (*http.Response, error) { return trip(r, next) })
	o.Retryer = quick{o.Retryer}
	made, err := New(s3.New(o), Config{Bucket: s.bucket, Prefix: s.prefix[:len(s.prefix)-1], PollInterval: s.poll, ConditionalDelete: s.conditionalDelete})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// A quick retryer waits for nothing.
type quick struct{ aws.Retryer }

func (quick) RetryDelay(int, error) (time.Duration, error) { return 0, nil }
