package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // one of the two suffices
	_ "modernc.org/sqlite"

	"github.com/everseal/everseal/certmanager"
)

const (
	freshPeriod    = 10 * time.Second // for which what the database said is not asked for again
	queryTimeout   = 5 * time.Second
	maxConnections = 10
	maxKnown       = 10_000 // names
)

// domains says which server is behind a name: those of the command line, and those in the database.
type domains struct {
	fixed map[string]string
	db    *sql.DB // nil: there is none

	mu    sync.Mutex        // guards known
	known map[string]answer // of the database, lately
}

// An answer is what the database says of a name. The upstream is empty if it does not have it.
type answer struct {
	upstream string
	until    time.Time
}

func newDomains() *domains {
	return &domains{fixed: make(map[string]string), known: make(map[string]answer)}
}

// open opens the database, a SQLite file or the URL of a PostgreSQL, and makes its table if it is missing. A user that may only
// read needs one that is there.
func (d *domains) open(ctx context.Context, database string) (err error) {
	if strings.Contains(database, "://") {
		d.db, err = sql.Open("pgx", database)
	} else {
		d.db, err = sql.Open("sqlite", (&url.URL{Scheme: "file", Opaque: database, RawQuery: "_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)"}).String())
	}
	if err != nil {
		return err
	}
	d.db.SetMaxOpenConns(maxConnections)
	if _, err = d.db.ExecContext(ctx, "SELECT name, upstream FROM domains LIMIT 1"); err == nil {
		return nil
	}
	if _, failed := d.db.ExecContext(ctx, "CREATE TABLE domains (name text PRIMARY KEY, upstream text NOT NULL)"); failed == nil {
		return nil
	}
	return err
}

// upstream returns the address of the server behind a name; empty: the name is none of ours. If the database can't be asked,
// what it said last counts.
func (d *domains) upstream(ctx context.Context, name string) (string, error) {
	if upstream, ok := d.fixed[name]; ok || d.db == nil {
		return upstream, nil
	}
	d.mu.Lock()
	known, ok := d.known[name]
	d.mu.Unlock()
	if ok && time.Now().Before(known.until) {
		return known.upstream, nil
	}
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	var found string
	err := d.db.QueryRowContext(ctx, "SELECT upstream FROM domains WHERE name = $1", name).Scan(&found)
	switch {
	case err == nil || errors.Is(err, sql.ErrNoRows):
	case ok:
		return known.upstream, nil
	default:
		return "", fmt.Errorf("ask the database for %s: %w", name, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.known) >= maxKnown {
		clear(d.known)
	}
	d.known[name] = answer{found, time.Now().Add(freshPeriod)}
	return found, nil
}

// allow is the policy: certificates are for names that the database has. All others cost one query a minute, and the CA
// hears nothing of them.
func (d *domains) allow(ctx context.Context, q certmanager.Question) error {
	upstream, err := d.upstream(ctx, q.Name)
	if err == nil && upstream == "" {
		return certmanager.ErrDenied
	}
	return err
}
