package acmetest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strconv"
)

// A memoryTransport hands requests to a handler without a network between. Of the way that a request
// takes over a socket it keeps what a CA and its clients can notice.
type memoryTransport struct {
	host    string
	handler http.Handler
	begin   func(context.Context) (_ context.Context, end func(), ok bool) // of the server
}

// errAborted is what a client sees of a connection that ends before the answer.
var errAborted = errors.New("acmetest: the server closed the connection without an answer")

// RoundTrip returns the answer once it is complete, flushed, or too long to be held; what there is of its
// body later comes as it is read. It returns an error when the request's context ends first.
func (t *memoryTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	body, err := readBody(request)
	if err != nil {
		return nil, err
	}
	if request.URL.Scheme != "https" || request.URL.Host != t.host {
		return nil, fmt.Errorf("acmetest: %s://%s is not there: in memory there is https://%s only", request.URL.Scheme, request.URL.Host, t.host)
	}
	ctx, end, ok := t.begin(request.Context())
	if !ok {
		return nil, errAborted
	}
	ctx, cancel := context.WithCancel(ctx)
	answers := make(chan *http.Response, 1)
	w := newMemoryWriter(request, answers, cancel)
	go func() {
		defer end()
		defer cancel()
		t.serve(w, received(ctx, request, body))
	}()
	select {
	case answer := <-answers:
		if answer == nil {
			return nil, t.broken(request)
		}
		return answer, nil
	case <-request.Context().Done(): // which the handler sees too
		return nil, context.Cause(request.Context())
	}
}

// serve has the request answered. Once its context has ended, by the client or by Close, nobody waits for
// the other any more.
func (t *memoryTransport) serve(w *memoryWriter, r *http.Request) {
	stop := context.AfterFunc(r.Context(), func() { _ = w.body.CloseWithError(t.broken(w.request)) })
	defer stop()
	aborted := io.ErrUnexpectedEOF
	defer func() {
		if reason := recover(); reason != nil && reason != http.ErrAbortHandler {
			panic(reason)
		}
		if r.Context().Err() != nil {
			aborted = t.broken(w.request) // whatever the handler made of it
		}
		w.finish(aborted)
	}()
	t.handler.ServeHTTP(w, r)
	aborted = nil
}

// broken returns why a request was not answered, or not wholly, if the handler did not do so.
func (*memoryTransport) broken(request *http.Request) error {
	return cmp.Or(context.Cause(request.Context()), errAborted)
}

// received returns the request as a server gets it.
func received(ctx context.Context, sent *http.Request, body []byte) *http.Request {
	r := sent.Clone(ctx)
	r.Body = io.NopCloser(bytes.NewReader(body))
	r.ContentLength = int64(len(body))
	if len(body) > 0 && sent.ContentLength <= 0 { // a transport sends it in chunks
		r.ContentLength = -1
	}
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

// maxHeld is the most bytes of a body that are held back until it is complete. The CA's own are shorter,
// but for large chains.
const maxHeld = 64 << 10

// A memoryWriter is the http.ResponseWriter of a memoryTransport.
type memoryWriter struct {
	request *http.Request
	answers chan<- *http.Response // takes the answer, or nil if there is none
	content *memoryBody           // what the client reads of a body that is longer than held
	body    *io.PipeWriter        // the other end of content
	header  http.Header
	sent    http.Header // header as it was when the status was written
	status  int         // zero until it was written
	held    []byte
	passed  bool // the answer was handed to the client, which reads the rest of the body from content
}

func newMemoryWriter(request *http.Request, answers chan<- *http.Response, cancel context.CancelFunc) *memoryWriter {
	reader, writer := io.Pipe()
	return &memoryWriter{
		request: request,
		answers: answers,
		content: &memoryBody{PipeReader: reader, cancel: cancel},
		body:    writer,
		header:  make(http.Header),
	}
}

func (w *memoryWriter) Header() http.Header { return w.header }

func (w *memoryWriter) WriteHeader(status int) {
	if w.status != 0 {
		return
	}
	w.status = status
	w.sent = w.header.Clone()
	maps.DeleteFunc(w.sent, func(_ string, values []string) bool { return len(values) == 0 })
}

func (w *memoryWriter) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	switch {
	case w.request.Method == http.MethodHead || len(p) == 0: // for an empty write a pipe waits, too
		return len(p), nil
	case w.status == http.StatusNoContent || w.status == http.StatusNotModified:
		return 0, http.ErrBodyNotAllowed
	case w.passed:
		return w.body.Write(p)
	}
	w.held = append(w.held, p...)
	if len(w.held) > maxHeld {
		return len(p), w.FlushError()
	}
	return len(p), nil
}

// FlushError is what an http.ResponseController calls.
func (w *memoryWriter) FlushError() error {
	w.WriteHeader(http.StatusOK)
	if !w.passed {
		w.pass(w.content, -1)
	}
	if len(w.held) == 0 {
		return nil
	}
	held := w.held
	w.held = nil
	_, err := w.body.Write(held)
	return err
}

// finish hands over what is held, unless the handler was aborted.
func (w *memoryWriter) finish(aborted error) {
	switch {
	case w.passed:
		_ = w.body.CloseWithError(aborted)
	case aborted != nil:
		w.answers <- nil
	default:
		w.WriteHeader(http.StatusOK)
		w.pass(io.NopCloser(bytes.NewReader(w.held)), int64(len(w.held)))
	}
}

// pass hands the answer to the client. The length of its body is -1 if it is not known yet.
func (w *memoryWriter) pass(body io.ReadCloser, length int64) {
	w.passed = true
	if announced, err := strconv.ParseInt(w.sent.Get("Content-Length"), 10, 64); err == nil {
		length = announced
	}
	w.answers <- &http.Response{
		Status:        fmt.Sprintf("%d %s", w.status, http.StatusText(w.status)),
		StatusCode:    w.status,
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        w.sent,
		Body:          body,
		ContentLength: length,
		Request:       w.request,
	}
}

// A memoryBody is a body that comes as it is read.
type memoryBody struct {
	*io.PipeReader
	cancel context.CancelFunc // of the request at the handler
}

// Close ends the connection, so to speak, if not all has been read.
func (b *memoryBody) Close() error {
	b.cancel()
	return b.PipeReader.Close()
}
