package sql

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/internal/wait"
)

// A Config is what need not be said. Its zero value is the right one for most.
type Config struct {
	// Table is where the records are; "everseal" if it is empty. Names have lower-case letters, digits and _, and may
	// follow the name of a schema (of PostgreSQL) or a database (of MySQL) and a point. Table has at most 63 bytes.
	Table string
}

// A Store is a [storage.Store] and a [storage.Scanner] in a table of a database. [Open], [PostgreSQL], [MySQL] and
// [SQLite] make one. Its methods are safe for concurrent use, and obey their context.
//
// An error that is none of those that storage.Store names says which engine failed, where, and with which key, and wraps
// the driver's. It never has a password in it.
type Store struct {
	engine
	statements
	pool    pool
	table   string
	address string // of the server, or the file; empty where the pool does not tell
	owned   bool   // the pool is, by this store
	notify  *notifications
	checked *atomic.Bool  // the table was found to be right
	turn    chan struct{} // full while somebody checks
}

// A pool runs single statements, each on any of its connections and in a transaction of its own. Arguments are strings
// and bytes.
type pool interface {
	// exec returns how many rows the statement has changed, or found.
	exec(ctx context.Context, statement string, args ...any) (int64, error)
	// query calls row with the columns of each row, which are row's until it returns.
	query(ctx context.Context, row func(columns [][]byte), statement string, args ...any) error
	close() error
}

// An engine is what one kind of database has of its own.
type engine struct {
	name     string
	quote    string                                    // around names
	dollars  bool                                      // arguments are $1, $2, … instead of ?
	columns  string                                    // of the table
	options  string                                    // of the table
	nowhere  string                                    // what a SELECT without a table selects from
	ignore   string                                    // ends an insertion that inserts nothing if the key is there
	probe    func(ctx context.Context, s *Store) error // refuses a server, or a pool, that can't be right
	classify func(err error) class                     // what an error of the driver means
	patience time.Duration                             // for how long a statement is run again that found the database busy
}

// Statements are all that a store needs for its work.
type statements struct {
	load, revision, insert, update, remove, keys, records string
}

const (
	keysPage    = 4096 // keys that List asks for at once
	recordsPage = 256  // records that Scan asks for at once
)

func newStore(e engine, p pool, c Config) (*Store, error) {
	table := c.Table
	if table == "" {
		table = "everseal"
	}
	if !isTable(table) {
		return nil, fmt.Errorf("storage/sql: the table %.80q can't be: names have lower-case letters, digits and _, with one point at most", table)
	}
	s := &Store{engine: e, pool: p, table: table, checked: new(atomic.Bool), turn: make(chan struct{}, 1)}
	name := s.quoted()
	s.statements = statements{
		load:     e.numbered("SELECT revision, value FROM " + name + " WHERE record_key = ?"),
		revision: e.numbered("SELECT revision FROM " + name + " WHERE record_key = ?"),
		insert:   e.numbered("INSERT INTO " + name + " (record_key, revision, value) VALUES (?, ?, ?)" + e.ignore),
		update:   e.numbered("UPDATE " + name + " SET revision = ?, value = ? WHERE record_key = ? AND revision = ?"),
		remove:   e.numbered("DELETE FROM " + name + " WHERE record_key = ? AND revision = ?"),
		keys:     e.page("record_key", name, keysPage),
		records:  e.page("record_key, revision, value", name, recordsPage),
	}
	return s, nil
}

// page returns the statement for the first records of a [span], by their primary key.
func (e engine) page(columns, table string, limit int) string {
	const text = "SELECT %s FROM %s WHERE record_key >= ? AND record_key < ? " +
		"AND NOT (record_key > ? AND record_key < ?) ORDER BY record_key LIMIT %d"
	return e.numbered(fmt.Sprintf(text, columns, table, limit))
}

// numbered returns the statement with its arguments marked as the engine has them.
func (e engine) numbered(statement string) string {
	if !e.dollars {
		return statement
	}
	var text strings.Builder
	n := 0
	for part := range strings.SplitSeq(statement, "?") {
		if n > 0 {
			fmt.Fprintf(&text, "$%d", n)
		}
		text.WriteString(part)
		n++
	}
	return text.String()
}

// Close ends the connections of a store that [Open] has made. A pool that was given is its owner's to close.
func (s *Store) Close() error {
	if !s.owned {
		return nil
	}
	if err := s.pool.close(); err != nil {
		return fmt.Errorf("storage/sql: closing %s: %w", s.String(), cause{err})
	}
	return nil
}

// Load returns what is stored under key; see [storage.Store]. It asks the server, each time.
func (s *Store) Load(ctx context.Context, key string) (storage.Item, error) {
	if err := storage.Admit(ctx, key, nil); err != nil {
		return storage.Item{}, err
	}
	if err := s.check(ctx); err != nil {
		return storage.Item{}, s.failure(ctx, "load", key, err)
	}
	var item storage.Item
	err := s.query(ctx, func(columns [][]byte) {
		item = storage.Item{Revision: storage.Revision(columns[0]), Value: bytes.Clone(columns[1])}
	}, s.load, key)
	if err != nil {
		return storage.Item{}, s.failure(ctx, "load", key, err)
	}
	if item.Revision == "" {
		return storage.Item{}, storage.NotExist(key)
	}
	return item, nil
}

// Save stores value under key if the stored revision is old; see [storage.Store]. It is one statement in a transaction
// of its own.
func (s *Store) Save(ctx context.Context, key string, value []byte, old storage.Revision) (storage.Revision, error) {
	if err := storage.Admit(ctx, key, value); err != nil {
		return "", err
	}
	if old != "" && !isRevision(old) {
		return "", storage.Conflict(key) // as it never was one
	}
	if err := s.check(ctx); err != nil {
		return "", s.failure(ctx, "save", key, err)
	}
	if value == nil {
		value = []byte{} // nil would be NULL
	}
	revision := rand.Text()
	var rows int64
	var err error
	if old == "" {
		rows, err = s.change(ctx, key, s.insert, key, revision, value)
	} else {
		rows, err = s.change(ctx, key, s.update, revision, value, key, string(old))
	}
	if err == nil && rows == 0 {
		return s.readBack(ctx, key, revision)
	}
	if err != nil {
		return "", s.failure(ctx, "save", key, err)
	}
	return storage.Revision(revision), nil
}

// readBack decides what a save that changed nothing was. A statement can have run twice, by a driver or a proxy that
// repeats what it has no answer for: then the second run finds the revision of the first, which is no conflict.
func (s *Store) readBack(ctx context.Context, key, revision string) (storage.Revision, error) {
	var stored string
	err := s.query(ctx, func(columns [][]byte) { stored = string(columns[0]) }, s.revision, key)
	if err != nil {
		return "", s.failure(ctx, "save", key, err)
	}
	if stored != revision {
		return "", storage.Conflict(key)
	}
	return storage.Revision(revision), nil
}

// Delete removes key if the stored revision is old; see [storage.Store].
func (s *Store) Delete(ctx context.Context, key string, old storage.Revision) error {
	if err := storage.Admit(ctx, key, nil); err != nil {
		return err
	}
	if !isRevision(old) {
		return storage.Conflict(key)
	}
	if err := s.check(ctx); err != nil {
		return s.failure(ctx, "delete", key, err)
	}
	rows, err := s.change(ctx, key, s.remove, key, string(old))
	if err != nil {
		return s.failure(ctx, "delete", key, err)
	}
	if rows == 0 {
		return storage.Conflict(key)
	}
	return nil
}

// change runs a statement that changes the record of the key, and tells of it if there is somebody to tell.
func (s *Store) change(ctx context.Context, key, statement string, args ...any) (rows int64, err error) {
	if s.notify.covers(key) {
		statement, args = s.notify.telling(s, statement, args)
	}
	rows, err = s.exec(ctx, statement, args...)
	if err != nil && s.classify(err) == duplicate {
		return 0, nil
	}
	return rows, err
}

// maxRuns is how often a statement is run that the server rolls back for the sake of others.
const maxRuns = 20

// exec runs a statement that changes something. A deadlock, a failed certification in a cluster and the like have
// changed nothing: then it is run again.
func (s *Store) exec(ctx context.Context, statement string, args ...any) (rows int64, err error) {
	err = s.again(ctx, func() (again bool, err error) {
		rows, err = s.pool.exec(ctx, statement, args...)
		return true, err
	})
	return rows, err
}

// query runs a statement that reads. A cluster rolls these back, too: the statement is run again if row has not been
// called.
func (s *Store) query(ctx context.Context, row func(columns [][]byte), statement string, args ...any) error {
	called := false
	return s.again(ctx, func() (bool, error) {
		err := s.pool.query(ctx, func(columns [][]byte) {
			called = true
			row(columns)
		}, statement, args...)
		return !called, err
	})
}

// again runs a statement, and runs it again if run allows it and it has changed nothing: the server has rolled it back,
// or was busy.
func (s *Store) again(ctx context.Context, run func() (again bool, err error)) error {
	began := time.Now()
	for runs := 1; ; runs++ {
		again, err := run()
		if err == nil || !again || runs == maxRuns {
			return err
		}
		found := s.classify(err)
		if found != rolledBack && (found != busy || time.Since(began) >= s.patience) {
			return err
		}
		if err := wait.Before(ctx, runs); err != nil {
			return err
		}
	}
}

// isRevision reports whether it can be one that Save has made.
func isRevision(revision storage.Revision) bool {
	const length = 26 // of rand.Text
	for i := range len(revision) {
		if c := revision[i]; (c < 'A' || c > 'Z') && (c < '2' || c > '7') {
			return false
		}
	}
	return len(revision) == length
}
