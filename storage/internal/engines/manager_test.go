package engines

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/everseal/everseal/acme/acmetest"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
)

const managedName = "www.example.com"

// childManage is a server with a manager. It listens on the socket that it inherits, which a fleet shares as if there were a
// balancer, and on one of its own. It prints the address of that, and then each certificate that it serves. Its arguments are
// the URL of the storage, the CA's directory, and a file with the CA's root.
func childManage(ctx context.Context, arguments []string) error {
	ctx, cancel := whileParentLives(ctx)
	defer cancel()
	s, closer, err := open(ctx, arguments[0])
	if err != nil {
		return err
	}
	defer closer.Close()
	m, err := newManager(s, arguments[1], arguments[2])
	if err != nil {
		return err
	}
	common, err := net.FileListener(os.NewFile(3, "inherited"))
	if err != nil {
		return err
	}
	own, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(own.Addr())
	for _, listener := range []net.Listener{common, own} {
		go http.Serve(m.Listener(listener), http.NotFoundHandler())
	}
	return m.Run(ctx)
}

func newManager(s storage.Store, directory, rootFile string) (*certmanager.Manager, error) {
	trusted := x509.NewCertPool()
	root, err := os.ReadFile(rootFile)
	if err != nil || !trusted.AppendCertsFromPEM(root) {
		return nil, fmt.Errorf("the root: %w", err)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted}}}
	return certmanager.New(certmanager.Config{
		Names:        []string{managedName},
		Issuers:      []certmanager.Issuer{&certmanager.ACME{DirectoryURL: directory, HTTPClient: client}},
		AgreeToTerms: true,
		Preflight:    certmanager.PreflightOff, // the name is in no DNS but the CA's
		Storage:      s,
		Logger:       slog.New(slog.NewTextHandler(os.Stderr, nil)),
		OnEvent: func(e certmanager.Event) {
			if e.Kind == certmanager.EventObtained || e.Kind == certmanager.EventLoaded {
				fmt.Println(e.Kind, e.Serial)
			}
		},
	})
}

// A fleet is some processes with managers of one name, which share a socket: the kernel leads each connection to one of them.
type fleet struct {
	ca        *acmetest.Server
	socket    *os.File
	arguments []string
}

func newFleet(t *testing.T, url string) *fleet {
	t.Helper()
	ca := acmetest.NewServer()
	t.Cleanup(ca.Close)
	root := filepath.Join(t.TempDir(), "root.pem")
	if err := os.WriteFile(root, ca.RootPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	ca.SetHost(managedName, listener.Addr().String())
	socket, err := listener.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = socket.Close() })
	return &fleet{ca, socket, []string{url, ca.URL, root}}
}

// A member is one process of a fleet.
type member struct {
	*child
	address string
}

func (f *fleet) start(t *testing.T) member {
	t.Helper()
	c := startChild(t, "manage", f.arguments, f.socket)
	return member{c, c.line(t)}
}

// wantServed waits until the member has a certificate, which is the only one that the CA has issued.
func (f *fleet) wantServed(t *testing.T, m member) {
	t.Helper()
	m.line(t)
	dialer := tls.Dialer{Config: &tls.Config{RootCAs: f.ca.Roots(), ServerName: managedName}}
	conn, err := dialer.DialContext(t.Context(), "tcp", m.address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	served := hex.EncodeToString(conn.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber.Bytes())
	var issued []string
	for _, certificate := range f.ca.Certificates() {
		issued = append(issued, hex.EncodeToString(certificate.SerialNumber.Bytes()))
	}
	if len(issued) != 1 || issued[0] != served {
		t.Errorf("served is %s, and the CA has issued %s", served, issued)
	}
	if orders := len(f.ca.Orders()); orders != 1 {
		t.Errorf("there were %d orders for one certificate", orders)
	}
}

// Two processes have one certificate by one order. One is killed: the other serves on. Started again, it orders nothing; nor
// do both when all were away.
func TestManagers(t *testing.T) {
	eachEngine(t, func(t *testing.T, p place) {
		f := newFleet(t, p.url)
		one, two := f.start(t), f.start(t)
		f.wantServed(t, one)
		f.wantServed(t, two)
		one.kill()
		again := f.start(t)
		f.wantServed(t, again)
		two.kill()
		again.kill()
		f.wantServed(t, f.start(t))
	})
}
