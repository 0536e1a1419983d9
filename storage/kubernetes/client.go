package kubernetes

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// What comes and goes at once, and how large it may be.
const (
	maxRequests = 32        // at once, watches apart
	maxAnswer   = 96 << 20  // bytes of a list
	maxStatus   = 256 << 10 // bytes of a refusal
)

// The forms of an answer that has no data in it.
const (
	listOfMetadata = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
	eventsMetadata = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
)

// A client asks an API server for Secrets.
type client struct {
	http      *http.Client
	base      string                 // of the URLs
	host      string                 // for errors
	namespace string                 // of requests that name none
	token     func() (string, error) // nil: the client shows itself who it is
	close     func()                 // nil: the client is another's
	turns     chan struct{}          // full while as many requests are under way as may be
}

// A request is about the Secrets of a namespace, or the one of a name.
type request struct {
	method    string
	namespace string // empty: the client's
	name      string
	query     url.Values
	accept    string // empty: JSON of the whole
	body      any
}

// get asks for a Secret. Without a resourceVersion the answer is the truth, not the server's cache.
func (c *client) get(ctx context.Context, name string, found *secret) error {
	return c.do(ctx, request{method: http.MethodGet, name: name}, found)
}

// do sends the request and decodes the answer. It sends it again if the server was too busy to do anything.
func (c *client) do(ctx context.Context, r request, into any) error {
	select {
	case c.turns <- struct{}{}:
		defer func() { <-c.turns }()
	case <-ctx.Done():
		return ctx.Err()
	}
	for runs := 1; ; runs++ {
		err := c.once(ctx, r, into)
		refusal, ok := errors.AsType[*StatusError](err)
		if !ok || !refusal.passes() || runs == maxRuns {
			return err
		}
		if err := refusal.wait(ctx, runs); err != nil {
			return err
		}
	}
}

func (c *client) once(ctx context.Context, r request, into any) error {
	response, err := c.open(ctx, r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	var data bytes.Buffer
	if _, err := data.ReadFrom(io.LimitReader(response.Body, maxAnswer+1)); err != nil {
		return err
	}
	if data.Len() > maxAnswer {
		return fmt.Errorf("the answer has more than %d bytes", maxAnswer)
	}
	if err := json.Unmarshal(data.Bytes(), into); err != nil {
		return fmt.Errorf("the answer is no JSON of the API: %w: is there an API server, and no proxy with a page of its own?", err)
	}
	return nil
}

// open sends the request and returns an answer of success, whose body is to be closed. Any other is an error.
func (c *client) open(ctx context.Context, r request) (*http.Response, error) {
	var body io.Reader
	if r.body != nil {
		data, err := json.Marshal(r.body)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(data)
	}
	address := c.base + "/api/v1/namespaces/" + cmp.Or(r.namespace, c.namespace) + "/secrets"
	if r.name != "" {
		address += "/" + r.name
	}
	if len(r.query) > 0 {
		address += "?" + r.query.Encode()
	}
	q, err := http.NewRequestWithContext(ctx, r.method, address, body)
	if err != nil {
		return nil, err
	}
	q.Header.Set("User-Agent", "everseal")
	q.Header.Set("Accept", "application/json")
	if r.accept != "" {
		q.Header.Set("Accept", r.accept)
	}
	if body != nil {
		q.Header.Set("Content-Type", "application/json")
	}
	if c.token != nil {
		token, err := c.token()
		if err != nil {
			return nil, err
		}
		q.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := c.http.Do(q)
	if err != nil {
		if outer, ok := errors.AsType[*url.Error](err); ok {
			err = outer.Err // which has no URL in it
		}
		return nil, err
	}
	if response.StatusCode/100 == 2 {
		return response, nil
	}
	defer response.Body.Close()
	return nil, readStatus(response)
}

// readStatus returns the error of an answer that is none of success.
func readStatus(response *http.Response) error {
	data, err := io.ReadAll(io.LimitReader(response.Body, maxStatus))
	if err != nil {
		return err
	}
	refusal := &StatusError{Code: response.StatusCode}
	var s status
	if json.Unmarshal(data, &s) == nil && s.Kind == "Status" {
		refusal.set(&s)
	}
	refusal.Code = response.StatusCode
	if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil && seconds >= 0 {
		refusal.after = time.Duration(min(seconds, maxRetryAfter)) * time.Second
	}
	return refusal
}
