package certmanager

import (
	"crypto/tls"
	"errors"
	"net"
	"net/netip"

	"github.com/everseal/everseal/solver"
)

// ALPNProto is the protocol that a server's tls.Config must have in NextProtos for tls-alpn-01; see
// [solver.ALPNProto].
const ALPNProto = solver.ALPNProto

// TLSConfig returns a new configuration for a server that is served by the manager: GetCertificate,
// NextProtos for HTTP/2, HTTP/1.1 and tls-alpn-01, GetConfigForClient, by which a CA's validation is answered without asking
// it for a client certificate, and WrapSession and UnwrapSession for session tickets. All else is as crypto/tls has it by
// itself, key exchange with post-quantum cryptography too.
//
// A client can resume its session with any server that has such a configuration of the same manager, which makes a
// new ticket key each day and accepts those of the last week; with Config.SharedTickets, with any such server of all
// managers on the storage. A configuration with ClientAuth set shares no sessions: it and
// its clones have keys of their own, as crypto/tls makes them. So do those with SetSessionTicketKeys, if it is called before the
// configuration is used. Both are to be set in the configuration itself: a clone for which other keys are set needs
// WrapSession and UnwrapSession set to nil.
func (m *Manager) TLSConfig() *tls.Config {
	m.proving.joined.Store(true)
	config := &tls.Config{
		GetCertificate: m.GetCertificate,
		NextProtos:     []string{"h2", "http/1.1", ALPNProto},
	}
	m.answerChallenges(config)
	m.tickets.share(config)
	return config
}

// GetCertificate is for tls.Config.GetCertificate. It returns the certificate for the name that the
// client asks for, or the answer to a CA's tls-alpn-01 validation, for which the tls.Config must have
// [ALPNProto] in NextProtos. Its Leaf is nil, which spares memory and which a server never reads: who wants to have it
// parses Certificate[0]. Its PrivateKey is a [crypto.Signer], and of no type that can be relied on.
//
// For a managed name that has no certificate yet it returns what Config.Fallback has, or else an error that says why. For a
// name that is not managed it asks Config.OnDemand, if set, and waits for the certificate, unless Config.Fallback has one;
// without either, or if the name is not to have a certificate, it returns nil, nil, so that the certificates of the
// tls.Config are used, or else the client is told that the name is not recognized.
func (m *Manager) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if m.store == nil {
		return nil, errNotMade
	}
	if hello == nil {
		return nil, errors.New("certmanager: GetCertificate was called without a ClientHelloInfo")
	}
	certificate, outcome, err := m.certificateFor(hello)
	if err != nil && outcome != outcomeNone {
		outcome = outcomeFailed
	}
	m.counters.handshakes.Add(outcome, hello)
	return certificate, err
}

// isServed reports whether some server may have the manager's certificates, as far as the manager knows: a tls.Config of its
// was handed out, a handshake came, or other members of the fleet are those that serve.
func (m *Manager) isServed() bool {
	if m.config.Role == RoleRenew || m.proving.joined.Load() {
		return true
	}
	for i := range outcomes() {
		if m.counters.handshakes.Count(uint8(i)) > 0 {
			return true
		}
	}
	return false
}

// certificateFor is GetCertificate, and says what came of it unless that is an error.
func (m *Manager) certificateFor(hello *tls.ClientHelloInfo) (c *tls.Certificate, outcome uint8, err error) {
	if solver.IsChallenge(hello) {
		c, err = m.proving.tlsALPN01.GetCertificate(hello)
		return c, outcomeChallenge, err
	}
	if m.config.Role == RoleRenew {
		return nil, outcomeUnknown, nil
	}
	f := m.catalogue.front(hello.ServerName)
	if c = f.certificateFor(hello); c == nil {
		c, err = m.handshakes.missing(hello, f)
	}
	if c == nil {
		var again bool
		switch c, again = m.fallback.certificateFor(hello); {
		case again:
			return nil, outcomeNone, err
		case c == nil:
			return nil, outcomeUnknown, err
		}
		err = errFellBack
	}
	if err == errFellBack {
		outcome = outcomeFallback
	}
	c, err = openFor(hello, c)
	return c, outcome, err
}

// localAddress returns the IP address that the client called, or "".
func localAddress(conn net.Conn) string {
	if conn == nil {
		return ""
	}
	addr, err := netip.ParseAddrPort(conn.LocalAddr().String())
	if err != nil {
		return ""
	}
	return addr.Addr().Unmap().WithZone("").String()
}

// remoteAddress returns the address of the client; zero: it is not known.
func remoteAddress(conn net.Conn) netip.AddrPort {
	if conn == nil || conn.RemoteAddr() == nil {
		return netip.AddrPort{}
	}
	addr, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
}

// lowerASCII returns s with the letters A to Z in lower case, the only ones that domain names have.
func lowerASCII(s string) string {
	for i := range len(s) {
		if 'A' <= s[i] && s[i] <= 'Z' {
			lower := []byte(s)
			for ; i < len(lower); i++ {
				if 'A' <= lower[i] && lower[i] <= 'Z' {
					lower[i] += 'a' - 'A'
				}
			}
			return string(lower)
		}
	}
	return s
}
