package acmetest

import (
	"cmp"
	"errors"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"
)

// Answer answers instead of the CA, before it does anything, with a body of the content type; a front
// end that is overloaded does so. The answer has no nonce.
func Answer(status int, contentType, body string) Fault {
	return func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			w.WriteHeader(cmp.Or(status, http.StatusOK))
			_, _ = io.WriteString(w, body) // a client that has gone away is no concern of the server's
		})
	}
}

// A Response is an answer that [Edit] may change.
type Response struct {
	Status int // zero: 200
	Header http.Header
	Body   []byte
}

// maxRecorded is the most bytes of an answer that are kept to be edited. The CA's own are shorter.
const maxRecorded = 1 << 20

// Edit changes answers after the CA has acted. Of an answer that has more than 1 MiB, because a fault
// nearer to the CA made it so, edit gets the first part; the rest follows it unchanged.
func Edit(edit func(*Response)) Fault {
	if edit == nil {
		return nil
	}
	return editAnswer(func(_ *http.Request, response *Response) { edit(response) })
}

// WithHeader sets a header of the answers, instead of its values so far. Content-Type is the obvious one.
func WithHeader(name, value string) Fault {
	return Edit(func(r *Response) { r.Header.Set(name, value) })
}

// WithoutHeader takes a header out of the answers.
func WithoutHeader(name string) Fault {
	return Edit(func(r *Response) { r.Header.Del(name) })
}

// RelativeURLs takes scheme and host off the URLs of the CA's resources in the headers Location and Link
// and in JSON, the directory included.
func RelativeURLs() Fault {
	return editAnswer(func(request *http.Request, response *Response) {
		origin := "https://" + request.Host
		for _, name := range []string{"Location", "Link"} {
			values := response.Header[name]
			for i, value := range values {
				values[i] = strings.ReplaceAll(value, origin+"/", "/")
			}
		}
		if strings.HasSuffix(response.Header.Get("Content-Type"), "json") {
			response.Body = []byte(strings.ReplaceAll(string(response.Body), `"`+origin+"/", `"/`))
		}
	})
}

// Oversized makes the body of answers n bytes longer. The bytes are spaces, which leave JSON and PEM as
// they were for a client that reads to the end, or stops too early; they are not kept in memory. Answers
// that can have no body stay as they are.
func Oversized(n int64) Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(w, r)
			spaces := []byte(strings.Repeat(" ", 32<<10))
			for left := n; left > 0; left -= int64(len(spaces)) {
				_, err := w.Write(spaces[:min(left, int64(len(spaces)))])
				if errors.Is(err, http.ErrBodyNotAllowed) {
					return
				}
				if err != nil || r.Context().Err() != nil {
					panic(http.ErrAbortHandler) // the client is gone, or the server closes
				}
			}
		})
	}
}

// editAnswer is Edit for those that need to know the request.
func editAnswer(edit func(*http.Request, *Response)) Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			recorded := record(w, func(response *Response) {
				length := strconv.Itoa(len(response.Body))
				edit(r, response)
				if response.Header.Get("Content-Length") == length {
					response.Header.Set("Content-Length", strconv.Itoa(len(response.Body)))
				}
			})
			next.ServeHTTP(recorded, r)
			recorded.send()
		})
	}
}

// A recorder keeps an answer until send is called, or until it is longer than maxRecorded. Then the
// answer is edited, and goes to the client.
type recorder struct {
	client   http.ResponseWriter
	edit     func(*Response)
	response Response // Status is zero until the handler has set one
	sent     bool
}

func record(client http.ResponseWriter, edit func(*Response)) *recorder {
	return &recorder{client: client, edit: edit, response: Response{Header: client.Header().Clone()}}
}

func (w *recorder) Header() http.Header { return w.response.Header }

func (w *recorder) WriteHeader(status int) {
	if w.response.Status == 0 {
		w.response.Status = status
	}
}

func (w *recorder) Write(p []byte) (int, error) {
	if w.sent {
		return w.client.Write(p)
	}
	w.WriteHeader(http.StatusOK)
	w.response.Body = append(w.response.Body, p...)
	if len(w.response.Body) > maxRecorded {
		w.send()
	}
	return len(p), nil
}

// FlushError is what an http.ResponseController calls.
func (w *recorder) FlushError() error {
	w.send()
	return http.NewResponseController(w.client).Flush()
}

// send edits the answer and sends it, unless that has been done before.
func (w *recorder) send() {
	if w.sent {
		return
	}
	w.sent = true
	w.WriteHeader(http.StatusOK)
	w.edit(&w.response)
	header := w.client.Header()
	clear(header)
	maps.Copy(header, w.response.Header)
	for _, name := range []string{"Content-Type", "Date"} {
		if _, ok := header[name]; !ok {
			header[name] = nil // else the server on the socket sets one
		}
	}
	w.client.WriteHeader(cmp.Or(w.response.Status, http.StatusOK))
	_, _ = w.client.Write(w.response.Body) // a client that has gone away is no concern of the server's
	w.response.Body = nil
}
