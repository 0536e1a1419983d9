package s3

import (
	"bytes"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/everseal/everseal/storage"
)

// A service that reads an object's data, and its ETag when that is another's already, is asked again.
func TestTornRead(t *testing.T) {
	d := realTarget(t)
	s := d.open(t)
	first, err := s.Save(t.Context(), "a", []byte("1"), "")
	if err != nil {
		t.Fatal(err)
	}
	var old []byte
	recording := through(t, s, func(r *http.Request, next tripper) (*http.Response, error) {
		answer, err := next(r)
		if err == nil && isGetOf(r, "a!") {
			old, err = io.ReadAll(answer.Body)
			answer.Body = io.NopCloser(bytes.NewReader(old))
		}
		return answer, err
	})
	if _, err := recording.Load(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	second, err := s.Save(t.Context(), "a", []byte("2"), first)
	if err != nil {
		t.Fatal(err)
	}
	reads := 0
	torn := through(t, s, func(r *http.Request, next tripper) (*http.Response, error) {
		answer, err := next(r)
		if err == nil && isGetOf(r, "a!") {
			if reads++; reads == 1 {
				answer.Body = io.NopCloser(bytes.NewReader(old))
			}
		}
		return answer, err
	})
	if item, err := torn.Load(t.Context(), "a"); err != nil || item.Revision != second || string(item.Value) != "2" || reads != 2 {
		t.Errorf("Load returns %q at %q, %v, after %d reads; want 2 at %q after 2", item.Value, item.Revision, err, reads, second)
	}
}

// ETags that are no MD5 are no hindrance: the object is read twice.
func TestOtherETags(t *testing.T) {
	reads := 0
	s := through(t, realTarget(t).open(t), func(r *http.Request, next tripper) (*http.Response, error) {
		if isGetOf(r, "a!") {
			reads++
		}
		if match := r.Header.Get("If-Match"); match != "" {
			r.Header.Set("If-Match", reversed(match))
		}
		answer, err := next(r)
		if err == nil && answer.Header.Get("ETag") != "" {
			answer.Header.Set("ETag", reversed(answer.Header.Get("ETag")))
		}
		return answer, err
	})
	s.checked.Store(true)
	revision, err := s.Save(t.Context(), "a", []byte("1"), "")
	if err != nil {
		t.Fatal(err)
	}
	if item, err := s.Load(t.Context(), "a"); err != nil || item.Revision != revision || string(item.Value) != "1" || reads != 2 {
		t.Errorf("Load returns %q at %q, %v, after %d reads; Save returned %q", item.Value, item.Revision, err, reads, revision)
	}
}

func isGetOf(r *http.Request, name string) bool {
	return r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/"+name)
}

func reversed(etag string) string {
	all := []byte(etag)
	slices.Reverse(all)
	return string(all)
}

// Whether an object is whole is seen by the MD5 alone.
func TestIsWhole(t *testing.T) {
	for etag, want := range map[storage.Revision]bool{
		"900150983cd24fb0d6963f7d28e17f72": true, "900150983cd24fb0d6963f7d28e17f73": false, "900150983cd24fb0d6963f7d28e17f72-1": false, "": false,
	} {
		if isWhole([]byte("abc"), etag) != want {
			t.Errorf("%q: %t, want %t", etag, !want, want)
		}
	}
}
