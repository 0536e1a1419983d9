package main

import (
	"cmp"
	"errors"
	"net"

	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/solver/libdns"
	"github.com/libdns/rfc2136"
)

// newRFC2136 returns a provider for zones on a server that takes dynamic updates, such as BIND or Knot. Its key
// is made by tsig-keygen; what it may change is said in the server's configuration (BIND: update-policy).
func newRFC2136(getenv func(string) string) (solver.Provider, error) {
	server, key, secret := getenv("RFC2136_NAMESERVER"), getenv("RFC2136_TSIG_KEY"), getenv("RFC2136_TSIG_SECRET")
	if server == "" || key == "" || secret == "" {
		return nil, errors.New("set RFC2136_NAMESERVER to the DNS server's address, RFC2136_TSIG_KEY to the name of a key and RFC2136_TSIG_SECRET to the key in base64")
	}
	if _, _, err := net.SplitHostPort(server); err != nil {
		server = net.JoinHostPort(server, "53")
	}
	return libdns.New(&rfc2136.Provider{
		Server:  server,
		KeyName: key,
		KeyAlg:  cmp.Or(getenv("RFC2136_TSIG_ALGORITHM"), "hmac-sha256"),
		Key:     secret,
	}), nil
}
