package acmetest

import (
	"cmp"
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// SetHost gives name an address: an IP address, with a port if connections are to go there whatever
// port they are meant for. The name may be "*.example.com", for all names below example.com that have
// no entry of their own, or "*", for all others; of several that fit the longest counts. An empty
// address takes the entry away. A name without an address does not resolve: its validation fails
// with a problem of type dns. An IP address has itself as its address, unless there is an entry for it.
func (s *Server) SetHost(name, address string) {
	s.prepare()
	s.mu.Lock()
	defer s.mu.Unlock()
	name = strings.ToLower(name)
	if address == "" {
		delete(s.hosts, name)
		return
	}
	s.hosts[name] = address
}

// SetTXT gives name, such as "_acme-challenge.example.com", the values of its TXT records instead of
// those it had; with no values it has none.
func (s *Server) SetTXT(name string, values ...string) {
	s.prepare()
	s.mu.Lock()
	defer s.mu.Unlock()
	name = strings.ToLower(name)
	if len(values) == 0 {
		delete(s.txt, name)
		return
	}
	s.txt[name] = slices.Clone(values)
}

// lookUpTXT returns the TXT records of name, at least one. The error is a dns problem.
func (s *Server) lookUpTXT(ctx context.Context, name string) ([]string, error) {
	s.mu.Lock()
	values := slices.Clone(s.txt[strings.ToLower(name)])
	s.mu.Unlock()
	if len(values) == 0 && s.Resolver != nil {
		var err error
		if values, err = s.Resolver.LookupTXT(ctx, name+"."); err != nil {
			return nil, lookUpProblem(name, err)
		}
	}
	if len(values) == 0 {
		return nil, problemf(dnsProblem, "there is no TXT record at %s", name)
	}
	return values, nil
}

// lookUpHost returns the address of name for a connection to port. The error is a dns problem.
func (s *Server) lookUpHost(ctx context.Context, name string, port int) (netip.AddrPort, error) {
	address, ok := s.hostAddress(strings.ToLower(name))
	if !ok && s.Resolver != nil {
		addrs, err := s.Resolver.LookupNetIP(ctx, "ip", name+".")
		if err != nil {
			return netip.AddrPort{}, lookUpProblem(name, err)
		}
		return netip.AddrPortFrom(addrs[0].Unmap(), uint16(port)), nil // there is one, if there is no error
	}
	if !ok {
		return netip.AddrPort{}, problemf(dnsProblem, "the name %s does not resolve", quote(name))
	}
	if addr, err := netip.ParseAddr(address); err == nil {
		return netip.AddrPortFrom(addr, uint16(port)), nil
	}
	addrPort, err := netip.ParseAddrPort(address)
	if err != nil {
		return netip.AddrPort{}, problemf(dnsProblem, "the address of %s is %s, which is not an IP address with or without a port", quote(name), quote(address))
	}
	return addrPort, nil
}

func lookUpProblem(name string, err error) error {
	return problemf(dnsProblem, "looking up %s: %s", quote(name), quote(err.Error()))
}

func (s *Server) hostAddress(name string) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if address, ok := s.hosts[name]; ok {
		return address, true
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return name, true
	}
	for rest := name; ; {
		_, parent, ok := strings.Cut(rest, ".")
		if !ok {
			address, ok := s.hosts["*"]
			return address, ok
		}
		if address, ok := s.hosts["*."+parent]; ok {
			return address, true
		}
		rest = parent
	}
}

// dial connects to a host by name or IP address. The error is a dns or connection problem.
func (s *Server) dial(ctx context.Context, name string, port int) (net.Conn, error) {
	address, err := s.lookUpHost(ctx, name, port)
	if err != nil {
		return nil, err
	}
	dial := s.Dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	conn, err := dial(ctx, "tcp", address.String())
	if err != nil {
		return nil, problemf(connection, "no connection to %s at %s: %s", name, address, quote(err.Error()))
	}
	return conn, nil
}

// dialTLS is dial with a TLS handshake after it, in which the server's certificate is not verified: it
// cannot be trusted yet when a name asks for its first. The error may be a tls problem, too.
func (s *Server) dialTLS(ctx context.Context, name string, port int, config *tls.Config) (*tls.Conn, error) {
	conn, err := s.dial(ctx, name, port)
	if err != nil {
		return nil, err
	}
	config.InsecureSkipVerify = true
	client := tls.Client(conn, config)
	err = client.HandshakeContext(ctx)
	if err == nil {
		return client, nil
	}
	_ = conn.Close()
	if ctx.Err() != nil {
		return nil, problemf(connection, "the TLS handshake with %s did not end in time", name)
	}
	return nil, problemf(tlsProblem, "the TLS handshake with %s failed: %s", name, quote(err.Error()))
}

func (s *Server) httpPort() int { return cmp.Or(s.HTTPPort, 80) }
func (s *Server) tlsPort() int  { return cmp.Or(s.TLSPort, 443) }

// hostPort returns host and port as they stand in a URL whose scheme has the usual port.
func hostPort(host string, port, usual int) string {
	if port != usual {
		return net.JoinHostPort(host, strconv.Itoa(port))
	}
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}
