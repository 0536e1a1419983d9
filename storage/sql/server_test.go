package sql

import (
	"context"

	"github.com/everseal/everseal/storage/internal/server"
)

// password has what passwords have that generators make, and what URLs, connection strings and SQL treat apart.
const password = `p@ss:w/o?r#d% '"\=&+;[é]`

// Shared are the servers that all tests use which do no harm to them.
var shared server.Shared

// A node is a server that runs.
type node struct{ *server.Server }

func sharedPostgres() (node, error) {
	return sharedNode("PostgreSQL", startPostgres, "-c", "fsync=off")
}

func sharedMariaDB() (node, error) {
	return sharedNode("MariaDB", startMariaDB, "--innodb-flush-log-at-trx-commit=0")
}

func sharedNode(name string, start func(options ...string) (node, error), options ...string) (node, error) {
	s, err := shared.Server(name, func() (*server.Server, error) {
		n, err := start(options...)
		return n.Server, err
	})
	return node{s}, err
}

// start starts one that answers when ready says so.
func start(s *server.Server, err error, ready func(ctx context.Context, n node) error) (node, error) {
	n := node{s}
	if err != nil {
		return n, err
	}
	s.Ready = func(ctx context.Context) error { return ready(ctx, n) }
	return n, s.Start(context.Background())
}

// remove ends it, if it was begun, and deletes what it had.
func (n node) remove() {
	if n.Server != nil {
		n.Remove()
	}
}
