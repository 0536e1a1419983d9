package sql

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"

	"github.com/go-sql-driver/mysql"

	"github.com/everseal/everseal/storage/internal/server"
)

// startMariaDB starts a server with TLS, the user "everseal" and the database "everseal".
func startMariaDB(options ...string) (node, error) {
	s, err := server.MariaDB(password, options...)
	return start(s, err, func(ctx context.Context, n node) error {
		db, err := n.mariadb("everseal", password, "everseal")
		if err != nil {
			return err
		}
		defer db.Close()
		return db.PingContext(ctx)
	})
}

// mariadb returns a pool as somebody has it who knows nothing of this package.
func (n node) mariadb(user, password, name string) (*sql.DB, error) {
	config := mysql.NewConfig()
	config.User, config.Passwd, config.Net, config.Addr, config.DBName = user, password, "tcp", n.Address(), name
	config.Logger = new(mysql.NopLogger)
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector), nil
}

func (n node) mariadbURL(user, password, name string) string {
	u := url.URL{Scheme: "mysql", User: url.UserPassword(user, password), Host: n.Address(), Path: "/" + name}
	return u.String()
}

// statement runs SQL as the user who may do everything.
func (n node) statement(ctx context.Context, statements ...string) error {
	db, err := n.mariadb("everseal", password, "everseal")
	if err != nil {
		return err
	}
	defer db.Close()
	for _, statement := range statements {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return nil
}
