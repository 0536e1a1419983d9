package sql

import (
	"context"
	"errors"
	"net"
	"net/url"
	"strings"
)

var (
	errNoPool = errors.New("storage/sql: the pool is nil: give one that is open")
	errURL    = errors.New("storage/sql: the URL can't be read: it is like postgres://user:password@host/database, mysql://user:password@host/database or " +
		"sqlite:///folder/file, with characters such as @ : / ? # % in a password written as %40 %3A %2F %3F %23 %25")
)

// Open returns a store in the database that the URL names. It asks nothing of the server yet, so that a program can
// start while its database does not; ctx is for Open alone. The store must be closed with Close.
//
//	postgres://user:password@host:5432/database?sslmode=verify-full&sslrootcert=/etc/ca.pem
//	mysql://user:password@host:3306/database?tls=true
//	sqlite:///var/lib/program/store.db
//
// The parameters are those of pgx and of go-sql-driver/mysql. In place of host and port, PostgreSQL has the parameter
// host and MySQL the parameter socket for the path of a socket. For MySQL and SQLite, too, pool_max_conns is the number of
// connections at most: 8 (4 for SQLite) if nothing is said. A server that is not on this machine must have a
// certificate that can be verified, if sslmode or tls do not say otherwise.
//
// Errors never quote the URL.
func Open(ctx context.Context, rawURL string, c Config) (*Store, error) {
	u, err := url.Parse(rawURL)
	// An @ that comes late, or a #, is of a password that was not escaped: what comes before it is no address.
	if err != nil || u.Fragment != "" || strings.Contains(u.Path+u.Opaque+u.RawQuery, "@") && u.Scheme != "sqlite" {
		return nil, errURL // err quotes the URL
	}
	switch u.Scheme {
	case "postgres", "postgresql":
		return openPostgres(ctx, u, c)
	case "mysql", "mariadb":
		return openMySQL(u, c)
	case "sqlite":
		return openSQLite(u, c)
	}
	return nil, errURL
}

// local reports whether all hosts of a URL are on this machine; more of them may be in a parameter.
func local(u *url.URL, more string) bool {
	for host := range strings.SplitSeq(u.Host+","+more, ",") {
		if bare, _, err := net.SplitHostPort(host); err == nil {
			host = bare
		}
		host = strings.Trim(host, "[]")
		ip := net.ParseIP(host)
		if host != "" && host != "localhost" && !strings.HasPrefix(host, "/") && (ip == nil || !ip.IsLoopback()) {
			return false
		}
	}
	return true
}
