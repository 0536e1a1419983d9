package peers

import (
	"fmt"
	"os"
	"testing"
)

// childVariable is set in processes that TestKill starts: this binary is then a server.
const childVariable = "EVERSEAL_PEERS_CHILD"

func TestMain(m *testing.M) {
	if err := setUpLego(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if encoded := os.Getenv(childVariable); encoded != "" {
		if err := runChild(encoded); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}
