package nats

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	status := m.Run()
	if left := goroutinesLeft(); left != "" && status == 0 {
		fmt.Fprintf(os.Stderr, "goroutines are left of stores that were closed:\n%s\n", left)
		status = 1
	}
	shared.Stop()
	os.Exit(status)
}

// goroutinesLeft returns the goroutines of the client and of stores that do not end by themselves.
func goroutinesLeft() string {
	var left string
	for limit := time.Now().Add(10 * time.Second); time.Now().Before(limit); runtime.Gosched() {
		all := make([]byte, 1<<20)
		all = all[:runtime.Stack(all, true)]
		left = ""
		for one := range strings.SplitSeq(string(all), "\n\n") {
			if strings.Contains(one, "nats-io/nats.go") || strings.Contains(one, "storage/nats.(*") {
				left += one + "\n\n"
			}
		}
		if left == "" {
			return ""
		}
	}
	return left
}
