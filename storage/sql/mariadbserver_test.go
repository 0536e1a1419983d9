package sql

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/go-sql-driver/mysql"
)

// startMariaDB starts a server with TLS, the user "everseal" and the database "everseal".
func startMariaDB(options ...string) (*server, error) {
	install, err := find("mariadb-install-db")
	if err != nil {
		return nil, err
	}
	program, err := find("mariadbd")
	if err != nil {
		return nil, err
	}
	s, err := newServer("mysql")
	if err != nil {
		return nil, err
	}
	s.program = program
	data := filepath.Join(s.folder, "data")
	err = s.run(install, "--no-defaults", "--datadir="+data, "--auth-root-authentication-method=normal", "--skip-test-db")
	if err != nil {
		return s, err
	}
	certificate, key, err := s.certificate()
	if err != nil {
		return s, err
	}
	quoted := strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(password)
	setUp, err := s.write("setup.sql", lines(
		"CREATE DATABASE IF NOT EXISTS everseal;",
		"CREATE USER IF NOT EXISTS everseal@'%' IDENTIFIED BY '"+quoted+"';",
		"GRANT ALL ON *.* TO everseal@'%' WITH GRANT OPTION;",
	))
	if err != nil {
		return s, err
	}
	s.arguments = append([]string{
		"--no-defaults", "--datadir=" + data, "--port=" + s.port, "--bind-address=127.0.0.1", "--socket=" + filepath.Join(s.folder, "socket"),
		"--pid-file=" + filepath.Join(s.folder, "pid"), "--skip-name-resolve", "--character-set-server=utf8mb4", "--max-connections=300",
		"--innodb-buffer-pool-size=32M", "--ssl-cert=" + certificate, "--ssl-key=" + key, "--init-file=" + setUp,
	}, options...)
	s.ready = func(ctx context.Context) error {
		db, err := s.mariadb("everseal", password, "everseal")
		if err != nil {
			return err
		}
		defer db.Close()
		return db.PingContext(ctx)
	}
	return s, s.start()
}

// mariadb returns a pool as somebody has it who knows nothing of this package.
func (s *server) mariadb(user, password, database string) (*sql.DB, error) {
	config := mysql.NewConfig()
	config.User, config.Passwd, config.Net, config.Addr, config.DBName = user, password, "tcp", "127.0.0.1:"+s.port, database
	config.Logger = new(mysql.NopLogger)
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector), nil
}

func (s *server) mariadbURL(user, password, database string) string {
	u := url.URL{Scheme: "mysql", User: url.UserPassword(user, password), Host: "127.0.0.1:" + s.port, Path: "/" + database}
	return u.String()
}

// statement runs SQL as the user who may do everything.
func (s *server) statement(ctx context.Context, statements ...string) error {
	db, err := s.mariadb("everseal", password, "everseal")
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
