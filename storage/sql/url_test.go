package sql

import (
	"net/url"
	"strings"
	"testing"
)

func TestOpenRefuses(t *testing.T) {
	escaped := url.UserPassword("u", secret).String()
	for _, raw := range []string{
		"", "postgres", "/a/b", "oracle://" + escaped + "@host/a", "mysql://" + escaped + "@host", "mysql://" + escaped + "@host/",
		"postgres://" + escaped + "@host:port/a", "postgres://u:" + secret + "@host/a", "mysql://u:" + secret + "@host/a",
		"postgres://u:s3cr#t@host/a", "postgres://u:5432?s3cr@host/a", "postgres://u:5432/s3cr@host/a", "mysql://u:3306/s3cr@host/a", "mysql://u:1@2/s3cr@host/a",
		"postgres://" + escaped + "@host/a?sslmode=s3cr", "postgres://" + escaped + "@127.0.0.1/a?sslmode=verify-full&sslrootcert=/none",
		"postgres://host/a?password=" + url.QueryEscape(secret) + "&sslmode=wrong", "postgres://" + escaped + "@host/a?pool_max_conns=none",
		"mysql://" + escaped + "@host/a?tls=unknown", "mysql://" + escaped + "@host/a?pool_max_conns=0", "mysql://" + escaped + "@host/a?timeout=x",
		"sqlite://", "sqlite://host/a", "sqlite:", "sqlite:///a?mode=ro", "sqlite:///a?pool_max_conns=-1", "sqlite:%zz",
	} {
		s, err := Open(t.Context(), raw, Config{})
		if err == nil {
			t.Errorf("Open(%q) succeeds", raw)
			_ = s.Close()
			continue
		}
		if text := err.Error(); !strings.HasPrefix(text, "storage/sql: ") || strings.Contains(text, "s3cr") && !strings.Contains(raw, "sslmode=s3cr") {
			t.Errorf("Open(%q): %s", raw, text)
		}
		wanted.NoSecret(t, err)
	}
	for _, table := range []string{"A", "a b", "a.b.c", ".a", "a.", `a"b`, "a`b", "a;b", strings.Repeat("a", 64)} {
		if _, err := Open(t.Context(), "sqlite:a", Config{Table: table}); err == nil {
			t.Errorf("the table %q is accepted", table)
		}
	}
	for name, open := range map[string]func() (*Store, error){
		"PostgreSQL": func() (*Store, error) { return PostgreSQL(nil, Config{}) },
		"MySQL":      func() (*Store, error) { return MySQL(nil, Config{}) },
		"SQLite":     func() (*Store, error) { return SQLite(nil, Config{}) },
	} {
		if _, err := open(); err != errNoPool {
			t.Errorf("%s(nil): %v", name, err)
		}
	}
}

// Nothing said means verified TLS, unless the server is on this machine.
func TestOpenDefaults(t *testing.T) {
	for raw, secure := range map[string]bool{
		"postgres://u:p@db.example.com/a": true, "postgres://u:p@db.example.com/a?sslmode=disable": false, "postgres://u:p@localhost/a": false,
		"postgres://u:p@127.0.0.1:1/a": false, "postgres://u:p@[::1]:1/a": false, "postgres://u:p@/a?host=/tmp": false, "postgres://u:p@/a?host=db.example.com": true,
		"postgres://u:p@localhost,db.example.com/a": true, "postgres://u:p@192.0.2.1/a": true,
	} {
		s := target{url: raw}.open(t)
		config := s.pool.(postgresPool).Config()
		got := config.ConnConfig.TLSConfig != nil && !config.ConnConfig.TLSConfig.InsecureSkipVerify && len(config.ConnConfig.Fallbacks) == strings.Count(raw, ",")
		if got != secure {
			t.Errorf("%s: verified TLS %t, want %t", raw, got, secure)
		}
		if config.MaxConns != maxConnections || config.ConnConfig.Password != "p" || config.ConnConfig.ValidateConnect == nil {
			t.Errorf("%s: %d connections, password %q", raw, config.MaxConns, config.ConnConfig.Password)
		}
	}
	for raw, most := range map[string]int{
		"mysql://u:p@localhost/a": maxConnections, "mariadb://u:p@db.example.com/a?pool_max_conns=3": 3, "sqlite:///tmp/a": 4, "sqlite:a%20b?pool_max_conns=1": 1,
		"mysql://u:p@/a?socket=/tmp/s": maxConnections,
	} {
		s := target{url: raw}.open(t)
		if got := s.pool.(database).Stats().MaxOpenConnections; got != most {
			t.Errorf("%s: %d connections, want %d", raw, got, most)
		}
	}
}
