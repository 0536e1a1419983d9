package reach

import (
	"net/netip"
	"testing"
)

func TestScopeOf(t *testing.T) {
	for text, want := range map[string]Scope{
		"127.0.0.1": Host, "127.255.0.3": Host, "::1": Host, "0.0.0.0": Host, "0.1.2.3": Host, "::": Host,
		"::ffff:127.0.0.1": Host, "64:ff9b::7f00:1": Host,
		"169.254.169.254": Link, "fe80::1": Link, "fe80::1%eth0": Link, "224.0.0.1": Link, "ff02::1": Link,
		"255.255.255.255": Link, "64:ff9b::a9fe:a9fe": Link, "168.63.129.16": Link, "168.63.129.17": Public,
		"10.0.0.1": Private, "172.31.0.1": Private, "192.168.1.1": Private, "fd00::1": Private,
		"100.64.0.1": Private, "100.127.255.255": Private, "::ffff:10.0.0.1": Private, "64:ff9b::a00:1": Private,
		"::ffff:0:127.0.0.1": Host, "::ffff:0:a00:1": Private, "2002:a9fe:a9fe::1": Link,
		"2001:0:c000:201:0:0:80ff:fffe": Host, "2001:0:c000:201::5601:5601": Link, "2001:0:c000:201::39cc:9bfe": Public,
		"172.32.0.1": Public, "100.63.255.255": Public, "100.128.0.0": Public, "198.51.100.1": Public,
		"2001:db8::1": Public, "64:ff9b::c633:6401": Public,
	} {
		if got := ScopeOf(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s is %s, want %s", text, got, want)
		}
	}
}

// Addresses that are no part of the Internet are none that a redirect from there may lead to.
func TestScope(t *testing.T) {
	for text, want := range map[string]Scope{
		"192.0.0.192": Link, "198.18.0.1": Private, "240.0.0.1": Private, "64:ff9b:1::a9fe:a9fe": Private,
		"2002:7f00:1::1": Host, "fec0::1": Private, "::127.0.0.1": Host,
	} {
		if got := ScopeOf(netip.MustParseAddr(text)); got > want {
			t.Errorf("%s is %s", text, got)
		}
	}
}
