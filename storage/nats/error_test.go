package nats

import (
	"net"
	"testing"

	"github.com/everseal/everseal/storage/internal/enginetest"
	"github.com/everseal/everseal/storage/internal/server"
)

const (
	password = "p4ss#w:o/rd?@[%&"    // of those that may
	secret   = `s3cr#t:/?@[%&='"\ é` // that nobody has
)

var wanted = enginetest.Errors{Package: "storage/nats", Secrets: []string{password, secret}}

// nobody returns an address at which nobody listens.
func nobody(t *testing.T) string {
	t.Helper()
	port, err := server.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort("127.0.0.1", port)
}
