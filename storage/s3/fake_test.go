package s3

import (
	"crypto/md5"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
)

// A fake answers as AWS does, as far as this package asks it, or worse: for faults and for what no server at hand does.
type fake struct {
	ignores map[string]bool // conditions: "If-None-Match", "If-Match", and "DELETE" for the If-Match of that

	mu       sync.Mutex
	objects  map[string]fakeObject                             // guarded by mu
	fault    func(w http.ResponseWriter, r *http.Request) bool // guarded by mu; whether it has answered
	requests []string                                          // guarded by mu; method and name
}

type fakeObject struct {
	body []byte
	etag string
}

// newFake returns a fake and an empty place on it.
func newFake(t testing.TB, ignores ...string) (*fake, target) {
	t.Helper()
	f := &fake{objects: make(map[string]fakeObject), ignores: make(map[string]bool)}
	for _, condition := range ignores {
		f.ignores[condition] = true
	}
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	return f, target{address: strings.TrimPrefix(s.URL, "http://"), user: "a", secret: rootSecret, prefix: newPrefix()}
}

// setFault has f answer requests, if it wants to.
func (f *fake) setFault(fault func(w http.ResponseWriter, r *http.Request) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = fault
}

// taken returns what was asked since the last call.
func (f *fake) taken() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := f.requests
	f.requests = nil
	return all
}

// fail answers with an error of AWS.
func fail(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	fmt.Fprintf(w, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>%s</Code><Message>as AWS says it</Message><RequestId>1</RequestId></Error>", code)
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, found := strings.CutPrefix(r.URL.Path, "/"+bucket)
	name = strings.TrimPrefix(name, "/")
	f.mu.Lock()
	f.requests = append(f.requests, r.Method+" "+name)
	fault := f.fault
	f.mu.Unlock()
	switch {
	case fault != nil && fault(w, r):
	case !found:
		fail(w, 404, "NoSuchBucket")
	case r.Method == "GET" && name == "":
		f.list(w, r)
	case r.Method == "GET":
		f.get(w, name)
	case r.Method == "PUT":
		f.put(w, r, name)
	case r.Method == "DELETE":
		f.delete(w, r, name)
	default:
		fail(w, 405, "MethodNotAllowed")
	}
}

func (f *fake) get(w http.ResponseWriter, name string) {
	f.mu.Lock()
	object, found := f.objects[name]
	f.mu.Unlock()
	if !found {
		fail(w, 404, "NoSuchKey")
		return
	}
	w.Header().Set("ETag", object.etag)
	_, _ = w.Write(object.body)
}

// refused answers for a condition that is not met.
func (f *fake) refused(w http.ResponseWriter, r *http.Request, name, match string) bool {
	object, found := f.objects[name]
	etag := r.Header.Get("If-Match")
	switch {
	case r.Header.Get("If-None-Match") == "*" && found && !f.ignores["If-None-Match"]:
		fail(w, 412, "PreconditionFailed")
	case etag == "" || f.ignores[match]:
		return false
	case !found:
		fail(w, 404, "NoSuchKey")
	case etag != object.etag:
		fail(w, 412, "PreconditionFailed")
	default:
		return false
	}
	return true
}

func (f *fake) put(w http.ResponseWriter, r *http.Request, name string) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refused(w, r, name, "If-Match") {
		return
	}
	etag := fmt.Sprintf("\"%x\"", md5.Sum(body))
	f.objects[name] = fakeObject{body, etag}
	w.Header().Set("ETag", etag)
}

func (f *fake) delete(w http.ResponseWriter, r *http.Request, name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refused(w, r, name, "DELETE") {
		return
	}
	delete(f.objects, name)
	w.WriteHeader(204)
}

type listing struct {
	XMLName               xml.Name `xml:"ListBucketResult"`
	Name                  string
	IsTruncated           bool
	NextContinuationToken string `xml:",omitempty"`
	Contents              []listed
}

type listed struct {
	Key  string
	ETag string
	Size int
}

func (f *fake) list(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	after := max(query.Get("start-after"), query.Get("continuation-token"))
	f.mu.Lock()
	defer f.mu.Unlock()
	var names []string
	for name := range f.objects {
		if strings.HasPrefix(name, query.Get("prefix")) && name > after {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	answer := listing{Name: bucket}
	const page = 1000
	if len(names) > page {
		names = names[:page]
		answer.IsTruncated, answer.NextContinuationToken = true, names[page-1]
	}
	for _, name := range names {
		object := f.objects[name]
		answer.Contents = append(answer.Contents, listed{name, object.etag, len(object.body)})
	}
	w.Header().Set("Content-Type", "application/xml")
	_ = xml.NewEncoder(w).Encode(answer)
}
