package stepca

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"slices"
	"sync"
	"syscall"

	"github.com/everseal/everseal/solver"
)

// A network is what the CA sees of the world when it validates. It is the interface that step-ca asks.
type network struct {
	mu            sync.Mutex
	plain, secure string              // the servers at its ports 80 and 443; empty: connections are refused
	txt           map[string][]string // TXT records by name
}

// lead has the ports lead to other servers from now on.
func (n *network) lead(plain, secure string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.plain, n.secure = plain, secure
}

// dial connects to the server that the port of the address leads to, whatever the host.
func (n *network) dial(ctx context.Context, network, address string) (net.Conn, error) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	server := map[string]string{"80": n.plain, "443": n.secure}[port]
	n.mu.Unlock()
	if server == "" {
		return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
	}
	return new(net.Dialer).DialContext(ctx, network, server)
}

// Get is how step-ca looks for the answer to http-01.
func (n *network) Get(url string) (*http.Response, error) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: n.dial}}
	return client.Get(url)
}

// TLSDial is how step-ca looks for the answer to tls-alpn-01.
func (n *network) TLSDial(network, address string, config *tls.Config) (*tls.Conn, error) {
	conn, err := n.dial(context.Background(), network, address)
	if err != nil {
		return nil, err
	}
	secure := tls.Client(conn, config)
	if err := secure.Handshake(); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return secure, nil
}

// LookupTxt is how step-ca looks for the answer to dns-01.
func (n *network) LookupTxt(name string) ([]string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.txt[name]) == 0 {
		return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	return slices.Clone(n.txt[name]), nil
}

// records returns how many TXT records there are.
func (n *network) records() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.txt)
}

// zone is the one that all names of the tests are in.
const zone = "test"

// dns01 is the solver whose records the network sees at once. There is no DNS server to ask for zones or records.
func (n *network) dns01() *solver.DNS01 {
	return &solver.DNS01{Provider: n, Zone: zone, Propagation: solver.Propagation{Off: true}}
}

// AppendRecord adds the record. A network is the provider of its zone.
func (n *network) AppendRecord(_ context.Context, r solver.Record) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.txt == nil {
		n.txt = make(map[string][]string)
	}
	if !slices.Contains(n.txt[r.Name], r.Value) {
		n.txt[r.Name] = append(n.txt[r.Name], r.Value)
	}
	return nil
}

// DeleteRecord removes the record and leaves others at its name.
func (n *network) DeleteRecord(_ context.Context, r solver.Record) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	rest := slices.DeleteFunc(n.txt[r.Name], func(value string) bool { return value == r.Value })
	if n.txt[r.Name] = rest; len(rest) == 0 {
		delete(n.txt, r.Name)
	}
	return nil
}
