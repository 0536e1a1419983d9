package solver

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
)

func TestScopeOf(t *testing.T) {
	for text, want := range map[string]scope{
		"127.0.0.1": scopeHost, "127.255.0.3": scopeHost, "::1": scopeHost, "0.0.0.0": scopeHost, "0.1.2.3": scopeHost, "::": scopeHost,
		"::ffff:127.0.0.1": scopeHost, "64:ff9b::7f00:1": scopeHost,
		"169.254.169.254": scopeLink, "fe80::1": scopeLink, "fe80::1%eth0": scopeLink, "224.0.0.1": scopeLink, "ff02::1": scopeLink,
		"255.255.255.255": scopeLink, "64:ff9b::a9fe:a9fe": scopeLink, "168.63.129.16": scopeLink, "168.63.129.17": scopePublic,
		"10.0.0.1": scopePrivate, "172.31.0.1": scopePrivate, "192.168.1.1": scopePrivate, "fd00::1": scopePrivate,
		"100.64.0.1": scopePrivate, "100.127.255.255": scopePrivate, "::ffff:10.0.0.1": scopePrivate, "64:ff9b::a00:1": scopePrivate,
		"::ffff:0:127.0.0.1": scopeHost, "::ffff:0:a00:1": scopePrivate, "2002:a9fe:a9fe::1": scopeLink,
		"2001:0:c000:201:0:0:80ff:fffe": scopeHost, "2001:0:c000:201::5601:5601": scopeLink, "2001:0:c000:201::39cc:9bfe": scopePublic,
		"172.32.0.1": scopePublic, "100.63.255.255": scopePublic, "100.128.0.0": scopePublic, "198.51.100.1": scopePublic,
		"2001:db8::1": scopePublic, "64:ff9b::c633:6401": scopePublic,
	} {
		if got := scopeOf(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s is %s, want %s", text, got.words(), want.words())
		}
	}
}

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

// A CA may have a name that this machine alone knows.
func TestIsPrivateCAByTheSystem(t *testing.T) {
	name, err := os.Hostname()
	if err != nil {
		t.Skip(err)
	}
	addrs, err := new(net.Resolver).LookupNetIP(t.Context(), "ip", name)
	if err != nil || scopeOf(addrs[0]) == scopePublic {
		t.Skipf("the name of this machine leads to no address inside: %v, %v", addrs, err)
	}
	resolvers := &DNS{Resolvers: []string{"127.0.0.1:1"}} // nobody has
	if inside, err := resolvers.isPrivateCA(t.Context(), "https://"+name+":9000/acme/acme/directory"); !inside || err != nil {
		t.Errorf("%v, %v", inside, err)
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
