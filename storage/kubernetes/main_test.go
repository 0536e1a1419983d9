package kubernetes

import (
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	status := m.Run()
	shared.Stop()
	os.Exit(status)
}
