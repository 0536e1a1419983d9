package dnsserver

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

const (
	maxRatio = 5 // times as long as its question an answer over UDP may be

	answerInterval = 10 * time.Millisecond // between two answers to a network over UDP, in the long run
	answerBurst    = 500                   // at once: some for each name of an order, of several orders
	networkSlots   = 4096

	maxWaiting = 1024 // questions over UDP that wait for records

	maxConnections        = 256
	maxNetworkConnections = 32
	maxPipelined          = 16               // questions of a connection that wait for records
	idleTimeout           = 5 * time.Second  // for the next question of a connection to come, wholly
	writeTimeout          = 5 * time.Second  // for an answer to be taken
	connectionTimeout     = 30 * time.Second // for all that a connection does
)

// networkOf returns where an address is, as narrow as one who makes addresses up can't choose freely: its /24, or its /64.
func networkOf(address netip.Addr) netip.Prefix {
	address = address.Unmap()
	bits := 64
	if address.Is4() {
		bits = 24
	}
	network, _ := address.WithZone("").Prefix(bits) // zero for what is no address
	return network
}

// A rateLimit bounds the answers to each network: a burst, and after that one in each interval. It needs the same memory for
// any number of networks: some share a slot, and which ones nobody else can know. If so many ask that all slots are used up,
// everybody is told to come by TCP.
type rateLimit struct {
	mu    sync.Mutex // guards what follows
	seed  maphash.Seed
	slots []time.Duration // when all of the burst will be there again, since start
	start time.Time
}

// allow reports whether there may be one more answer.
func (l *rateLimit) allow(network netip.Prefix) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.slots == nil {
		l.seed, l.slots, l.start = maphash.MakeSeed(), make([]time.Duration, networkSlots), time.Now()
	}
	used := &l.slots[maphash.Comparable(l.seed, network)%networkSlots]
	now := time.Since(l.start)
	if *used-now > (answerBurst-1)*answerInterval {
		return false
	}
	*used = max(*used, now) + answerInterval
	return true
}

// connections bounds those that are open.
type connections struct {
	mu    sync.Mutex // guards what follows
	total int
	by    map[netip.Prefix]int
}

// admit reports whether there may be one more, which is then to be released.
func (c *connections) admit(network netip.Prefix) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.total >= maxConnections || c.by[network] >= maxNetworkConnections {
		return false
	}
	if c.by == nil {
		c.by = make(map[netip.Prefix]int)
	}
	c.total++
	c.by[network]++
	return true
}

func (c *connections) release(network netip.Prefix) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total--
	if c.by[network]--; c.by[network] == 0 {
		delete(c.by, network)
	}
}
