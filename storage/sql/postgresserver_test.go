package sql

import (
	"context"
	"net/url"
	"path/filepath"

	"github.com/jackc/pgx/v5"
)

// password has what passwords have that generators make, and what URLs, connection strings and SQL treat apart.
const password = `p@ss:w/o?r#d% '"\=&+;[é]`

// startPostgres starts a server with TLS, the user "postgres" and the database "postgres".
func startPostgres(options ...string) (*server, error) {
	initdb, err := find("initdb")
	if err != nil {
		return nil, err
	}
	s, err := newServer("postgres")
	if err != nil {
		return nil, err
	}
	file, err := s.write("password", lines(password))
	if err != nil {
		return s, err
	}
	data := filepath.Join(s.folder, "data")
	if err := s.run(initdb, "-D", data, "-A", "scram-sha-256", "-U", "postgres", "--pwfile", file, "--no-sync", "-E", "UTF8"); err != nil {
		return s, err
	}
	certificate, key, err := s.certificate()
	if err != nil {
		return s, err
	}
	if s.program, err = find("postgres"); err != nil {
		return s, err
	}
	s.arguments = append([]string{
		"-D", data, "-p", s.port, "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=" + s.folder,
		"-c", "max_connections=300", "-c", "ssl=on", "-c", "ssl_cert_file=" + certificate, "-c", "ssl_key_file=" + key,
	}, options...)
	s.ready = func(ctx context.Context) error {
		conn, err := pgx.Connect(ctx, s.postgresURL("postgres", password, "postgres"))
		if err != nil {
			return err
		}
		return conn.Close(ctx)
	}
	return s, s.start()
}

func (s *server) postgresURL(user, password, database string) string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword(user, password), Host: "127.0.0.1:" + s.port, Path: "/" + database}
	return u.String()
}
