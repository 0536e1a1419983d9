//go:build unix

package solver_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/everseal/everseal/solver"
)

// A script that gets its token by the environment.
func ExampleExec() {
	folder, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(folder)
	script := filepath.Join(folder, "edit-zone")
	const text = `#!/bin/sh
echo "$EVERSEAL_ACTION $EVERSEAL_LABEL in $EVERSEAL_ZONE is refused for the token $TOKEN" >&2
exit 1
`
	if err := os.WriteFile(script, []byte(text), 0o700); err != nil {
		log.Fatal(err)
	}
	provider := &solver.Exec{Path: script, Env: []string{"TOKEN=do not print"}}
	err = provider.AppendRecord(context.Background(), solver.Record{
		Zone:  "example.com",
		Name:  "_acme-challenge.www.example.com",
		Value: "LHDhK3oGRvkiefQnx7OOczTY5Tic_xZ6HcMOc_gmtoM",
		TTL:   time.Minute,
	})
	fmt.Println(filepath.Base(err.Error()))
	// Output:
	// edit-zone append: exit status 1; it printed last: append _acme-challenge.www in example.com is refused for the token <TOKEN>
}
