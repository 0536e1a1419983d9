package solver

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
)

const (
	maxHeader   = 16 << 10 // bytes of an answer's headers
	maxSeenBody = 1 << 10
)

// An httpConn is a connection for one HTTP request. It does without http.Transport, which writes to the
// process's log what servers send unasked, and calls one that speaks first now this and now that.
type httpConn struct {
	raw   net.Conn
	conn  net.Conn             // raw, or TLS on it
	state *tls.ConnectionState // nil without TLS
	left  int                  // bytes that may still be read
}

func newHTTPConn(conn net.Conn) *httpConn { return &httpConn{raw: conn, conn: conn, left: maxHeader} }

// Read reads what came, within bounds.
func (c *httpConn) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, errors.New("the answer's headers are too long")
	}
	n, err := c.conn.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

// ask sends the request and returns the answer. A CA reads the same from a server with any certificate.
func (c *httpConn) ask(ctx context.Context, target *url.URL) (*http.Response, error) {
	defer context.AfterFunc(ctx, func() { c.raw.Close() })()
	response, err := c.speak(ctx, target)
	if err != nil && ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return response, err
}

func (c *httpConn) speak(ctx context.Context, target *url.URL) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return nil, err
	}
	request.Close = true
	request.Header.Set("User-Agent", "everseal http-01 check")
	request.Header.Set("Accept", "*/*") // without it, some firewalls take a CA's request for a robot's
	if target.Scheme == "https" {
		conn := tls.Client(c.raw, &tls.Config{ServerName: target.Hostname(), InsecureSkipVerify: true})
		if err := conn.HandshakeContext(ctx); err != nil {
			return nil, err
		}
		state := conn.ConnectionState()
		c.conn, c.state = conn, &state
	}
	sent := request.Write(c.conn)
	const mostInterim = 5
	reader := bufio.NewReader(c)
	for range mostInterim {
		response, err := http.ReadResponse(reader, request)
		if err != nil {
			return nil, cmp.Or(sent, err) // a server may answer without having read the request
		}
		if response.StatusCode >= http.StatusOK || response.StatusCode == http.StatusSwitchingProtocols {
			return response, nil
		}
	}
	return nil, errors.New("the server sends interim answers alone")
}

// body returns the beginning of an answer's body.
func (c *httpConn) body(ctx context.Context, response *http.Response) ([]byte, error) {
	defer context.AfterFunc(ctx, func() { c.raw.Close() })()
	const mostFraming = 16 << 10 // of a body in chunks of one byte
	c.left += maxSeenBody + mostFraming
	body, err := io.ReadAll(io.LimitReader(response.Body, maxSeenBody))
	if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	return body, err
}
