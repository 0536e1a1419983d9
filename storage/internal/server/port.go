package server

import (
	"cmp"
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// FreePort returns a port of 127.0.0.1 that nobody listens on. It is below those that systems give to clients: none of them
// takes it until the server does, or while it is started again; and so is the port 10,000 above it, by which the nodes of a
// cluster of Redis speak to each other. No port is given twice: who has one may listen on it later.
func FreePort() (string, error) {
	const first, count = 12_000, 10_000
	var err error
	for range 100 {
		var listener net.Listener
		port := strconv.Itoa(first + rand.IntN(count))
		if _, taken := given.LoadOrStore(port, true); taken {
			continue
		}
		if listener, err = net.Listen("tcp", net.JoinHostPort("127.0.0.1", port)); err == nil {
			return port, listener.Close()
		}
	}
	return "", cmp.Or(err, errNoPort)
}

// given are the ports that FreePort has tried.
var given sync.Map

var errNoPort = errors.New("no port is free")
