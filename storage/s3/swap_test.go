package s3

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/everseal/everseal/storage"
)

// save fails the test unless the value is saved.
func save(t *testing.T, s storage.Store, key, value string, old storage.Revision) storage.Revision {
	t.Helper()
	revision, err := s.Save(t.Context(), key, []byte(value), old)
	if err != nil {
		t.Fatal(err)
	}
	return revision
}

func wantStored(t *testing.T, s storage.Store, key, value string, revision storage.Revision) {
	t.Helper()
	if item, err := s.Load(t.Context(), key); err != nil || string(item.Value) != value || item.Revision != revision {
		t.Errorf("stored is %q at %q, %v; want %q at %q", item.Value, item.Revision, err, value, revision)
	}
}

// eachService runs a test on a real server, and on what answers as AWS does.
func eachService(t *testing.T, test func(t *testing.T, d target)) {
	t.Run("server", func(t *testing.T) { test(t, realTarget(t)) })
	t.Run("AWS", func(t *testing.T) {
		_, d := newFake(t)
		test(t, d.with("conditional_delete", "true"))
	})
}

// isChange reports whether the request changes a record.
func isChange(r *http.Request) bool {
	return r.Method == "PUT" && !strings.HasSuffix(r.URL.Path, markName)
}

// again returns the request as it can be sent once more.
func again(r *http.Request) (first, second *http.Request, err error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, nil, err
	}
	first, second = r.Clone(r.Context()), r.Clone(r.Context())
	first.Body, second.Body = io.NopCloser(bytes.NewReader(body)), io.NopCloser(bytes.NewReader(body))
	return first, second, nil
}

// A proxy that has lost an answer repeats the request, and a client that has lost it does so, too. What finds its own
// nonce has not lost.
func TestRequestRunsTwice(t *testing.T) {
	twice := func(r *http.Request, next tripper) (*http.Response, error) {
		if !isChange(r) {
			return next(r)
		}
		first, second, err := again(r)
		if err != nil {
			return nil, err
		}
		answer, err := next(first)
		if err != nil {
			return nil, err
		}
		_ = answer.Body.Close()
		return next(second)
	}
	lost := func() func(r *http.Request, next tripper) (*http.Response, error) {
		var changes atomic.Int64 // that were taken
		return func(r *http.Request, next tripper) (*http.Response, error) {
			answer, err := next(r)
			if err == nil && isChange(r) && answer.StatusCode == 200 && changes.Add(1)%2 == 1 {
				_ = answer.Body.Close()
				return nil, io.ErrUnexpectedEOF
			}
			return answer, err
		}
	}
	eachService(t, func(t *testing.T, d target) {
		direct := d.open(t)
		for key, trip := range map[string]func(*http.Request, tripper) (*http.Response, error){"proxy": twice, "client": lost()} {
			s := through(t, direct, trip)
			first := save(t, s, key, "1", "")
			second := save(t, s, key, "2", first)
			wantStored(t, direct, key, "2", second)
			if err := s.Delete(t.Context(), key, second); err != nil {
				t.Errorf("%s: Delete: %v", key, err)
			}
			if _, err := direct.Load(t.Context(), key); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: Load after Delete: %v", key, err)
			}
			third := save(t, s, key, "3", "") // over a tombstone, on the server
			for _, old := range []storage.Revision{"", first, second} {
				if _, err := direct.Save(t.Context(), key, []byte("4"), old); !errors.Is(err, storage.ErrConflict) {
					t.Errorf("%s: Save with the revision %q: %v, want ErrConflict", key, old, err)
				}
			}
			wantStored(t, direct, key, "3", third)
		}
	})
}

// Nobody knows whether a request was taken whose answer got lost, if the record is another's when it is repeated: that is
// no conflict.
func TestLostAnswerAndAnotherWriter(t *testing.T) {
	eachService(t, func(t *testing.T, d target) {
		direct := d.open(t)
		old := save(t, direct, "a", "1", "")
		s := through(t, direct, func(r *http.Request, next tripper) (*http.Response, error) {
			answer, err := next(r)
			if err == nil && isChange(r) && answer.StatusCode == 200 {
				_ = answer.Body.Close()
				item, err := direct.Load(r.Context(), "a")
				if err != nil && !errors.Is(err, fs.ErrNotExist) {
					return nil, err
				}
				if _, err := direct.Save(r.Context(), "a", []byte("another's"), item.Revision); err != nil {
					return nil, err
				}
				return nil, io.ErrUnexpectedEOF
			}
			return answer, err
		})
		_, err := s.Save(t.Context(), "a", []byte("2"), old)
		if !errors.Is(err, errUnknown) || errors.Is(err, storage.ErrConflict) || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("Save: %v, want errUnknown", err)
		}
		item, err := direct.Load(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Delete(t.Context(), "a", item.Revision); !errors.Is(err, errUnknown) || errors.Is(err, storage.ErrConflict) {
			t.Errorf("Delete: %v, want errUnknown", err)
		}
	})
}

// A new record whose answer got lost is not made again: it may have been deleted by another since.
func TestLostAnswerAndDeleted(t *testing.T) {
	eachService(t, func(t *testing.T, d target) {
		direct := d.open(t)
		lose := true
		s := through(t, direct, func(r *http.Request, next tripper) (*http.Response, error) {
			answer, err := next(r)
			if err != nil || !isChange(r) || !lose {
				return answer, err
			}
			lose = false
			_ = answer.Body.Close()
			item, err := direct.Load(r.Context(), "a")
			if err == nil {
				err = direct.Delete(r.Context(), "a", item.Revision)
			}
			if err != nil {
				t.Error(err)
			}
			return nil, io.ErrUnexpectedEOF
		})
		if _, err := s.Save(t.Context(), "a", []byte("1"), ""); !errors.Is(err, errUnknown) || errors.Is(err, storage.ErrConflict) || lose {
			t.Errorf("Save: %v, want errUnknown", err)
		}
		if item, err := direct.Load(t.Context(), "a"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("what another has deleted is there again: %q, %v", item.Value, err)
		}
	})
}

// What AWS answers, and how often a request is made for it.
func TestAnswers(t *testing.T) {
	const (
		conflict = iota
		failure
		success
	)
	tests := []struct {
		name   string
		old    bool // a record is saved over, else created
		status int
		code   string
		times  int
		want   int
		puts   int
	}{
		{"409 once", true, 409, "ConditionalRequestConflict", 1, success, 2},
		{"409 often", true, 409, "ConditionalRequestConflict", 10, success, 11},
		{"409 for another reason", false, 409, "OperationAborted", 1, success, 2},
		{"409 for ever", true, 409, "ConditionalRequestConflict", 1000, failure, maxRuns},
		{"503", true, 503, "SlowDown", 2, success, 3},
		{"503 for ever", true, 503, "SlowDown", 1000, failure, 3},
		{"500", true, 500, "InternalError", 1, success, 2},
		{"500 of a new record", false, 500, "InternalError", 1, failure, 1},
		{"503 of a new record", false, 503, "SlowDown", 2, success, 3},
		{"404 of a record", true, 404, "NoSuchKey", 1000, conflict, 1},
		{"404 of nobody's", false, 404, "NoSuchKey", 1000, failure, 1},
		{"404 of the bucket", true, 404, "NoSuchBucket", 1000, failure, 1},
		{"412", true, 412, "PreconditionFailed", 1000, conflict, 1},
		{"412 though there is nothing", false, 412, "PreconditionFailed", 1000, failure, maxRuns},
		{"403", true, 403, "AccessDenied", 1000, failure, 1},
		{"501", true, 501, "NotImplemented", 1000, failure, 1},
		{"200 with an error", true, 200, "InternalError", 1, success, 2},
		{"200 with an error for ever", true, 200, "InternalError", 1000, failure, 3},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f, d := newFake(t)
			s := through(t, d.open(t), func(r *http.Request, next tripper) (*http.Response, error) { return next(r) })
			save(t, s, "other", "x", "") // so that conditions are tried out
			var old storage.Revision
			if test.old {
				old = save(t, s, "a", "1", "")
			}
			left := test.times
			f.setFault(func(w http.ResponseWriter, r *http.Request) bool {
				if !isChange(r) {
					return false
				}
				if left--; left < 0 {
					return false
				}
				if test.want == conflict && left == test.times-1 {
					f.mu.Lock()
					delete(f.objects, s.name("a")) // by another
					f.mu.Unlock()
				}
				_, _ = io.Copy(io.Discard, r.Body)
				fail(w, test.status, test.code)
				return true
			})
			f.taken()
			revision, err := s.Save(t.Context(), "a", []byte("2"), old)
			puts := len(slices.DeleteFunc(f.taken(), func(request string) bool { return !strings.HasPrefix(request, "PUT") }))
			switch test.want {
			case success:
				if err != nil {
					t.Fatal(err)
				}
				wantStored(t, s, "a", "2", revision)
			case conflict:
				if !errors.Is(err, storage.ErrConflict) {
					t.Errorf("%v, want ErrConflict", err)
				}
			case failure:
				if err == nil || errors.Is(err, storage.ErrConflict) || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), test.code) {
					t.Errorf("%v, want %s", err, test.code)
				}
			}
			if puts != test.puts {
				t.Errorf("%d PUTs, want %d", puts, test.puts)
			}
		})
	}
}

// What reads are answered with under status 200, or without being S3's, is not the absence of records.
func TestReadAnswers(t *testing.T) {
	page := func(status int, kind, body string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Content-Type", kind)
			w.Header().Set("ETag", `"abc"`)
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
			return true
		}
	}
	header := func(name, value string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set(name, value)
			return false
		}
	}
	failed := "<?xml version=\"1.0\"?>\n<Error><Code>InternalError</Code><Message>We encountered an internal error.</Message></Error>"
	tests := []struct {
		name  string
		fault func(http.ResponseWriter, *http.Request) bool
		want  string
		lists bool // all the same
	}{
		{"200 with an error", page(200, "application/xml", failed), "", false},
		{"another site", page(404, "text/html", "<html><body>Not found</body></html>"), "", false},
		{"an empty 404", page(404, "", ""), "", false},
		{"an empty 200", page(200, "", ""), "", false},
		{"a page", page(200, "text/html", "<html><body>Welcome</body></html>"), "", false},
		{"no bucket", page(404, "application/xml", "<Error><Code>NoSuchBucket</Code><Message>x</Message></Error>"), "create the bucket", false},
		{"another listing", page(200, "application/xml", "<ListBucketResult></ListBucketResult>"), "", false},
		{"a replica", header("x-amz-replication-status", "REPLICA"), "replication", true},
		{"a cache", header("Age", "3"), "a cache answered", true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f, d := newFake(t)
			s := through(t, d.open(t), func(r *http.Request, next tripper) (*http.Response, error) { return next(r) })
			save(t, s, "a", "1", "")
			f.setFault(test.fault)
			_, err := s.Load(t.Context(), "a")
			wanted.Want(t, err, test.want, `load "a"`)
			for _, err := range s.List(t.Context(), "") {
				if !test.lists {
					wanted.Want(t, err, test.want, "list")
				}
			}
			n := 0
			for _, err := range s.Scan(t.Context(), "", "") {
				n++
				wanted.Want(t, err, test.want)
			}
			if n != 1 {
				t.Errorf("Scan yields %d times, want an error", n)
			}
		})
	}
}

// Equal values have different ETags, which are hashes of what is stored.
func TestEqualValues(t *testing.T) {
	eachService(t, func(t *testing.T, d target) {
		s := d.open(t)
		var seen []storage.Revision
		var revision storage.Revision
		for range 3 {
			for _, value := range []string{"a", "b", "a"} {
				revision = save(t, s, "key", value, revision)
				if slices.Contains(seen, revision) {
					t.Fatalf("the revision %q came back", revision)
				}
				seen = append(seen, revision)
			}
			if err := s.Delete(t.Context(), "key", revision); err != nil {
				t.Fatal(err)
			}
			revision = ""
		}
	})
}

// One request a Save, as that is what is paid for.
func TestRequests(t *testing.T) {
	f, d := newFake(t)
	count := func(d target, want ...string) {
		t.Helper()
		s := d.open(t)
		var requests []string
		note := func(what string) { requests = append(requests, what+":", strings.Join(f.taken(), ", ")) }
		f.taken()
		first := save(t, s, "a", "1", "")
		note("first Save")
		second := save(t, s, "a", "2", first)
		note("Save")
		wantStored(t, s, "a", "2", second)
		note("Load")
		if err := s.Delete(context.Background(), "a", second); err != nil {
			t.Fatal(err)
		}
		note("Delete")
		save(t, s, "a", "3", "")
		note("Save over it")
		for range s.List(t.Context(), "a") {
		}
		note("List")
		if got := strings.ReplaceAll(strings.Join(requests, " "), s.prefix, ""); got != strings.Join(want, " ") {
			t.Errorf("requests are\n%s, want\n%s", got, strings.Join(want, " "))
		}
	}
	count(d, "first Save: PUT !everseal, PUT !everseal, GET !everseal, PUT !everseal, PUT a!", "Save: PUT a!", "Load: GET a!", "Delete: PUT a!",
		"Save over it: PUT a!, GET a!, PUT a!", "List: GET ")
	d.prefix = newPrefix()
	d = d.with("conditional_delete", "true")
	count(d, "first Save: PUT !everseal, PUT !everseal, GET !everseal, PUT !everseal, DELETE !everseal, PUT a!", "Save: PUT a!", "Load: GET a!",
		"Delete: PUT a!, DELETE a!", "Save over it: PUT a!", "List: GET ")
}
