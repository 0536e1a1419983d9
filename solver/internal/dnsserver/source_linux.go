package dnsserver

import (
	"bytes"
	"net"
	"syscall"
)

// tellDestination has the system tell with each datagram to which of the machine's addresses it came. If it does not, answers
// come from the address that the system chooses.
func tellDestination(conn *net.UDPConn) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return
	}
	raw.Control(func(fd uintptr) {
		if syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IPV6, syscall.IPV6_RECVPKTINFO, 1) != nil { // it is one for IPv4 alone
			syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IP, syscall.IP_PKTINFO, 1)
		}
	})
}

// destinationAsSource returns what has an answer come from where the question went to, or nil if the control message does not
// tell. It is the same message, but for the number of the interface: by which way an answer goes the system knows.
func destinationAsSource(control []byte) []byte {
	messages, err := syscall.ParseSocketControlMessage(control)
	if err != nil || len(messages) != 1 {
		return nil
	}
	const interfaceLength = 4
	at := 0 // of struct in_pktinfo
	switch m := messages[0]; {
	case m.Header.Level == syscall.IPPROTO_IP && m.Header.Type == syscall.IP_PKTINFO && len(m.Data) == syscall.SizeofInet4Pktinfo:
	case m.Header.Level == syscall.IPPROTO_IPV6 && m.Header.Type == syscall.IPV6_PKTINFO && len(m.Data) == syscall.SizeofInet6Pktinfo:
		at = 16
	default:
		return nil
	}
	source := bytes.Clone(control)
	at += syscall.CmsgLen(0)
	copy(source[at:at+interfaceLength], make([]byte, interfaceLength))
	return source
}
