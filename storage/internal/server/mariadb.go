package server

import (
	"path/filepath"
	"strings"
)

// MariaDB returns a MariaDB server that does not run yet, with the user and database "everseal", who may do everything,
// the password, and TLS by a certificate of its own (server.pem in its folder). The caller sets Ready if a connection that
// is taken is not enough.
func MariaDB(password string, options ...string) (*Server, error) {
	install, err := Find("mariadb-install-db")
	if err != nil {
		return nil, err
	}
	s, err := New("mariadbd", "mysql")
	if err != nil {
		return nil, err
	}
	data := filepath.Join(s.Folder, "data")
	err = s.Run(install, "--no-defaults", "--datadir="+data, "--auth-root-authentication-method=normal", "--skip-test-db")
	if err != nil {
		return s, err
	}
	certificate, key, err := s.Certificate()
	if err != nil {
		return s, err
	}
	quoted := strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(password)
	setUp, err := s.Write("setup.sql",
		"CREATE DATABASE IF NOT EXISTS everseal;",
		"CREATE USER IF NOT EXISTS everseal@'%' IDENTIFIED BY '"+quoted+"';",
		"GRANT ALL ON *.* TO everseal@'%' WITH GRANT OPTION;",
	)
	if err != nil {
		return s, err
	}
	s.Arguments = append([]string{
		"--no-defaults", "--datadir=" + data, "--port=" + s.Port, "--bind-address=127.0.0.1", "--socket=" + filepath.Join(s.Folder, "socket"),
		"--pid-file=" + filepath.Join(s.Folder, "pid"), "--skip-name-resolve", "--character-set-server=utf8mb4", "--max-connections=300",
		"--innodb-buffer-pool-size=32M", "--ssl-cert=" + certificate, "--ssl-key=" + key, "--init-file=" + setUp,
	}, options...)
	return s, nil
}
