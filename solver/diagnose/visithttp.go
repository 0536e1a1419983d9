package diagnose

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver/internal/challenge"
	"github.com/everseal/everseal/solver/internal/escape"
)

const (
	maxRedirects  = 10   // that CAs follow
	maxTargetPath = 2000 // bytes of a redirect's path

	frontendTimeout = 5 * time.Second
)

// visitHTTP asks for the answer to an http-01 challenge as a CA does (RFC 8555 §8.3, RFC 8738 §5): on port
// 80, following redirects to ports 80 and 443, without verifying certificates. It takes ten seconds at most.
func visitHTTP(ctx context.Context, p acme.Proof, connect connectFunc) visit {
	limited, cancel := context.WithTimeout(ctx, visitTimeout)
	defer cancel()
	var v visit
	v.follow(limited, p, connect)
	v.interrupt(ctx)
	return v
}

// follow makes the requests, until one has an answer or none can come.
func (v *visit) follow(ctx context.Context, p acme.Proof, connect connectFunc) {
	target, err := url.Parse(http01URL(p.Identifier, p.Token))
	if err != nil {
		v.fail(outcomeNotFollowed, err)
		return
	}
	seen := map[string]bool{target.String(): true}
	var from netip.Addr
	for {
		page := v.get(ctx, target, from, connect)
		if page == nil {
			return
		}
		next, err := page.redirect()
		switch {
		case next == nil && err == nil:
			v.judge(page, p)
			return
		case err != nil:
			v.fail(outcomeNotFollowed, err)
			return
		case len(v.Hops) > maxRedirects:
			v.fail(outcomeLoop, fmt.Errorf("more than %d redirects, which is more than a CA follows", maxRedirects))
			return
		case seen[next.String()]:
			v.back = escape.Text(next.String(), 300)
			v.fail(outcomeLoop, errors.New("redirects in a loop, which CAs give up on"))
			return
		}
		seen[next.String()] = true
		target, from = next, page.from.Addr()
	}
}

// http01URL returns where a CA asks for an answer (RFC 8555 §8.3, RFC 8738 §5).
func http01URL(id acme.Identifier, token string) string {
	return (&url.URL{Scheme: "http", Host: urlHost(id), Path: challenge.HTTP01Path + token}).String()
}

func urlHost(id acme.Identifier) string {
	if strings.Contains(id.Value, ":") {
		return "[" + id.Value + "]"
	}
	return id.Value
}

// A page is an answer by HTTP.
type page struct {
	*http.Response        // its body is read
	body           []byte // the beginning of it
	from           netip.AddrPort
}

// get makes one request and notes it. If no answer comes, it notes why and returns nil.
func (v *visit) get(ctx context.Context, target *url.URL, from netip.Addr, connect connectFunc) *page {
	v.Hops = append(v.Hops, Hop{URL: escape.Text(target.String(), 300)})
	hop := &v.Hops[len(v.Hops)-1]
	v.host, v.port = target.Hostname(), portOf(target)
	conn, addr, err := connect(ctx, v.host, v.port, from)
	if err != nil {
		v.fail(connectOutcome(err), err)
		return nil
	}
	defer conn.Close()
	hop.open(addr)
	c := newHTTPConn(conn)
	response, err := c.ask(ctx, target)
	if c.state != nil {
		hop.Protocol, hop.Certificate = protocolOf(*c.state), certificateText(c.state.PeerCertificates)
	}
	v.asksClient = c.asksClient
	if err != nil {
		v.failAnswer(err)
		return nil
	}
	hop.Status, hop.Headers = escape.Text(response.Status, 60), tellingHeaders(response.Header)
	hop.Location = escape.Text(response.Header.Get("Location"), 300)
	body, err := c.body(ctx, response)
	hop.Body = escape.Text(string(body), 100)
	if err != nil {
		v.failAnswer(err)
		return nil
	}
	v.page = &page{response, body, addr}
	return v.page
}

// addFrontend asks the server of a visit by tls-alpn-01 for a page, whose headers say whose server it is. What
// else comes of it is of no account.
func (v *visit) addFrontend(ctx context.Context, p acme.Proof, connect connectFunc) {
	ctx, cancel := context.WithTimeout(ctx, frontendTimeout)
	defer cancel()
	target := &url.URL{Scheme: "https", Host: urlHost(p.Identifier), Path: "/"}
	asked := visit{}
	asked.get(ctx, target, netip.Addr{}, connect)
	v.Hops = append(v.Hops, asked.Hops...)
}

func portOf(target *url.URL) string {
	switch {
	case target.Port() != "":
		return target.Port()
	case target.Scheme == "https":
		return "443"
	}
	return "80"
}

// redirect returns where the page redirects to, or nil if it does not. The error says why no CA follows.
func (p *page) redirect() (*url.URL, error) {
	switch p.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect, http.StatusSeeOther:
	default:
		return nil, nil
	}
	location := p.Header.Get("Location")
	if location == "" {
		return nil, nil
	}
	next, err := p.Request.URL.Parse(location)
	if err != nil {
		return nil, errors.New("a redirect whose Location is no URL")
	}
	return next, checkRedirect(p.StatusCode, next)
}

// checkRedirect lets pass what CAs follow.
func checkRedirect(status int, next *url.URL) error {
	port := portOf(next)
	switch {
	case status == http.StatusSeeOther:
		return errors.New("a redirect by 303 See Other, which CAs do not follow")
	case next.Scheme != "http" && next.Scheme != "https":
		return fmt.Errorf("a redirect to the scheme %.20q; CAs follow http and https alone", next.Scheme)
	case port != "80" && port != "443":
		return fmt.Errorf("a redirect to port %.5s; CAs follow those to 80 and 443 alone", port)
	case strings.HasSuffix(next.Hostname(), ".well-known"):
		return fmt.Errorf("a redirect to the host %.100q: a slash is missing after the host", next.Hostname())
	case next.Hostname() == "", len(next.Hostname()) > 253, strings.Contains(next.Hostname(), "%"), isOddAddress(next.Hostname()):
		return fmt.Errorf("a redirect to %.100q, which is no host", next.Hostname())
	case len(next.Path) > maxTargetPath:
		return fmt.Errorf("a redirect to a path of %d bytes, which is more than CAs follow", len(next.Path))
	}
	return nil
}

// isOddAddress reports whether a host is an IPv4 address in a form such as 127.1 or 0x7f000001, which some resolvers
// take for one and no CA does.
func isOddAddress(host string) bool {
	bare := strings.TrimSuffix(host, ".")
	last := strings.ToLower(bare[strings.LastIndexByte(bare, '.')+1:])
	if strings.Trim(last, "0123456789") != "" && !strings.HasPrefix(last, "0x") {
		return false
	}
	_, err := netip.ParseAddr(host)
	return err != nil
}

// judge decides whether the last page is the answer.
func (v *visit) judge(last *page, p acme.Proof) {
	if last.StatusCode == http.StatusOK && strings.TrimRightFunc(string(last.body), unicode.IsSpace) == p.KeyAuthorization {
		v.Right = true
		return
	}
	if v.asksClient && slices.Contains([]int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden}, last.StatusCode) {
		v.fail(outcomeClientCertificate, fmt.Errorf("it asks for a client certificate, which no CA has, and answers %.60q without one", last.Status))
		return
	}
	v.fail(outcomeWrong, fmt.Errorf("%.200q answered from %v with status %.60q, server %.60q and %.60q instead of the key authorization",
		last.Request.URL, last.from, last.Status, last.Header.Get("Server"), last.body))
}
