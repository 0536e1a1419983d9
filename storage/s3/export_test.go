package s3

import (
	"net/http/httptest"
	"strings"
)

// StartService returns the URL of an empty place on a service in this process, and a function that stops it.
func StartService() (url string, stop func()) {
	s := httptest.NewServer(&fake{objects: make(map[string]fakeObject)})
	return target{address: strings.TrimPrefix(s.URL, "http://"), user: "KEY", secret: "SECRET", prefix: "example"}.url(), s.Close
}
