package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/everseal/everseal/storage/internal/server"
	"github.com/everseal/everseal/storage/internal/wait"
)

// A watching is a Watch in a goroutine of its own.
type watching struct {
	keys chan string
	done chan error // what it ended with
}

func startWatching(t *testing.T, s *Store, prefix string) watching {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	w := watching{make(chan string, 1000), make(chan error, 1)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		var last error
		for key, err := range s.Watch(ctx, prefix) {
			if last = err; err == nil {
				w.keys <- key
			}
		}
		w.done <- last
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	w.want(t, "")
	return w
}

func (w watching) want(t *testing.T, key string) {
	t.Helper()
	limit := time.After(patience)
	for {
		select {
		case got := <-w.keys:
			if got == key {
				return
			}
		case err := <-w.done:
			t.Fatalf("the watch ended: %v", err)
		case <-limit:
			t.Fatalf("the watch does not tell of %q", key)
		}
	}
}

func (w watching) wantEnd(t *testing.T) error {
	t.Helper()
	select {
	case err := <-w.done:
		return err
	case <-time.After(patience):
		t.Fatal("the watch does not end")
	}
	return nil
}

func save(t testing.TB, s *Store, key string) {
	t.Helper()
	if _, err := s.Save(t.Context(), key, []byte("x"), ""); err != nil {
		t.Fatal(err)
	}
}

// A watch whose connections break is resumed where it was: nothing goes untold, also of what was changed in between.
func TestWatchIsResumed(t *testing.T) {
	t.Parallel()
	s := apiServer(t)
	cutter := server.NewCutter(t, s.Address())
	cutter.LeaveWhole(true)
	rawURL := place(s, cutter.Address(), "program")
	w := startWatching(t, open(t, rawURL), "a")
	direct := open(t, strings.Replace(rawURL, cutter.Address(), s.Address(), 1))
	for round := range 4 {
		cutter.Cut()
		for i := range 20 {
			save(t, direct, fmt.Sprintf("a/%d.%d", round, i))
		}
		for i := range 20 {
			w.want(t, fmt.Sprintf("a/%d.%d", round, i))
		}
	}
}

// So is one whose server is started again. When that does not know any more what was changed meanwhile, the watch ends.
func TestWatchExpires(t *testing.T) {
	t.Parallel()
	s := ownAPIServer(t)
	rawURL := place(s, s.Address(), "program")
	store, direct := open(t, rawURL), open(t, rawURL)
	var closed atomic.Bool
	through(store, func(q *http.Request, next http.RoundTripper) (*http.Response, error) {
		if closed.Load() && q.URL.Query().Has("watch") {
			return nil, io.EOF
		}
		return next.RoundTrip(q)
	})
	restart := func() {
		t.Helper()
		s.End(syscall.SIGKILL)
		if err := s.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	w := startWatching(t, store, "")
	save(t, direct, "a")
	w.want(t, "a")
	restart()
	save(t, direct, "b")
	w.want(t, "b")
	closed.Store(true)
	restart()
	save(t, direct, "c")
	restart()
	closed.Store(false)
	err := w.wantEnd(t)
	if refusal, ok := errors.AsType[*StatusError](err); !ok || refusal.Code != 410 || !strings.Contains(err.Error(), "changes were not told") {
		t.Fatalf("a watch that has lost changes ended with %v", err)
	}
	w = startWatching(t, store, "")
	save(t, direct, "d")
	w.want(t, "d")
}

// A list whose past etcd has forgotten goes on from where it was.
func TestCompactedScan(t *testing.T) {
	t.Parallel()
	s := ownAPIServer(t)
	store := open(t, place(s, s.Address(), "program"))
	for i := range 7 {
		save(t, store, fmt.Sprintf("a/%d", i))
	}
	expired := 0
	through(store, func(q *http.Request, next http.RoundTripper) (*http.Response, error) {
		if parameters := q.URL.Query(); parameters.Has("limit") {
			parameters.Set("limit", "2")
			q.URL.RawQuery = parameters.Encode()
		}
		response, err := next.RoundTrip(q)
		if err == nil && response.StatusCode == http.StatusGone {
			expired++
		}
		return response, err
	})
	seen := make(map[string]int)
	for record, err := range store.Scan(t.Context(), "a", "") {
		if err != nil {
			t.Fatal(err)
		}
		seen[record.Key]++
		if len(seen) == 1 {
			save(t, store, "b")
			if err := s.Signal(syscall.SIGUSR1); err != nil {
				t.Fatal(err)
			}
			for !strings.Contains(s.Output(), "compacted at") {
				_ = wait.For(t.Context(), time.Millisecond)
			}
			s.End(syscall.SIGKILL)
			if err := s.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(seen) != 7 || expired == 0 {
		t.Errorf("%v were scanned; %d tokens had expired", seen, expired)
	}
	for key, n := range seen {
		if n != 1 {
			t.Errorf("%q was scanned %d times", key, n)
		}
	}
}

// A watch goes by what the server says of how far it is, also where nothing was changed.
func TestWatchEvents(t *testing.T) {
	object := func(s *Store, key, version string) string {
		return fmt.Sprintf(`{"kind":"PartialObjectMetadata","metadata":{"name":%q,"resourceVersion":%q,"annotations":{%q:%q}}}`, s.secretName(key), version, keyAnnotation, key)
	}
	for name, test := range map[string]struct {
		streams func(s *Store) []string
		want    string // in the error; empty: it is resumed
		from    string // versions that are asked from, one after the other
	}{
		"bookmarks": {func(s *Store) []string {
			return []string{
				`{"type":"ADDED","object":` + object(s, "a", "11") + `}{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"77"}}}`,
				`{"type":"DELETED","object":` + object(s, "a", "78") + `}{"type":"MODI`,
			}
		}, "", "10 77 78"},
		"expired": {func(*Store) []string {
			return []string{`{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"too old"}}`}
		}, "changes were not told", "10"},
		"refused": {func(*Store) []string {
			return []string{`{"type":"ERROR","object":{"kind":"Status","code":403,"reason":"Forbidden","message":"no"}}`}
		}, "grant the service account", "10"},
		"no JSON":   {func(*Store) []string { return []string{"<html>"} }, "invalid character", "10"},
		"no object": {func(*Store) []string { return []string{`{"type":"ADDED","object":[]}`} }, "cannot unmarshal", "10"},
		"too large": {func(*Store) []string { return []string{`{"type":"` + strings.Repeat("x", maxEvent+1)} }, "it is too large", "10"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var s *Store
			var asked atomic.Int64
			var from []string
			done := make(chan struct{})
			fake := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				parameters := q.URL.Query()
				if !parameters.Has("watch") {
					_, _ = io.WriteString(w, `{"kind":"PartialObjectMetadataList","metadata":{"resourceVersion":"10"},"items":[]}`)
					return
				}
				from = append(from, parameters.Get("resourceVersion"))
				if parameters.Get("allowWatchBookmarks") != "true" || !strings.Contains(q.Header.Get("Accept"), "PartialObjectMetadata;") {
					t.Errorf("the request is %s, %v", q.URL, q.Header)
				}
				streams := test.streams(s)
				if n := int(asked.Add(1)); n <= len(streams) {
					_, _ = io.WriteString(w, streams[n-1])
					return
				}
				w.(http.Flusher).Flush()
				close(done)
				<-q.Context().Done()
			}))
			t.Cleanup(fake.Close)
			var err error
			if s, err = New(fake.Client(), fake.URL, Config{Namespace: "a"}); err != nil {
				t.Fatal(err)
			}
			w := startWatching(t, s, "")
			if test.want != "" {
				if err := w.wantEnd(t); err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("the watch ended with %v, want %q", err, test.want)
				}
			} else {
				w.want(t, "a")
				w.want(t, "a")
				<-done
			}
			if got := strings.Join(from, " "); got != test.from {
				t.Errorf("it was asked from %s, want %s", got, test.from)
			}
		})
	}
}
