package s3

import (
	"os"
	"testing"

	"github.com/everseal/everseal/storage/internal/server"
)

// shared has the server that tests use which need none of their own.
var shared server.Shared

func TestMain(m *testing.M) {
	status := m.Run()
	shared.Stop()
	os.Exit(status)
}
