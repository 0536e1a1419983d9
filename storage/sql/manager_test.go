package sql

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/everseal/everseal/acme/acmetest"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/internal/server"
)

// childManage is a server with a manager, whose certificates are in a database. It prints its address, and then each
// certificate that it serves.
func childManage(ctx context.Context, arguments []string) error {
	ctx, cancel := whileParentLives(ctx)
	defer cancel()
	s, end, err := openAny(ctx, arguments)
	if err != nil {
		return err
	}
	defer end()
	config, err := managerConfig(s, arguments)
	if err != nil {
		return err
	}
	m, err := certmanager.New(config)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr())
	go http.Serve(m.Listener(listener), http.NotFoundHandler())
	return m.Run(ctx)
}

// managerConfig returns the configuration of a manager by the arguments of a child: where the store is (see openAny), the
// CA's directory, a file with its root, and the names.
func managerConfig(s storage.Store, arguments []string) (config certmanager.Config, err error) {
	trusted := x509.NewCertPool()
	root, err := os.ReadFile(arguments[3])
	if err != nil || !trusted.AppendCertsFromPEM(root) {
		return config, fmt.Errorf("the root: %w", err)
	}
	return certmanager.Config{
		Names:        strings.Split(arguments[4], ","),
		Issuers:      []certmanager.Issuer{&certmanager.ACME{DirectoryURL: arguments[2], HTTPClient: &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted}}}}},
		AgreeToTerms: true,
		Preflight:    certmanager.PreflightOff, // the names are in no DNS but the CA's
		Storage:      s,
		Workers:      16,
		Logger:       slog.New(slog.NewTextHandler(os.Stderr, nil)),
		OnEvent: func(e certmanager.Event) {
			if e.Kind == certmanager.EventObtained || e.Kind == certmanager.EventLoaded {
				fmt.Println(e.Kind, e.Serial)
			}
		},
	}, nil
}

// openAny opens a store by its URL, that of a database, or one of the scheme "dir" for a storage.Dir, and its table. A sixth
// argument is a folder that tells which processes are dead.
func openAny(ctx context.Context, arguments []string) (s storage.Store, end func() error, err error) {
	end = func() error { return nil }
	if folder, ok := strings.CutPrefix(arguments[0], "dir:"); ok {
		s = storage.Dir(folder)
	} else {
		d, err := Open(ctx, arguments[0], Config{Table: arguments[1]})
		if err != nil {
			return nil, nil, err
		}
		s, end = d, d.Close
	}
	if len(arguments) > 5 {
		s = marked{s, storage.Dir(arguments[5])}
	}
	return s, end, nil
}

// A fleet is some processes with managers, before which a balancer leads each connection to the next of them.
type fleet struct {
	ca        *acmetest.Server
	target    target
	names     []string
	arguments []string
	balancer  net.Listener

	mu        sync.Mutex
	changed   *sync.Cond // on mu
	addresses []string   // guarded by mu; while there are none, the CA waits
	turn      int        // guarded by mu
	ended     bool       // guarded by mu
}

func newFleet(t *testing.T, d target, names ...string) *fleet {
	t.Helper()
	ca := acmetest.NewServer()
	t.Cleanup(ca.Close)
	root := filepath.Join(t.TempDir(), "root.pem")
	if err := os.WriteFile(root, ca.RootPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	balancer, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		ca.SetHost(name, balancer.Addr().String())
	}
	f := &fleet{ca: ca, target: d, names: names, balancer: balancer}
	f.changed = sync.NewCond(&f.mu)
	f.arguments = []string{d.url, d.table, ca.URL, root, strings.Join(names, ",")}
	var tasks sync.WaitGroup
	tasks.Go(func() {
		for {
			client, err := balancer.Accept()
			if err != nil {
				return
			}
			tasks.Go(func() { pass(client, f.next()) })
		}
	})
	t.Cleanup(func() {
		_ = balancer.Close()
		f.mu.Lock()
		f.ended = true
		f.changed.Broadcast()
		f.mu.Unlock()
		tasks.Wait()
	})
	return f
}

func (f *fleet) next() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.addresses) == 0 && !f.ended {
		f.changed.Wait()
	}
	if len(f.addresses) == 0 {
		return ""
	}
	f.turn++
	return f.addresses[f.turn%len(f.addresses)]
}

// lead tells the balancer who is there.
func (f *fleet) lead(addresses ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.addresses = addresses
	f.changed.Broadcast()
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

// A member is one process of a fleet.
type member struct {
	*child
	address string
}

func (f *fleet) start(t *testing.T) member {
	t.Helper()
	c := startChild(t, "manage", f.arguments...)
	return member{c, c.line(t)}
}

// wantServed waits until the member has a certificate for each name, of which there is one from the CA.
func (f *fleet) wantServed(t *testing.T, m member) {
	t.Helper()
	for range f.names {
		m.line(t)
	}
	for _, name := range f.names {
		dialer := tls.Dialer{Config: &tls.Config{RootCAs: f.ca.Roots(), ServerName: name}}
		conn, err := dialer.DialContext(t.Context(), "tcp", m.address)
		if err != nil {
			t.Fatal(err)
		}
		served := hex.EncodeToString(conn.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber.Bytes())
		_ = conn.Close()
		var issued []string
		for _, certificate := range f.ca.Certificates() {
			if certificate.VerifyHostname(name) == nil {
				issued = append(issued, hex.EncodeToString(certificate.SerialNumber.Bytes()))
			}
		}
		if len(issued) != 1 || issued[0] != served {
			t.Errorf("%s is served with %s, and the CA has issued %s", name, served, issued)
		}
	}
	if orders := len(f.ca.Orders()); orders != len(f.names) {
		t.Errorf("there were %d orders for %d certificates", orders, len(f.names))
	}
}

// Three processes behind a balancer, each of the CA's connections to another one of them.
func TestFleetOnPostgres(t *testing.T) {
	f := newFleet(t, newPostgresTarget(t), "one.example.com", "two.example.com", "three.example.com", "four.example.com")
	members := []member{f.start(t), f.start(t), f.start(t)}
	f.lead(members[0].address, members[1].address, members[2].address)
	for _, m := range members {
		f.wantServed(t, m)
	}
}

// A process is killed when the CA has issued a certificate that it has not heard of yet. Another one, which finds the
// work in the database once the lease has run out, fetches it and orders nothing.
func TestManagerKilledWhileOrdering(t *testing.T) {
	if raceDetector || testing.Short() {
		t.Skip("it waits for a lease of a minute")
	}
	t.Parallel() // with the other tests that mostly wait
	fleets := make(map[string]*fleet)
	for _, kind := range kinds {
		fleets[kind.name] = newFleet(t, kind.target(t), "www.example.com")
	}
	for name, f := range fleets {
		f.ca.SetFaults(acmetest.On("finalize", acmetest.DelayAnswer(time.Hour)))
		one := f.start(t)
		f.lead(one.address)
		ctx, cancel := context.WithTimeout(t.Context(), server.Patience)
		defer cancel()
		for len(f.ca.Certificates()) == 0 {
			if ctx.Err() != nil {
				t.Fatalf("%s: the CA has issued nothing", name)
			}
			runtime.Gosched()
		}
		one.kill()
		f.ca.SetFaults()
	}
	others := make(map[string]member)
	for name, f := range fleets {
		others[name] = f.start(t)
		f.lead(others[name].address)
	}
	for name, f := range fleets {
		select { // the term, and how often it is looked at
		case line, ok := <-others[name].lines:
			if !ok {
				t.Fatalf("%s: the other has ended", name)
			}
			others[name].lines <- line
		case <-time.After(3 * server.Patience):
			t.Fatalf("%s: the other does not go on", name)
		}
		f.wantServed(t, others[name])
	}
}
