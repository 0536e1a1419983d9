package acmetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// A memoryTransport hands requests to a handler without a network between. Of the way that a request
// takes over a socket it keeps what a CA can notice.
type memoryTransport struct {
	host    string
	handler http.Handler
}

// errAborted is what a client sees of a connection that ends before the answer.
var errAborted = errors.New("acmetest: the server closed the connection without an answer")

// RoundTrip answers the request, or returns an error when its context ends first.
func (t *memoryTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	body, err := readBody(request)
	if err != nil {
		return nil, err
	}
	if request.URL.Scheme != "https" || request.URL.Host != t.host {
		return nil, fmt.Errorf("acmetest: %s://%s is not there: in memory there is https://%s only", request.URL.Scheme, request.URL.Host, t.host)
	}
	answers := make(chan *http.Response, 1)
	go func() { answers <- t.serve(request, body) }()
	select {
	case answer := <-answers:
		if answer == nil {
			return nil, errAborted
		}
		return answer, nil
	case <-request.Context().Done(): // which the handler sees too
		return nil, context.Cause(request.Context())
	}
}

// serve returns the handler's answer, nil if it broke off.
func (t *memoryTransport) serve(request *http.Request, body []byte) (answer *http.Response) {
	defer func() {
		if r := recover(); r != nil && r != http.ErrAbortHandler {
			panic(r)
		}
	}()
	recorder := &responseRecorder{header: make(http.Header)}
	t.handler.ServeHTTP(recorder, received(request, body))
	recorder.WriteHeader(http.StatusOK)
	if request.Method == http.MethodHead {
		recorder.body.Reset()
	}
	return &http.Response{
		Status:        fmt.Sprintf("%d %s", recorder.status, http.StatusText(recorder.status)),
		StatusCode:    recorder.status,
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        recorder.sent,
		Body:          io.NopCloser(&recorder.body),
		ContentLength: int64(recorder.body.Len()),
		Request:       request,
	}
}

// received returns the request as a server gets it.
func received(sent *http.Request, body []byte) *http.Request {
	r := sent.Clone(sent.Context())
	r.Body = io.NopCloser(bytes.NewReader(body))
	r.ContentLength = int64(len(body))
	r.RequestURI = sent.URL.RequestURI()
	r.URL = &url.URL{Path: sent.URL.Path, RawPath: sent.URL.RawPath, RawQuery: sent.URL.RawQuery}
	r.RemoteAddr = "127.0.0.1:0"
	r.Response = nil
	if r.Host == "" {
		r.Host = sent.URL.Host
	}
	if _, ok := r.Header["User-Agent"]; !ok { // as http.Transport does
		r.Header.Set("User-Agent", "Go-http-client/1.1")
	}
	return r
}

func readBody(request *http.Request) ([]byte, error) {
	if request.Body == nil {
		return nil, nil
	}
	defer func() { _ = request.Body.Close() }()
	return io.ReadAll(request.Body)
}

// A responseRecorder is an http.ResponseWriter that keeps what is written.
type responseRecorder struct {
	header http.Header
	sent   http.Header // header as it was when the status was written
	status int
	body   bytes.Buffer
}

func (w *responseRecorder) Header() http.Header { return w.header }

func (w *responseRecorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
		w.sent = w.header.Clone()
	}
}

func (w *responseRecorder) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(p)
}
