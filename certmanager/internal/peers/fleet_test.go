package peers

import (
	"io"
	"net"
	"slices"
	"sync"
	"testing"

	"github.com/everseal/everseal/acme"
)

// A balancer leads each connection to the next of its servers in turn.
type balancer struct {
	net.Listener
	servers []string
	mu      sync.Mutex
	led     []int // how many connections were led to each
}

func startBalancer(t *testing.T, servers []string) *balancer {
	b := &balancer{Listener: listen(t), servers: servers, led: make([]int, len(servers))}
	var tasks sync.WaitGroup
	tasks.Go(func() {
		for turn := 0; ; turn = (turn + 1) % len(servers) {
			client, err := b.Accept()
			if err != nil {
				return
			}
			b.mu.Lock()
			b.led[turn]++
			b.mu.Unlock()
			tasks.Go(func() { pass(client, servers[turn]) })
		}
	})
	t.Cleanup(func() {
		_ = b.Close()
		tasks.Wait()
	})
	return b
}

// pass connects a client to a server until one of them hangs up.
func pass(client net.Conn, address string) {
	defer client.Close()
	server, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	var ways sync.WaitGroup
	defer ways.Wait()
	defer server.Close()
	ways.Go(func() {
		_, _ = io.Copy(server, client)
		_ = server.Close()
	})
	_, _ = io.Copy(client, server)
	_ = client.Close()
}

// connections returns how many were led to each server.
func (b *balancer) connections() []int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.led)
}

// A fleet is some servers, in processes of their own, that share a storage. The CA's connections reach one of them in
// turn.
type fleet struct {
	members []*child
	*balancer
}

// startFleet starts a fleet whose members answer challenges of the type. The CA answers nothing before all are there.
func startFleet(t *testing.T, p *pebble, challenge string, members int, names []string) *fleet {
	t.Helper()
	all := make(chan struct{})
	complete := sync.OnceFunc(func() { close(all) })
	t.Cleanup(complete)
	p.traffic.divert(func(_ int, serve func()) {
		<-all
		serve()
	})
	config := childConfig{
		Directory: p.directory,
		Trust:     p.front.Certificate().Raw,
		Storage:   t.TempDir(),
		Name:      names[0],
		Others:    names[1:],
	}
	asked, unasked := p.tls, p.http
	if challenge == acme.TypeHTTP01 {
		config.HTTP01 = true
		asked, unasked = p.http, p.tls
	}
	f := new(fleet)
	var addresses []string
	for range members {
		c := startChild(t, p, config)
		t.Cleanup(func() { c.kill(t) })
		f.members = append(f.members, c)
		if challenge == acme.TypeHTTP01 {
			addresses = append(addresses, c.plain)
		} else {
			addresses = append(addresses, c.address)
		}
	}
	f.balancer = startBalancer(t, addresses)
	for _, port := range []*relay{asked, unasked} {
		port.direct.Store(true) // who reaches the wrong member is not led to another
	}
	asked.lead(f.Addr().String())
	unasked.lead("")
	complete()
	return f
}

// Three processes share a storage behind a balancer. Whichever of them orders, each of the CA's looks at a name, of which
// there are three, meets another one of them. In the end all of them serve every certificate.
func TestFleet(t *testing.T) {
	const members = 3
	names := []string{"one.example.test", "two.example.test", "three.example.test", "four.example.test"}
	for _, challenge := range []string{acme.TypeHTTP01, acme.TypeTLSALPN01} {
		t.Run(challenge, func(t *testing.T) {
			p := startPebble(t, pebbleSettings{})
			f := startFleet(t, p, challenge, members, names)
			for i, member := range f.members {
				for range names {
					member.says(t, "serial")
				}
				for _, name := range names {
					leaf, err := handshake(within(t), p, member.address, name)
					if err != nil {
						t.Fatalf("member %d: %v", i, err)
					}
					if issued := p.certificates(name); len(issued) != 1 || serial(issued[0]) != serial(leaf) {
						t.Errorf("member %d serves %s for %s, of which the CA has issued %d", i, serial(leaf), name, len(issued))
					}
				}
			}
			p.wants(t, len(names), len(names))
			if n := p.accounts(); n != 1 {
				t.Errorf("the CA has %d accounts, want 1 for the storage", n)
			}
			for i, n := range f.connections() {
				if n < len(names) {
					t.Errorf("member %d was asked %d times for %d names", i, n, len(names))
				}
			}
		})
	}
}
