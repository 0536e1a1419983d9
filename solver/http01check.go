package solver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"unicode"

	"github.com/everseal/everseal/acme"
)

// Check looks once whether the answer to p can be seen from here, as a CA does: it asks port 80 of
// the identifier and follows redirects to ports 80 and 443, without verifying certificates. It gives
// up after ten seconds or when ctx ends. The error says what was seen instead of the answer.
//
// A failed check is no proof that the CA fails too: a network may show its own machines other
// addresses than the outside.
func (h *HTTP01) Check(ctx context.Context, p acme.Proof) error {
	a, err := newAnswer(p, acme.TypeHTTP01)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	var from net.Addr
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) { from = info.Conn.RemoteAddr() },
	})
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, http01URL(a.Identifier, a.Token), nil)
	if err != nil {
		return fmt.Errorf("solver: check http-01 for %q: %w", a.Identifier, err)
	}
	request.Header.Set("User-Agent", "everseal http-01 check")
	response, err := h.client().Do(request)
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err // without the URL, which a redirect may have made long enough to hide the reason
	}
	if err != nil {
		return fmt.Errorf("solver: http-01 for %q cannot be seen from here: %w", a.Identifier, peerError{err})
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<10))
	if err != nil {
		return fmt.Errorf("solver: http-01 for %q cannot be seen from here: %w", a.Identifier, peerError{err})
	}
	if response.StatusCode == http.StatusOK && strings.TrimRightFunc(string(body), unicode.IsSpace) == a.KeyAuthorization {
		return nil
	}
	return fmt.Errorf("solver: http-01 for %q: %.200q answered from %v with status %.60q, server %.60q and %.60q "+
		"instead of the key authorization: let requests for %s* reach HTTP01.Handler",
		a.Identifier, response.Request.URL, from, response.Status, response.Header.Get("Server"), body, http01Path)
}

// http01URL returns where a CA looks for an answer (RFC 8555 §8.3, RFC 8738 §5).
func http01URL(id acme.Identifier, token string) string {
	host := id.Value
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return (&url.URL{Scheme: "http", Host: host, Path: http01Path + token}).String()
}

func (h *HTTP01) client() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext:            dialer(h.Dial),
			TLSClientConfig:        &tls.Config{InsecureSkipVerify: true},
			DisableKeepAlives:      true,
			MaxResponseHeaderBytes: 16 << 10,
		},
		CheckRedirect: checkRedirect,
	}
}

// checkRedirect lets pass what CAs follow.
func checkRedirect(next *http.Request, via []*http.Request) error {
	if len(via) > 10 {
		return errors.New("more than 10 redirects, which is more than a CA follows")
	}
	if next.Response.StatusCode == http.StatusSeeOther {
		return errors.New("a redirect by 303 See Other, which CAs do not follow")
	}
	if port := next.URL.Port(); port != "" && port != "80" && port != "443" {
		return fmt.Errorf("a redirect to port %.5s: CAs follow those to 80 and 443 alone", port)
	}
	return nil
}
