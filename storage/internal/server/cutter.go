package server

import (
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// A Cutter leads connections to a server and cuts each after some bytes, of which nobody knows how many.
type Cutter struct {
	listener net.Listener
	server   string
	cuts     atomic.Int64
	whole    atomic.Bool
	refusing atomic.Bool
	most     atomic.Int64
	tasks    sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]struct{} // guarded by mu
}

// NewCutter starts one before the server at the address, until the test ends.
func NewCutter(t testing.TB, server string) *Cutter {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &Cutter{listener: listener, server: server, conns: make(map[net.Conn]struct{})}
	c.most.Store(60_000)
	c.tasks.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			c.tasks.Go(func() { c.lead(client) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		c.Cut()
		c.tasks.Wait()
	})
	return c
}

// Address returns where the cutter listens.
func (c *Cutter) Address() string { return c.listener.Addr().String() }

// Cuts returns how many connections it has cut.
func (c *Cutter) Cuts() int { return int(c.cuts.Load()) }

// CutWithin makes it cut each connection after fewer bytes than these, 60,000 if nothing is said.
func (c *Cutter) CutWithin(bytes int64) { c.most.Store(bytes) }

// LeaveWhole makes it cut no more connections by itself, or again.
func (c *Cutter) LeaveWhole(whole bool) { c.whole.Store(whole) }

// Refuse makes it take no new connections, or take them again: with Cut, the server can't be reached.
func (c *Cutter) Refuse(refuse bool) { c.refusing.Store(refuse) }

// Cut cuts all connections there are.
func (c *Cutter) Cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.conns {
		_ = conn.Close()
	}
}

func (c *Cutter) note(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conns[conn] = struct{}{}
}

func (c *Cutter) forget(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.conns, conn)
}

func (c *Cutter) lead(client net.Conn) {
	c.note(client)
	defer c.forget(client)
	defer client.Close()
	if c.refusing.Load() {
		return
	}
	server, err := net.Dial("tcp", c.server)
	if err != nil {
		return
	}
	var ways sync.WaitGroup
	defer ways.Wait()
	defer server.Close()
	defer client.Close()
	cut := make(chan struct{}, 2)
	for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
		ways.Go(func() {
			for {
				_, err := io.CopyN(way[1], way[0], rand.Int64N(c.most.Load()))
				if err == nil && c.whole.Load() {
					continue
				}
				if err == nil {
					c.cuts.Add(1)
				}
				break
			}
			cut <- struct{}{}
		})
	}
	<-cut
}
