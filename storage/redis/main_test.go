package redis

import (
	"os"
	"testing"

	"github.com/redis/go-redis/v9/logging"
)

func TestMain(m *testing.M) {
	logging.Disable() // it tells of each connection that fails
	status := m.Run()
	shared.Stop()
	os.Exit(status)
}
