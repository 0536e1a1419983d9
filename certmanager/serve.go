package certmanager

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/everseal/everseal/solver"
)

// graceTime is how long Serve waits for requests under way when it ends.
const graceTime = 20 * time.Second

// Timeouts of the servers.
const (
	headerTimeout      = 30 * time.Second // for a request's header, and with it for a handshake (net/http)
	idleTimeout        = 2 * time.Minute  // between two requests of a client
	plainHeaderTimeout = 10 * time.Second // on plain HTTP, whose requests are small
	plainWriteTimeout  = 30 * time.Second // on plain HTTP, where an answer may have to be loaded from the storage
	plainIdleTimeout   = time.Minute
)

// maxPlainHeader bounds a request's header on plain HTTP in bytes. It holds all cookies that a browser keeps for a name.
const maxPlainHeader = 256 << 10

// Serve runs the manager and serves srv with its certificates, on srv.Addr (zero: ":443") over TLS. On
// Config.HTTPAddr (zero: ":80"), unless Config.NoHTTP is set, it answers http-01 challenges and redirects everything else
// to HTTPS. It listens before it orders anything.
//
// Clients that are slow, or gone, must not hold connections for good, so that Serve sets what srv lacks of these:
// ReadHeaderTimeout, to 30 seconds, or two minutes with Config.OnDemand, and IdleTimeout, to two minutes. net/http
// applies ReadHeaderTimeout, ReadTimeout and WriteTimeout, the shortest of them, to handshakes, too: with
// Config.OnDemand, one of srv's own that is shorter than 90 seconds ends those that still wait for their certificate.
// ReadTimeout and WriteTimeout are for whole requests and answers, which only their server's author knows, and are
// left as they are. On plain HTTP everything is bounded.
//
// [Manager.Load] before it has the first handshakes served at once. [Manager.Wait] beside it tells when all are served.
// Listeners of one's own, as systemd opens them, are for [Manager.Listener].
//
// It returns nil when ctx has ended and requests under way were answered, and an error if an address
// is taken, the storage can't be used or a server fails. A srv.TLSConfig is used, with the manager's
// GetCertificate and protocols, and its session tickets as far as TLSConfig says, but with WrapSession and UnwrapSession of
// its own. What its GetCertificate or Certificates have is served as long as the manager has nothing for a name, after what
// Config.Fallback has. Serve changes srv and can't be called with it again.
func (m *Manager) Serve(ctx context.Context, srv *http.Server) error {
	switch {
	case m.store == nil:
		return errNotMade
	case m.config.Role == RoleRenew:
		return errRenewsOnly
	case srv == nil:
		return errors.New("certmanager: Serve was called without an http.Server: give it one, with the Handler to serve")
	}
	addr := srv.Addr
	if addr == "" {
		addr = ":443"
	}
	var listen net.ListenConfig
	secure, err := listen.Listen(ctx, "tcp", addr)
	if err != nil {
		return cannotListen("HTTPS", err, "http.Server.Addr to another")
	}
	servers := []*http.Server{srv}
	listeners := []net.Listener{secure}
	if !m.config.NoHTTP {
		plain, err := listen.Listen(ctx, "tcp", cmp.Or(m.config.HTTPAddr, ":80"))
		if err != nil {
			return errors.Join(cannotListen("HTTP", err, "Config.HTTPAddr to another, or Config.NoHTTP"), secure.Close())
		}
		servers = append(servers, m.plainServer(secure.Addr(), srv.ErrorLog))
		listeners = append(listeners, plain)
		m.proving.overHTTP.seen.Store(true)
	}
	m.proving.listen()
	srv.TLSConfig = m.serverConfig(srv.TLSConfig)
	m.setTimeouts(srv)
	return m.runServers(ctx, servers, listeners)
}

// cannotListen says of the address for a protocol what else to set.
func cannotListen(protocol string, err error, set string) error {
	return fmt.Errorf("certmanager: listen for %s: %w: end what has the address, or set %s; if the port needs a privilege, grant it (CAP_NET_BIND_SERVICE)", protocol, err, set)
}

// setTimeouts sets the timeouts that the server lacks. One of zero is that of ReadTimeout (net/http).
func (m *Manager) setTimeouts(srv *http.Server) {
	if srv.ReadHeaderTimeout == 0 && srv.ReadTimeout == 0 {
		srv.ReadHeaderTimeout = headerTimeout
		if m.config.OnDemand != nil {
			srv.ReadHeaderTimeout += handshakeTimeout
		}
	}
	if srv.IdleTimeout == 0 && srv.ReadTimeout == 0 {
		srv.IdleTimeout = idleTimeout
	}
}

// plainServer returns the server of plain HTTP beside one for HTTPS at an address.
func (m *Manager) plainServer(secure net.Addr, errorLog *log.Logger) *http.Server {
	return &http.Server{
		Handler:                      m.HTTPHandler(redirect(secure)),
		ReadHeaderTimeout:            plainHeaderTimeout,
		ReadTimeout:                  plainHeaderTimeout,
		WriteTimeout:                 plainWriteTimeout,
		IdleTimeout:                  plainIdleTimeout,
		MaxHeaderBytes:               maxPlainHeader,
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     errorLog,
	}
}

// serverConfig returns the configuration of a server with what the manager needs in it.
func (m *Manager) serverConfig(own *tls.Config) *tls.Config {
	if own == nil {
		return m.TLSConfig()
	}
	m.fallback.own.Store(certificatesOf(own))
	config := own.Clone()
	config.GetCertificate = m.GetCertificate
	for _, proto := range m.TLSConfig().NextProtos {
		if !slices.Contains(config.NextProtos, proto) {
			config.NextProtos = append(config.NextProtos, proto)
		}
	}
	m.answerChallenges(config)
	m.tickets.share(config)
	return config
}

// runServers runs the manager and the servers, the first of them over TLS, until ctx ends or one fails.
func (m *Manager) runServers(ctx context.Context, servers []*http.Server, listeners []net.Listener) error {
	if err := m.begin(); err != nil {
		return errors.Join(err, closeAll(listeners))
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return m.run(ctx) })
	for i, srv := range servers {
		group.Go(func() error {
			var err error
			if i == 0 {
				err = srv.ServeTLS(listeners[i], "", "")
			} else {
				err = srv.Serve(listeners[i])
			}
			if errors.Is(err, http.ErrServerClosed) {
				return nil
			}
			return fmt.Errorf("certmanager: serve on %v: %w", listeners[i].Addr(), err)
		})
		group.Go(func() error {
			<-ctx.Done()
			grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), graceTime)
			defer cancel()
			if srv.Shutdown(grace) != nil {
				return srv.Close()
			}
			return nil
		})
	}
	return group.Wait()
}

func closeAll(listeners []net.Listener) error {
	var errs []error
	for _, l := range listeners {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}

// redirect sends clients to the same URL on HTTPS, at the port of the address; nil: at 443.
func redirect(secure net.Addr) http.Handler {
	suffix := ""
	if addr, ok := secure.(*net.TCPAddr); ok && addr.Port != 443 {
		suffix = ":" + strconv.Itoa(addr.Port)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, ok := hostFor(r.Host)
		if !ok || r.Method != http.MethodGet && r.Method != http.MethodHead {
			http.Error(w, "Use HTTPS.", http.StatusBadRequest)
			return
		}
		target := url.URL{Scheme: "https", Host: host + suffix, Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: r.URL.RawQuery}
		http.Redirect(w, r, target.String(), http.StatusFound)
	})
}

// hostFor returns the host of a URL for whoever asked by the Host, without its port. It reports false for what is no
// name or address that HTTPS may be served for. Underscores are in names that a wildcard's certificate is for.
func hostFor(host string) (string, bool) {
	const maxLength = 253
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if addr, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		addr = addr.Unmap()
		if addr.Is4() {
			return addr.String(), true
		}
		return "[" + addr.String() + "]", addr.Zone() == ""
	}
	host = lowerASCII(strings.TrimSuffix(host, "."))
	const alphanumeric = "abcdefghijklmnopqrstuvwxyz0123456789"
	return host, len(host) <= maxLength && strings.ContainsAny(host, alphanumeric) && strings.Trim(host, alphanumeric+"-_.") == ""
}

// Listener returns a listener that serves ln over TLS with the manager's certificates. Call it before
// Run: the manager takes it that whoever connects to port 443, a CA too, comes to ln and is answered from then on. For a
// listener on another port there is [Manager.TLSConfig].
func (m *Manager) Listener(ln net.Listener) net.Listener {
	if m.store != nil {
		m.proving.listen()
	}
	return tls.NewListener(ln, m.TLSConfig())
}

// HTTPHandler returns a handler for plain HTTP on port 80 that answers http-01 challenges and passes everything else on to
// next. Nil redirects to the same URL on HTTPS, at port 443, as Serve does; a server without one passes
// [http.NotFoundHandler]. Call it before Run: once it was called, http-01 is used, and tls-alpn-01 after a failure of it; after
// Serve or Listener were called, too, the other way round.
func (m *Manager) HTTPHandler(next http.Handler) http.Handler {
	if next == nil {
		next = redirect(nil)
	}
	if m.store == nil {
		return new(solver.HTTP01).Handler(next) // Run says what is wrong
	}
	m.proving.mounted.Store(true)
	return m.proving.http01.Handler(next)
}
