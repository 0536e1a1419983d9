package acmetest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// maxRedirects is the number of redirects that an http-01 validation follows.
const maxRedirects = 10

// validateHTTP01 fetches the key authorization from the identifier's web server (RFC 8555 §8.3).
func (s *Server) validateHTTP01(ctx context.Context, c *challenge) error {
	target := "http://" + hostPort(c.authorization.identifier.Value, s.httpPort(), 80) + "/.well-known/acme-challenge/" + c.token
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return err
	}
	request.Header.Set("User-Agent", "acmetest (ACME validation)")
	transport := s.validationTransport()
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, CheckRedirect: s.checkRedirect}
	response, err := client.Do(request)
	if err != nil {
		return fetchProblem(target, err)
	}
	defer func() { _ = response.Body.Close() }()
	from := response.Request.URL.Redacted()
	if response.StatusCode != http.StatusOK {
		return problemf(unauthorized, "%s answered with status %d instead of 200", quote(from), response.StatusCode)
	}
	// Enough for the right answer with some white space after it, and to show what is there instead.
	maxBody := len(c.keyAuthorization) + 64
	body, err := io.ReadAll(io.LimitReader(response.Body, int64(maxBody+1)))
	if err != nil {
		return fetchProblem(from, err)
	}
	if got := strings.TrimRight(string(body), " \t\r\n"); got != c.keyAuthorization || len(body) > maxBody {
		return problemf(incorrectResponse, "%s answered %s; the key authorization is %q, with little white space after it at most",
			quote(from), quote(string(body)), c.keyAuthorization)
	}
	return nil
}

// validationTransport returns a transport that goes where the table of hosts leads.
func (s *Server) validationTransport() *http.Transport {
	return &http.Transport{
		DialContext: s.dialTarget(s.dial),
		DialTLSContext: s.dialTarget(func(ctx context.Context, host string, port int) (net.Conn, error) {
			return s.dialTLS(ctx, host, port, &tls.Config{ServerName: host})
		}),
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: 32 << 10,
	}
}

// dialTarget returns dial in the form that http.Transport calls. Close waits for the calls, because a
// transport continues with them when nobody wants the connection any more.
func (s *Server) dialTarget(
	dial func(ctx context.Context, host string, port int) (net.Conn, error),
) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, _, address string) (net.Conn, error) {
		ctx, end, ok := s.begin(ctx)
		if !ok {
			return nil, problemf(connection, "the CA is closed")
		}
		defer end()
		host, port, err := s.splitTarget(address)
		if err != nil {
			return nil, err
		}
		return dial(ctx, host, port)
	}
}

// splitTarget returns the host and port that a URL leads to; if the URL has none, the port is the one
// set for its scheme.
func (s *Server) splitTarget(address string) (host string, port int, err error) {
	host, portName, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, err
	}
	switch port, err = strconv.Atoi(portName); port {
	case 80:
		port = s.httpPort()
	case 443:
		port = s.tlsPort()
	}
	return host, port, err
}

// checkRedirect allows what public CAs follow.
func (s *Server) checkRedirect(next *http.Request, via []*http.Request) error {
	refused := func(format string, args ...any) error {
		from := via[len(via)-1].URL.Redacted()
		return problemf(connection, "%s redirects to %s: %s", quote(from), quote(next.URL.Redacted()), fmt.Sprintf(format, args...))
	}
	if len(via) > maxRedirects {
		return refused("that is one redirect too many, %d are followed", maxRedirects)
	}
	if status := next.Response.StatusCode; status == http.StatusSeeOther {
		return refused("the status is %d; 301, 302, 307 and 308 are followed", status)
	}
	if next.URL.Scheme != "http" && next.URL.Scheme != "https" {
		return refused("the scheme must be http or https")
	}
	port := next.URL.Port()
	if port != "" && port != strconv.Itoa(s.httpPort()) && port != strconv.Itoa(s.tlsPort()) {
		return refused("the port must be %d or %d", s.httpPort(), s.tlsPort())
	}
	return nil
}

// fetchProblem returns the problem in err, or a connection problem.
func fetchProblem(target string, err error) error {
	if p, ok := errors.AsType[*problem](err); ok {
		return p
	}
	if inner, ok := errors.AsType[*url.Error](err); ok {
		err = inner.Err // without the URL, which is said before
	}
	return problemf(connection, "fetching %s: %s", quote(target), quote(err.Error()))
}
