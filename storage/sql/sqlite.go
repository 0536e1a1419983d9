package sql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// SQLite returns a store in a file of SQLite, whose pool is one of modernc.org/sqlite with these settings, without
// which the first use fails:
//
//	file:/path?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_txlock=immediate
//
// [Open] sees to them. The processes that share the file must run on one machine: it must not be on NFS or another
// file system of a network.
func SQLite(db *sql.DB, c Config) (*Store, error) {
	if db == nil {
		return nil, errNoPool
	}
	return newStore(engine{
		name:    "SQLite",
		quote:   `"`,
		columns: "\trecord_key TEXT NOT NULL PRIMARY KEY,\n\trevision TEXT NOT NULL,\n\tvalue BLOB NOT NULL",
		ignore:  " ON CONFLICT DO NOTHING",
		probe:   probeSQLite, classify: classifySQLite,
		patience: sqlitePatience,
	}, database{DB: db, turn: make(chan struct{}, 1)}, c)
}

// sqlitePatience is for what SQLite refuses at once, whatever the busy_timeout: a file of which another connection is just
// taking up the log (journal_mode WAL), or recovers it.
const sqlitePatience = 5 * time.Second

func openSQLite(u *url.URL, c Config) (*Store, error) {
	const standardConnections = 4
	name := u.Path
	if u.Opaque != "" {
		unescaped, err := url.PathUnescape(u.Opaque)
		if err != nil {
			return nil, errURL
		}
		name = unescaped
	}
	query := u.Query()
	connections, err := takeConnections(query, standardConnections)
	if err != nil {
		return nil, err
	}
	if name == "" || u.Host != "" || u.User != nil || len(query) > 0 {
		return nil, errors.New("storage/sql: the URL of SQLite is sqlite:///folder/file or sqlite:file, with no parameter but pool_max_conns")
	}
	if runtime.GOOS == "windows" {
		name = strings.TrimPrefix(name, "/") // of /C:/folder
	}
	if name, err = filepath.Abs(filepath.FromSlash(name)); err != nil {
		return nil, fmt.Errorf("storage/sql: %w", err)
	}
	file, err := newFileConnector(name)
	if err != nil {
		return nil, err
	}
	s, err := openDatabase(file, connections, func(db *sql.DB) (*Store, error) { return SQLite(db, c) })
	if err == nil {
		s.address = name
	}
	return s, err
}

// A fileConnector opens a file that nobody else may read: it has private keys.
type fileConnector struct {
	driver.Connector
	name string
}

func newFileConnector(name string) (*fileConnector, error) {
	const settings = "_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_txlock=immediate&_error_rc=1"
	path := filepath.ToSlash(name)
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	file := url.URL{Scheme: "file", Path: path, RawQuery: settings}
	connector, err := sqlite.NewConnector(file.String())
	if err != nil {
		return nil, fmt.Errorf("storage/sql: SQLite at %s: %w", name, cause{err})
	}
	return &fileConnector{connector, name}, nil
}

// Connect makes the file if it is missing. What SQLite puts beside it has the same permissions.
func (c *fileConnector) Connect(ctx context.Context) (driver.Conn, error) {
	f, err := os.OpenFile(c.name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	return c.Connector.Connect(ctx)
}

var errSettings = errors.New("the connections must have journal_mode WAL, synchronous FULL and a busy_timeout; see the function SQLite")

// probeSQLite refuses connections that lose what was acknowledged, or that fail if another process writes.
func probeSQLite(ctx context.Context, s *Store) error {
	setting := func(name string) (value string, err error) {
		err = s.query(ctx, func(columns [][]byte) { value = string(columns[0]) }, "PRAGMA "+name)
		return value, err
	}
	journal, err := setting("journal_mode")
	if err != nil {
		return err
	}
	synchronous, err := setting("synchronous")
	if err != nil {
		return err
	}
	timeout, err := setting("busy_timeout")
	if err != nil {
		return err
	}
	level, _ := strconv.Atoi(synchronous)
	if milliseconds, _ := strconv.Atoi(timeout); journal != "wal" || level < 2 || milliseconds < 1000 {
		return errSettings
	}
	return nil
}

func classifySQLite(err error) class {
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) {
		return noFile
	}
	reported, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return otherError
	}
	switch reported.Code() & 0xff { // the rest are details
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return busy
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM:
		return denied
	case sqlite3.SQLITE_FULL:
		return full
	case sqlite3.SQLITE_CANTOPEN:
		return noFile
	case sqlite3.SQLITE_ERROR:
		// The engine has no code for these.
		if strings.Contains(reported.Error(), "no such table") {
			return noTable
		}
		if strings.Contains(reported.Error(), "no column") || strings.Contains(reported.Error(), "no such column") {
			return noColumn
		}
	}
	return otherError
}
