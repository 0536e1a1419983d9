package engines

import (
	"context"
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/redis/go-redis/v9/logging"
)

// childVariable names what a copy of the test binary does in place of the tests. Its arguments are those of the process.
const childVariable = "EVERSEAL_ENGINES_TEST_CHILD"

func TestMain(m *testing.M) {
	logging.Disable() // it tells of each connection that fails
	children := map[string]func(context.Context, []string) error{"call": childCall, "handover": childHandover, "manage": childManage}
	if child, ok := children[os.Getenv(childVariable)]; ok {
		if err := child(context.Background(), os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	flag.Parse()
	if err := flag.Set("test.parallel", "16"); err != nil { // the tests mostly wait for other processes
		panic(err)
	}
	status := m.Run()
	shared.Stop()
	os.Exit(status)
}
