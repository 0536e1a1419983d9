package main

import (
	"cmp"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
)

// A proxy passes each request to the server behind its name. That gets the client's Host, and X-Forwarded-For, -Host and
// -Proto; what the client says itself in these is dropped. WebSockets pass.
type proxy struct {
	domains   *domains
	transport http.RoundTripper
}

func newTransport() http.RoundTripper {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy = nil // that of the environment is for requests to the CA
	transport.MaxIdleConnsPerHost = 100
	return transport
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	name := strings.ToLower(cmp.Or(r.TLS.ServerName, host)) // clients name no addresses in handshakes
	if !strings.EqualFold(host, name) {                     // so nobody has the database asked for other names
		http.Error(w, "This connection is for another name.", http.StatusMisdirectedRequest)
		return
	}
	upstream, err := p.domains.upstream(r.Context(), name)
	if err != nil {
		failed(w, r, err)
		return
	}
	if upstream == "" { // it was deleted, and its certificate is valid for a while yet
		http.Error(w, "Nothing is served under this name.", http.StatusNotFound)
		return
	}
	(&httputil.ReverseProxy{Transport: p.transport, ErrorHandler: failed, Rewrite: func(q *httputil.ProxyRequest) {
		q.SetURL(&url.URL{Scheme: "http", Host: upstream})
		q.Out.Host = q.In.Host
		q.SetXForwarded()
	}}).ServeHTTP(w, r)
}

// failed answers a request that could not be passed on.
func failed(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() == nil { // the client is still there
		slog.WarnContext(r.Context(), "a request could not be passed on", "host", r.Host, "error", err)
	}
	http.Error(w, "The server behind this address does not answer. Try again in a moment.", http.StatusBadGateway)
}
