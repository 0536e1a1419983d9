package diagnose

import (
	"bufio"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
)

const (
	maxHeader   = 256 << 10 // bytes of an answer's headers; the clients of CAs take more
	maxSeenBody = 1 << 10
)

// An httpConn is a connection for one HTTP request. It does without http.Transport, which writes to the
// process's log what servers send unasked, and calls one that speaks first now this and now that.
type httpConn struct {
	raw   net.Conn
	conn  net.Conn             // raw, or TLS on it
	state *tls.ConnectionState // nil without TLS
	left  int                  // bytes that may still be read

	asksClient bool // the TLS server asked for a client certificate
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
	request.Header.Set("Accept-Encoding", "gzip")
	if target.Scheme == "https" {
		conn := tls.Client(c.raw, &tls.Config{
			ServerName:           target.Hostname(),
			InsecureSkipVerify:   true,
			GetClientCertificate: noClientCertificate(&c.asksClient),
		})
		if err := conn.HandshakeContext(ctx); err != nil {
			return nil, err
		}
		state := conn.ConnectionState()
		c.conn, c.state = conn, &state
	}
	sent := request.Write(c.conn)
	const maxInterim = 5
	reader := bufio.NewReader(c)
	for range maxInterim {
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

// noClientCertificate answers a server that asks for a client certificate as a CA does, by showing none, and
// notes that it asked.
func noClientCertificate(asked *bool) func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	return func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		*asked = true
		return new(tls.Certificate), nil
	}
}

// body returns the beginning of an answer's body, decompressed.
func (c *httpConn) body(ctx context.Context, response *http.Response) ([]byte, error) {
	defer context.AfterFunc(ctx, func() { c.raw.Close() })()
	const maxFraming = 16 << 10 // of a body in chunks of one byte
	c.left += maxSeenBody + maxFraming
	body, err := readBeginning(response)
	if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	return body, err
}

func readBeginning(response *http.Response) ([]byte, error) {
	encoded := io.Reader(response.Body)
	if strings.EqualFold(response.Header.Get("Content-Encoding"), "gzip") {
		decoder, err := gzip.NewReader(response.Body)
		if errors.Is(err, io.EOF) {
			return nil, nil // a body of no bytes is not compressed
		}
		if err != nil {
			return nil, err
		}
		encoded = decoder
	}
	return io.ReadAll(io.LimitReader(encoded, maxSeenBody))
}
