package diagnose

import (
	"errors"
	"net"
	"net/netip"
	"testing"
)

func TestCheckRedirectAddress(t *testing.T) {
	for _, test := range []struct {
		from, to        string
		public, private bool // whether it may be followed for a CA on the Internet, and on a private network
	}{
		{"192.0.2.1", "192.0.2.2", true, true},
		{"10.0.0.1", "192.0.2.2", true, true},
		{"192.0.2.1", "10.0.0.1", false, true},
		{"10.0.0.1", "10.0.0.2", false, true},
		{"127.0.0.1", "127.0.0.2", false, true},
		{"127.0.0.1", "169.254.1.1", false, true},
		{"169.254.1.1", "127.0.0.1", false, false},
		{"10.0.0.1", "127.0.0.1", false, false},
		{"192.0.2.1", "127.0.0.1", false, false},
		{"192.0.2.1", "169.254.169.254", false, false},
		{"127.0.0.1", "224.0.0.1", false, false},
		{"127.0.0.1", "255.255.255.255", false, false},
	} {
		for _, private := range []bool{false, true} {
			err := checkRedirectAddress(netip.MustParseAddr(test.from), netip.MustParseAddr(test.to), func() (bool, error) { return private, nil })
			want := map[bool]bool{false: test.public, true: test.private}[private]
			if (err == nil) != want {
				t.Errorf("from %s to %s, private %v: %v", test.from, test.to, private, err)
			}
		}
	}
}

// A check without a Dial of its own does not connect to where nothing must be asked.
func TestConnectByNameKeepsOut(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	host, port, _ := net.SplitHostPort(ln.Addr().String())
	connect := connectByName(nil, func() (bool, error) { return false, nil })
	for _, from := range []string{"192.0.2.1", "10.0.0.1", "169.254.1.1"} {
		conn, _, err := connect(t.Context(), host, port, netip.MustParseAddr(from))
		if err == nil {
			conn.Close()
			t.Fatalf("a redirect from %s led to loopback", from)
		}
		if _, ok := errors.AsType[*notFollowedError](err); !ok {
			t.Errorf("a redirect from %s: %v", from, err)
		}
	}
	if conn, _, err := connect(t.Context(), host, port, netip.Addr{}); err == nil {
		conn.Close()
		t.Error("loopback was asked for a CA on the Internet")
	}
	connect = connectByName(nil, func() (bool, error) { return true, nil })
	for _, from := range []netip.Addr{{}, netip.MustParseAddr("127.0.0.2")} {
		conn, at, err := connect(t.Context(), host, port, from)
		if err != nil {
			t.Fatalf("from %v: %v", from, err)
		}
		conn.Close()
		if at.String() != ln.Addr().String() {
			t.Errorf("connected to %v, want %v", at, ln.Addr())
		}
	}
}
