package sql

import (
	"context"
	"net/url"

	"github.com/jackc/pgx/v5"

	"github.com/everseal/everseal/storage/internal/server"
)

// startPostgres starts a server with TLS, the user "postgres" and the database "postgres".
func startPostgres(options ...string) (node, error) {
	s, err := server.Postgres(password, options...)
	return start(s, err, func(ctx context.Context, n node) error { return n.postgresStatement(ctx) })
}

func (n node) postgresURL(user, password, name string) string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword(user, password), Host: n.Address(), Path: "/" + name}
	return u.String()
}

// postgresStatement runs SQL as the user who may do everything.
func (n node) postgresStatement(ctx context.Context, statements ...string) error {
	conn, err := pgx.Connect(ctx, n.postgresURL("postgres", password, "postgres"))
	if err != nil {
		return err
	}
	defer hangUp(ctx, conn)
	for _, statement := range statements {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}
