package kubernetes

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/everseal/everseal/storage"
)

// A tripper answers requests.
type tripper func(*http.Request) (*http.Response, error)

func (f tripper) RoundTrip(q *http.Request) (*http.Response, error) { return f(q) }

// through has the store's requests go through f, which gets the transport that sends them.
func through(s *Store, f func(q *http.Request, next http.RoundTripper) (*http.Response, error)) {
	next := s.http.Transport
	s.http.Transport = tripper(func(q *http.Request) (*http.Response, error) { return f(q, next) })
}

// twice sends what changes something twice, as a proxy does that has lost an answer, and returns the second one's.
func twice(q *http.Request, next http.RoundTripper) (*http.Response, error) {
	if q.Method == http.MethodGet {
		return next.RoundTrip(q)
	}
	body, err := io.ReadAll(q.Body)
	if err != nil {
		return nil, err
	}
	for runs := 1; ; runs++ {
		again := q.Clone(q.Context())
		again.Body = io.NopCloser(bytes.NewReader(body))
		response, err := next.RoundTrip(again)
		if err != nil || runs == 2 {
			return response, err
		}
		_, _ = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
	}
}

func TestRequestRunsTwice(t *testing.T) {
	s := newStoreOf(t)
	through(s, twice)
	first, err := s.Save(t.Context(), "a", []byte("1"), "")
	if err != nil {
		t.Fatalf("Save of a new key: %v", err)
	}
	second, err := s.Save(t.Context(), "a", []byte("2"), first)
	if err != nil {
		t.Fatalf("Save: %v", err)
	}
	if item, err := s.Load(t.Context(), "a"); err != nil || item.Revision != second || string(item.Value) != "2" {
		t.Errorf("stored is %q at %q, %v; Save returned %q", item.Value, item.Revision, err, second)
	}
	for _, old := range []storage.Revision{"", first} {
		if _, err := s.Save(t.Context(), "a", []byte("3"), old); !errors.Is(err, storage.ErrConflict) {
			t.Errorf("Save with the revision %q: %v, want ErrConflict", old, err)
		}
	}
}

// refusal is the answer of a server to the request.
func refusal(q *http.Request, code int, header http.Header, body string) *http.Response {
	if header == nil {
		header = http.Header{}
	}
	return &http.Response{StatusCode: code, Header: header, Request: q, Body: io.NopCloser(strings.NewReader(body)), ProtoMajor: 1, ProtoMinor: 1}
}

// What a server refuses for reasons that are none of the record's is asked for again, and is no conflict.
func TestRefusedForAnotherReason(t *testing.T) {
	for name, refuse := range map[string]func(q *http.Request, secret string) *http.Response{
		"too many requests": func(q *http.Request, _ string) *http.Response {
			return refusal(q, 429, http.Header{"Retry-After": {"0"}}, "Too many requests, please try again later.")
		},
		"a quota that others have changed": func(q *http.Request, _ string) *http.Response {
			return refusal(q, 409, nil, `{"kind":"Status","message":"Operation cannot be fulfilled on resourcequotas \"q\"","reason":"Conflict","details":{"name":"q","kind":"resourcequotas"},"code":409}`)
		},
		"a conflict that is none": func(q *http.Request, secret string) *http.Response {
			return refusal(q, 409, nil, `{"kind":"Status","reason":"Conflict","details":{"name":"`+secret+`","kind":"secrets"},"code":409}`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStoreOf(t)
			var refused atomic.Int64
			through(s, func(q *http.Request, next http.RoundTripper) (*http.Response, error) {
				if q.Method != http.MethodGet && refused.Add(1)%3 != 0 {
					return refuse(q, s.secretName("a")), nil
				}
				return next.RoundTrip(q)
			})
			revision, err := s.Save(t.Context(), "a", []byte("1"), "")
			if err != nil {
				t.Fatal(err)
			}
			if revision, err = s.Save(t.Context(), "a", []byte("2"), revision); err != nil {
				t.Fatal(err)
			}
			if err := s.Delete(t.Context(), "a", revision); err != nil {
				t.Fatal(err)
			}
			if refused.Load() != 9 {
				t.Errorf("%d requests, want 9", refused.Load())
			}
			through(s, func(q *http.Request, next http.RoundTripper) (*http.Response, error) {
				if q.Method != http.MethodGet {
					return refuse(q, s.secretName("a")), nil
				}
				return next.RoundTrip(q)
			})
			if _, err := s.Save(t.Context(), "a", []byte("1"), ""); err == nil || errors.Is(err, storage.ErrConflict) {
				t.Errorf("Save that is always refused: %v", err)
			}
		})
	}
}

// A save whose answer is lost is asked for again, by its nonce without harm, but for one of a new key. What became of it is never called a conflict
// that nobody can know of.
func TestLostAnswers(t *testing.T) {
	broken := func(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF }
	gaveUp := func(q *http.Request) (*http.Response, error) {
		return refusal(q, 504, nil, `{"kind":"Status","reason":"Timeout","message":"request did not complete within requested timeout","code":504}`), nil
	}
	for name, lose := range map[string]func(*http.Request) (*http.Response, error){"broken": broken, "gave up": gaveUp} {
		t.Run(name, func(t *testing.T) {
			s := newStoreOf(t)
			other := &Store{client: s.client, name: s.name}
			own := *s.http
			other.http = &own
			lost, most := 0, 1
			meanwhile := func() {}
			through(s, func(q *http.Request, next http.RoundTripper) (*http.Response, error) {
				response, err := next.RoundTrip(q)
				if err != nil || q.Method == http.MethodGet || lost >= most {
					return response, err
				}
				lost++
				_ = response.Body.Close()
				meanwhile()
				return lose(q)
			})
			revision, err := s.Save(t.Context(), "a", []byte("1"), "")
			if err != nil || lost != 1 {
				t.Fatalf("Save whose answer is lost once: %v", err)
			}
			lost, most = 0, 2
			if revision, err = s.Save(t.Context(), "a", []byte("2"), revision); err != nil || lost != 2 {
				t.Fatalf("Save whose answer is lost twice: %v", err)
			}
			lost, most = 0, 1
			meanwhile = func() {
				item, err := other.Load(t.Context(), "a")
				if err == nil {
					_, err = other.Save(t.Context(), "a", []byte("theirs"), item.Revision)
				}
				if err != nil {
					t.Error(err)
				}
			}
			if _, err = s.Save(t.Context(), "a", []byte("3"), revision); err == nil || errors.Is(err, storage.ErrConflict) {
				t.Errorf("Save that was done and overwritten: %v", err)
			}
			item, err := s.Load(t.Context(), "a")
			if err != nil || string(item.Value) != "theirs" {
				t.Fatalf("Load: %q, %v", item.Value, err)
			}
			lost, meanwhile = 0, func() {}
			if err := s.Delete(t.Context(), "a", item.Revision); err == nil || errors.Is(err, storage.ErrConflict) {
				t.Errorf("Delete whose answer is lost: %v", err)
			}
			lost, meanwhile = 0, func() {
				item, err := other.Load(t.Context(), "a")
				if err == nil {
					err = other.Delete(t.Context(), "a", item.Revision)
				}
				if err != nil {
					t.Error(err)
				}
			}
			if _, err := s.Save(t.Context(), "a", []byte("4"), ""); err == nil || errors.Is(err, storage.ErrConflict) {
				t.Errorf("Save of a new key that was done, and deleted by another: %v", err)
			}
			if item, err := other.Load(t.Context(), "a"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("what another has deleted is there again: %q, %v", item.Value, err)
			}
		})
	}
}
