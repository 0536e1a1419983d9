package main

import (
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// A balancer leads TCP connections to the members in turn, and past those that take none. It neither sees what is said nor
// has any certificate.
type balancer struct {
	members []string // their addresses
	turn    atomic.Uint64
}

// serve takes connections until ctx ends. Those that there are by then end with their members.
func (b *balancer) serve(ctx context.Context, listener net.Listener) error {
	defer context.AfterFunc(ctx, func() { _ = listener.Close() })()
	for {
		client, err := listener.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		go b.lead(client)
	}
}

// lead leads one connection.
func (b *balancer) lead(client net.Conn) {
	defer client.Close()
	first := b.turn.Add(1)
	for i := range uint64(len(b.members)) {
		server, err := net.Dial("tcp", b.members[(first+i)%uint64(len(b.members))])
		if err != nil {
			continue
		}
		defer server.Close()
		var ways sync.WaitGroup
		for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
			ways.Go(func() {
				_, _ = io.Copy(way[1], way[0])
				_ = way[1].(*net.TCPConn).CloseWrite()
			})
		}
		ways.Wait()
		return
	}
}
