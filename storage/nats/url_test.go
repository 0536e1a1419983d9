package nats

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	driver "github.com/nats-io/nats.go"

	"github.com/everseal/everseal/storage/internal/server"
)

func TestOpenRefuses(t *testing.T) {
	noise := filepath.Join(t.TempDir(), "noise.pem")
	if err := os.WriteFile(noise, []byte("this is no certificate\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	escaped := url.UserPassword("u", secret).String() + "@"
	for _, raw := range []string{
		"", "nats", "nats:", "nats://", "nats:///a", "/a/b", "http://host:4222/a", "tls://host", "NATS://host",
		"nats://host:port/a", "nats://host:0", "nats://host:65536", "nats://host:4222:4222", "nats://host,", "nats://,host", "nats://ho st", "nats://[::1", "nats://ho$t",
		"nats://u:" + secret + "@host/a", "nats://u:s3cr#t@host/a", "nats://u:4222?s3cr@host/a", "nats://u:4222/s3cr@host/a",
		"nats://u:@host/a", "nats://:s3cr@host", "nats://@host", "nats://" + escaped + "host/a%zz", "nats://host/a?tls=%zz",
		"nats://" + escaped + "host/a?password=s3cr", "nats://host?s3cr", "nats://host?tls=maybe", "nats://host?tls=true&tls=true",
		"nats://" + escaped + "host?tls=false&ca=/none", "nats://host?ca=/none", "nats://host?ca=" + noise, "nats://host?cert=/none", "nats://host?key=/none",
		"nats://host?cert=/none&key=/none", "nats://host?cert=" + noise + "&key=" + noise,
		"nats://host?creds=/none", "nats://host?nkey=/none", "nats://host?nkey=" + noise, "nats://" + escaped + "host?nkey=" + noise, "nats://host?nkey=" + noise + "&creds=" + noise,
		"nats://host?inbox=a..b", "nats://host?inbox=a.", "nats://host?inbox=>", "nats://host?domain=a.b", "nats://host?domain=*",
		"nats://host?replicas=x", "nats://host?replicas=6", "nats://host?replicas=-1",
		"nats://host/a/b", "nats://host/a.b", "nats://host/a%20b", "nats://host/ä", "nats://host/" + strings.Repeat("a", maxBucket+1),
	} {
		s, err := Open(t.Context(), raw, Config{})
		if err == nil {
			t.Errorf("Open(%q) succeeds", raw)
			_ = s.Close()
			continue
		}
		if text := err.Error(); !strings.HasPrefix(text, "storage/nats: ") || strings.Contains(text, "s3cr") || strings.ContainsAny(text, "\n\r") {
			t.Errorf("Open(%q): %s", raw, text)
		}
		wanted.NoSecret(t, err)
		if os.IsNotExist(err) {
			t.Errorf("Open(%q): %v is taken for a missing record", raw, err)
		}
	}
	for _, c := range []Config{{Bucket: "a b"}, {Bucket: "a.b"}, {Bucket: ">"}, {Bucket: strings.Repeat("a", maxBucket+1)}, {Replicas: -1}, {Replicas: 6}} {
		if _, err := Open(t.Context(), "nats://host", c); err != errBucket && err != errReplicas {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if _, err := New(nil, Config{}); err != errNoClient {
		t.Errorf("New(nil): %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ended, "nats://host", Config{}); err != context.Canceled {
		t.Errorf("Open under a cancelled context: %v", err)
	}
}

// A program can start while its storage does not run. Errors say where it was looked for.
func TestUnreachable(t *testing.T) {
	s := target{"nats://" + url.UserPassword("u", secret).String() + "@" + nobody(t) + "/a"}.open(t)
	_, err := s.Load(t.Context(), "certificates/a")
	wanted.Want(t, err, `load "certificates/a"`, s.place, "whether the servers run")
	_, err = s.Save(t.Context(), "certificates/a", nil, "")
	wanted.Want(t, err, `save "certificates/a"`, "whether the servers run")
	for _, err := range s.Watch(t.Context(), "") {
		wanted.Want(t, err, "watch", "whether the servers run")
	}
}

// A server whose connections end before it has said anything, as they do behind a balancer whose servers are all down, can't be reached
// either. The store works once it can.
func TestConnectionsEndAtOnce(t *testing.T) {
	node := sharedServer(t)
	c := server.NewCutter(t, node.Address())
	c.LeaveWhole(true)
	c.Refuse(true)
	s := through(c, node, targetAt(node.Address())).open(t)
	_, err := s.Load(t.Context(), "a")
	wanted.Want(t, err, `load "a"`, "whether the servers run")
	c.Refuse(false)
	save(t, s, "a")
}

// What the network says, a store outlives; what the servers, or their certificates, say, it does not.
func TestUnreachableErrors(t *testing.T) {
	for err, want := range map[error]bool{
		io.EOF: true,
		&net.OpError{Op: "read", Net: "tcp", Err: os.ErrDeadlineExceeded}:                                       true,
		&net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: "nats.example.com"}}: true,
		driver.ErrNoServers:     true,
		driver.ErrAuthorization: false,
		&net.OpError{Op: "remote error", Err: tls.AlertError(116)}:                                   false,
		fmt.Errorf("%w: connection closed by remote after TLS handshake: %w", driver.ErrTLS, io.EOF): false,
		&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}:                         false,
		&fs.PathError{Op: "open", Path: "client.pem", Err: fs.ErrNotExist}:                           false,
	} {
		if got := unreachable(err); got != want {
			t.Errorf("unreachable(%v) = %t", err, got)
		}
	}
}
