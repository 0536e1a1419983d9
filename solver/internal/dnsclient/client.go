package dnsclient

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/everseal/everseal/solver/internal/reach"
)

// Settings say how to ask the Domain Name System. They are those of solver.DNS, which tells what the fields are.
type Settings struct {
	Resolvers []string
	Dial      func(ctx context.Context, network, address string) (net.Conn, error)
	Private   bool
}

// A Client asks the Domain Name System during one call of a package, within the bounds of that call. It is safe for
// concurrent use.
type Client struct {
	settings Settings
	known    string // the zone of all names in it; empty: zones are found by their SOA records
	call     *call
}

// New returns a client for one call on behalf of the CA at a directory; ctx is the call's. Nil settings are
// zero ones.
func New(ctx context.Context, s *Settings, directory string) *Client {
	c := new(Client)
	if s != nil {
		c.settings = *s
	}
	locate := func() (bool, error) { return c.isPrivateCA(ctx, directory) }
	c.call = &call{
		private: c.settings.Private,
		located: sync.OnceValues(locate),
		locate:  locate,
		sockets: make(chan struct{}, maxSockets),
		targets: &targets{known: make(map[netip.AddrPort]bool)},
		packets: &packets{begun: time.Now()},
		answers: &answers{known: make(map[Query]*Reply)},
	}
	return c
}

// InZone returns a client for the same call that takes all names in the zone to be its own, and asks for no SOA
// record of theirs. Empty: none is known.
func (c *Client) InZone(zone string) *Client {
	if zone == "" {
		return c
	}
	next := *c
	next.known = BareName(zone)
	return &next
}

// Fresh returns a client for the same call that remembers no answers of before, but where the CA is.
func (c *Client) Fresh() *Client {
	next, again := *c, *c.call
	again.located = sync.OnceValues(func() (bool, error) {
		if inside, err := c.call.located(); err == nil {
			return inside, nil
		}
		return c.call.locate()
	})
	again.answers = &answers{known: make(map[Query]*Reply)}
	next.call = &again
	return &next
}

// Uncounted returns a client for the same call, for questions of which the number is bounded otherwise.
func (c *Client) Uncounted() *Client {
	next, free := *c, *c.call
	free.packets = nil
	next.call = &free
	return &next
}

// CAIsPrivate returns what reports whether the CA is on a private network. It is, if that is said.
func (c *Client) CAIsPrivate(said bool) reach.PrivateFunc { return c.call.caIsPrivate(said) }

func (c *Client) dial(ctx context.Context, network, address string) (net.Conn, error) {
	return reach.Dialer(c.settings.Dial)(ctx, network, address)
}
