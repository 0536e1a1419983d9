package solver

import (
	"maps"
	"net/http"
	"strings"
)

// A fileWriter passes on what a handler answers if that is a file, and drops what a site says of a path that it
// does not know: a failure, a redirect, a page.
type fileWriter struct {
	http.ResponseWriter
	header  http.Header // of the answer, until it is known for a file
	status  int         // zero: there is none yet
	decided bool
	isFile  bool
}

// serveFile has the handler answer, and reports whether it had a file to answer with.
func serveFile(handler http.Handler, w http.ResponseWriter, r *http.Request) bool {
	f := &fileWriter{ResponseWriter: w, header: make(http.Header)}
	handler.ServeHTTP(f, r)
	f.decide(nil)
	return f.isFile
}

// decide tells a file from other answers, of which it drops what follows.
func (f *fileWriter) decide(begin []byte) {
	if f.decided || f.status == 0 {
		return
	}
	f.decided = true
	kind := f.header.Get("Content-Type")
	if kind == "" {
		kind = http.DetectContentType(begin) // as net/http does
	}
	isPage := strings.HasPrefix(strings.ToLower(kind), "text/html")
	if f.isFile = f.status <= 299 && !isPage || f.status == http.StatusNotModified; f.isFile {
		maps.Copy(f.ResponseWriter.Header(), f.header)
		f.ResponseWriter.WriteHeader(f.status)
	}
}

// Header is that of an http.ResponseWriter.
func (f *fileWriter) Header() http.Header {
	if f.isFile {
		return f.ResponseWriter.Header()
	}
	return f.header
}

// WriteHeader is that of an http.ResponseWriter. Informational statuses are left out.
func (f *fileWriter) WriteHeader(status int) {
	if f.status == 0 && status >= http.StatusOK {
		f.status = status
	}
}

// Write is that of an http.ResponseWriter.
func (f *fileWriter) Write(p []byte) (int, error) {
	f.WriteHeader(http.StatusOK)
	f.decide(p)
	if !f.isFile {
		return len(p), nil
	}
	return f.ResponseWriter.Write(p)
}
