package solver

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
)

// A network is where a client calls from, as narrow as one who makes addresses up can't choose freely: the /24
// of an IPv4 address, the /64 of an IPv6 address. Zero stands for all that have neither, as on a Unix socket.
type network uint64

// networkOf returns the network of an address with or without a port.
func networkOf(address string) network {
	if !strings.ContainsAny(address, ".:") {
		return 0 // "@", "pipe": no error to be made
	}
	if ap, err := netip.ParseAddrPort(address); err == nil {
		return networkOfIP(ap.Addr())
	}
	ip, _ := netip.ParseAddr(address) // some handlers put one in place of a proxy's address
	return networkOfIP(ip)
}

// networkOfConn returns the network of the client of a connection, which may be nil.
func networkOfConn(conn net.Conn) network {
	if conn == nil {
		return 0
	}
	switch address := conn.RemoteAddr().(type) {
	case nil:
		return 0
	case *net.TCPAddr:
		return networkOfIP(address.AddrPort().Addr())
	default:
		return networkOf(address.String())
	}
}

func networkOfIP(ip netip.Addr) network {
	switch ip = ip.Unmap(); {
	case ip.Is4():
		bytes := ip.As4()
		return 0xffff<<32 | network(binary.BigEndian.Uint32(bytes[:])&^0xff)
	case ip.Is6():
		bytes := ip.As16()
		return network(binary.BigEndian.Uint64(bytes[:]))
	}
	return 0
}
