package s3

import (
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/everseal/everseal/storage/internal/enginetest"
)

// A poll that fails loses nothing; five in a row end the watch.
func TestWatchSurvivesFailedPolls(t *testing.T) {
	f, d := newFake(t)
	s := through(t, d.open(t), func(r *http.Request, next tripper) (*http.Response, error) { return next(r) })
	s.poll = 1
	revision := save(t, s, "a", "1", "")
	left := 0 // requests that fail
	failing := func(polls int) {
		left = polls * s.client.Options().Retryer.MaxAttempts()
		f.setFault(func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != "GET" || !strings.HasSuffix(r.URL.Path, bucket) || left == 0 {
				return false
			}
			left--
			fail(w, 503, "SlowDown")
			return true
		})
	}
	step := 0
	for key, err := range s.Watch(t.Context(), "") {
		switch {
		case step == 0 && key == "" && err == nil:
			revision = save(t, s, "a", "2", revision)
			failing(maxFailedPolls - 1)
		case step == 1 && key == "a" && err == nil:
			failing(maxFailedPolls)
		case step == 2 && key == "" && err != nil:
			if wanted.Want(t, err, "watch", "SlowDown"); left != 0 {
				t.Errorf("Watch ends before the last %d requests that fail", left)
			}
		default:
			t.Fatalf("step %d: %q, %v", step, key, err)
		}
		step++
	}
	if step != 3 {
		t.Errorf("Watch has yielded %d times", step)
	}
}

// After Close nothing runs on.
func TestNothingIsLeft(t *testing.T) {
	_, d := newFake(t)
	s, err := Open(t.Context(), d.url(), Config{})
	if err != nil {
		t.Fatal(err)
	}
	before := runtime.NumGoroutine()
	save(t, s, "a", "1", "")
	for range s.Watch(t.Context(), "") {
		break
	}
	for range s.Scan(t.Context(), "", "") {
		break
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	enginetest.Until(t, func() (int, error) {
		runtime.Gosched()
		if n := runtime.NumGoroutine(); n > before+1 { // of the server, for a connection that it has not seen the end of
			return n, errNoAnswer
		}
		return 0, nil
	})
}
