package sql

import (
	"context"
	"fmt"
	"os"
	"testing"
)

// childVariable names what a copy of the test binary does in place of the tests. Its arguments are those of the process.
const childVariable = "EVERSEAL_SQL_TEST_CHILD"

func TestMain(m *testing.M) {
	children := map[string]func(context.Context, []string) error{"save": childSave, "manage": childManage, "die": childDie}
	if child, ok := children[os.Getenv(childVariable)]; ok {
		if err := child(context.Background(), os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	status := m.Run()
	shared.Stop()
	os.Exit(status)
}
