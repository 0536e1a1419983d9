package dnsclient

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"

	"golang.org/x/net/dns/dnsmessage"
)

// Addresses returns the addresses of a host, IPv6 first, as CAs try them. If there are none, the error
// wraps a *net.DNSError with IsNotFound set; if only one of A and AAAA can be had, that one is enough.
func (c *Client) Addresses(ctx context.Context, host string) ([]netip.Addr, error) {
	types := [...]dnsmessage.Type{dnsmessage.TypeAAAA, dnsmessage.TypeA}
	var found [len(types)][]netip.Addr
	var errs [len(types)]error
	var asking sync.WaitGroup
	for i, qtype := range types {
		asking.Go(func() {
			r, err := c.Resolve(ctx, host, qtype)
			if err != nil {
				errs[i] = err
				return
			}
			found[i] = r.Addresses(host)
		})
	}
	asking.Wait()
	if all := append(found[0], found[1]...); len(all) > 0 {
		return all, nil
	}
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return nil, &net.DNSError{
		Err: "no address in DNS", Name: fmt.Sprintf("%.260q", BareName(host)), IsNotFound: true,
	}
}
