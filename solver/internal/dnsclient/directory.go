package dnsclient

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/everseal/everseal/solver/internal/reach"
)

// directoryTimeout is for looking up where a CA is.
const directoryTimeout = 3 * time.Second

// isPrivateCA reports whether the URL of a CA's directory leads to a private network, or to this machine. Of a CA that
// has no address nothing is assumec. The error is an *unplacedError.
func (c *Client) isPrivateCA(ctx context.Context, directory string) (bool, error) {
	u, err := url.Parse(directory)
	if err != nil || u.Hostname() == "" {
		return false, nil
	}
	host := BareName(u.Hostname())
	if host == "localhost" || strings.HasSuffix(host, ".localhost") { // RFC 6761 §6.3
		return true, nil
	}
	addr, err := netip.ParseAddr(host)
	addrs := []netip.Addr{addr}
	if err != nil {
		if addrs, err = c.directoryAddresses(ctx, host); err != nil {
			if cause, ok := errors.AsType[*net.DNSError](err); ok && cause.IsNotFound {
				return false, nil
			}
			return false, &reach.UnlocatedError{Err: err}
		}
	}
	return slices.ContainsFunc(addrs, reach.IsInside), nil
}

// directoryAddresses looks up where a CA's directory is: as whoever calls the CA does, who knows also names that are this
// machine's or short, unless Dial leads elsewhere; else in the DNS.
func (c *Client) directoryAddresses(ctx context.Context, host string) ([]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, directoryTimeout)
	defer cancel()
	if c.settings.Dial == nil {
		if addrs, err := new(net.Resolver).LookupNetIP(ctx, "ip", host); err == nil {
			return addrs, nil
		}
	}
	return c.Addresses(ctx, host)
}
