package sql

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// A class is what an error of a driver means.
type class int

const (
	otherError class = iota
	rolledBack       // in favour of another transaction; the statement may be run again
	duplicate        // the key is there already
	noTable
	noColumn
	noDatabase
	denied  // what the user may do does not suffice
	refused // user or password are wrong
	readOnly
	full
	busy // another holds a lock, or there are too many connections
	unreachable
	untrusted // TLS is wanted by one of both sides, or can't be verified
	noFile
)

// cure returns what to do about an error of the class.
func (s *Store) cure(c class) string {
	switch c {
	case noTable:
		return "was the table dropped? Restart, or have an administrator run the SQL that Schema returns"
	case noColumn:
		return "the table is none of this version of the library: set Config.Table to another name, or update"
	case noDatabase:
		return "create the database, or correct its name"
	case denied:
		return "have an administrator run the SQL that Schema returns, and grant the user SELECT, INSERT, UPDATE and DELETE on the table"
	case refused:
		return "correct user and password, or use TLS if the server wants it; in a URL, characters such as @ : / ? # % are written as %40 %3A %2F %3F %23 %25"
	case readOnly:
		return "connect to the primary, with a user who may write"
	case full:
		return "there is no room left: free or add some"
	case busy:
		return "see who holds locks or connections for so long"
	case unreachable:
		return "see whether the server runs and can be reached from here"
	case untrusted:
		return "make both sides agree on TLS (sslmode for PostgreSQL, tls for MySQL) and give the CA that has signed the server's certificate"
	case noFile:
		return "make the folder, and let the user of this process write into it; the file is made by itself"
	}
	return ""
}

// failure returns the error of an operation on a key, which may be empty.
func (s *Store) failure(ctx context.Context, operation, key string, err error) error {
	text := "storage/sql: " + s.String() + ": " + operation
	if key != "" {
		text += " " + strconv.Quote(key)
	}
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		<-ctx.Done() // a dialer can be ahead of it by a moment
	}
	if ended := ctx.Err(); ended != nil {
		if context.Cause(ctx) != ended {
			return fmt.Errorf("%s: %w: %w", text, ended, context.Cause(ctx))
		}
		return fmt.Errorf("%s: %w", text, ended)
	}
	if cure := s.cure(s.classify(err)); cure != "" {
		return fmt.Errorf("%s: %w: %s", text, cause{err}, cure)
	}
	return fmt.Errorf("%s: %w", text, cause{err})
}

// String returns the engine, its address and the table.
func (s *Store) String() string {
	if s.address == "" {
		return fmt.Sprintf("%s, table %s", s.name, s.table)
	}
	return fmt.Sprintf("%s at %s, table %s", s.name, s.address, s.table)
}

// A cause is an error from outside, whose text is bounded and has no line ends or other controls.
type cause struct{ error }

// Unwrap returns nothing if a file is missing, such as a server's socket: that would be taken for a missing record.
func (c cause) Unwrap() error {
	if errors.Is(c.error, fs.ErrNotExist) {
		return nil
	}
	return c.error
}

func (c cause) Error() string {
	const maxText = 500
	text := strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, c.error.Error())
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + "…"
	}
	return text
}
