package acmetest

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strconv"
	"time"
)

// Delay holds requests up before the CA gets them. If the client has gone away by then, the CA never
// does.
func Delay(d time.Duration) Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r = readAhead(r)
			pauseOrAbort(r.Context(), d)
			next.ServeHTTP(w, r)
		})
	}
}

// DelayAnswer holds answers up after the CA has acted.
func DelayAnswer(d time.Duration) Fault {
	return editAnswer(func(r *http.Request, _ *Response) { pauseOrAbort(r.Context(), d) })
}

// Cut ends the connection before the CA gets the request. Note that an http.Transport sends a GET or
// HEAD again by itself if the connection was used before.
func Cut() Fault {
	return func(http.Handler) http.Handler {
		return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			readAhead(r)
			panic(http.ErrAbortHandler)
		})
	}
}

// CutAnswer ends the connection when the CA has acted, without an answer. The note at [Cut] is for it,
// too.
func CutAnswer() Fault {
	return editAnswer(func(*http.Request, *Response) { panic(http.ErrAbortHandler) })
}

// CutBody ends the connection when the CA has acted and half of the answer's body has been sent; if
// there is no body it is CutAnswer.
func CutBody() Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			recorded := record(w, func(response *Response) {
				if len(response.Body) == 0 {
					panic(http.ErrAbortHandler)
				}
				response.Header.Set("Content-Length", strconv.Itoa(len(response.Body)))
				response.Body = response.Body[:len(response.Body)/2]
			})
			next.ServeHTTP(recorded, r)
			_ = recorded.FlushError() // the connection ends in either case
			panic(http.ErrAbortHandler)
		})
	}
}

// pauseOrAbort waits, and gives the request up if its context ends before.
func pauseOrAbort(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		panic(http.ErrAbortHandler)
	}
}

// readAhead returns the request with a body that has come in, as far as the CA would read it: a server
// notices that its client goes away only after it has read the whole of it.
func readAhead(r *http.Request) *http.Request {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil {
		panic(http.ErrAbortHandler) // the client is gone
	}
	ahead := r.Clone(r.Context())
	ahead.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body), r.Body))
	return ahead
}
