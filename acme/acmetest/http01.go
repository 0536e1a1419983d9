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
		return problemf(unauthorized, "%s answered with status %d in place of 200", quote(from), response.StatusCode)
	}
	// Enough for the right answer with white space after it, and to show what is there instead.
	body, err := io.ReadAll(io.LimitReader(response.Body, int64(len(c.keyAuthorization))+64))
	if err != nil {
		return fetchProblem(from, err)
	}
	if got := strings.TrimRight(string(body), " \t\r\n"); got != c.keyAuthorization {
		return problemf(incorrectResponse, "%s answered %s; the key authorization is %s", quote(from), quote(got), quote(c.keyAuthorization))
	}
	return nil
}

// validationTransport returns a transport that goes where the table of hosts says.
func (s *Server) validationTransport() *http.Transport {
	return &http.Transport{
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			host, port, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			number, err := strconv.Atoi(port)
			if err != nil {
				return nil, err
			}
			switch number { // those that URLs leave out
			case 80:
				number = s.httpPort()
			case 443:
				number = s.tlsPort()
			}
			return s.dial(ctx, host, number)
		},
		// A name cannot have a trusted certificate yet when it asks for one.
		TLSClientConfig:        &tls.Config{InsecureSkipVerify: true},
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: 32 << 10,
	}
}

// checkRedirect allows what public CAs follow.
func (s *Server) checkRedirect(next *http.Request, via []*http.Request) error {
	refused := func(format string, args ...any) error {
		return problemf(connection, "%s redirects to %s: %s", quote(via[len(via)-1].URL.Redacted()), quote(next.URL.Redacted()), fmt.Sprintf(format, args...))
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
	if _, ok := errors.AsType[tls.AlertError](err); ok {
		return problemf(tlsProblem, "fetching %s: %s", quote(target), quote(err.Error()))
	}
	return problemf(connection, "fetching %s: %s", quote(target), quote(err.Error()))
}
