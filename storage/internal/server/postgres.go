package server

import "path/filepath"

// Postgres returns a PostgreSQL server that does not run yet, with the user and database "postgres", the password, and TLS
// by a certificate of its own (server.pem in its folder). It takes connections before it answers: the caller sets Ready.
func Postgres(password string, options ...string) (*Server, error) {
	initdb, err := Find("initdb")
	if err != nil {
		return nil, err
	}
	s, err := New("postgres", "postgres")
	if err != nil {
		return nil, err
	}
	file, err := s.Write("password", password)
	if err != nil {
		return s, err
	}
	data := filepath.Join(s.Folder, "data")
	if err := s.Run(initdb, "-D", data, "-A", "scram-sha-256", "-U", "postgres", "--pwfile", file, "--no-sync", "-E", "UTF8"); err != nil {
		return s, err
	}
	certificate, key, err := s.Certificate()
	if err != nil {
		return s, err
	}
	s.Arguments = append([]string{
		"-D", data, "-p", s.Port, "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=" + s.Folder,
		"-c", "max_connections=300", "-c", "ssl=on", "-c", "ssl_cert_file=" + certificate, "-c", "ssl_key_file=" + key,
	}, options...)
	return s, nil
}
