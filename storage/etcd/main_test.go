package etcd

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// childVariable names what a copy of the test binary does in place of the tests. Its arguments are those of the process.
const childVariable = "EVERSEAL_ETCD_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		if err := childHold(context.Background(), os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	status := m.Run()
	if left := goroutinesLeft(); left != "" && status == 0 {
		fmt.Fprintf(os.Stderr, "goroutines are left of stores that were closed:\n%s\n", left)
		status = 1
	}
	shared.Stop()
	os.Exit(status)
}

// goroutinesLeft returns the goroutines of the client and of gRPC that do not end by themselves.
func goroutinesLeft() string {
	var left string
	for limit := time.Now().Add(10 * time.Second); time.Now().Before(limit); runtime.Gosched() {
		all := make([]byte, 1<<20)
		all = all[:runtime.Stack(all, true)]
		left = ""
		for one := range strings.SplitSeq(string(all), "\n\n") {
			if strings.Contains(one, "go.etcd.io/etcd/client") || strings.Contains(one, "google.golang.org/grpc") {
				left += one + "\n\n"
			}
		}
		if left == "" {
			return ""
		}
	}
	return left
}
