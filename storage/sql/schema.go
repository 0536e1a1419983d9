package sql

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// The record that says which version a table is of. No key is empty, so it is in nobody's way.
const (
	tableVersion = "1"
	tableMark    = "everseal"
)

var (
	errForeign = errors.New("the table holds something else: set Config.Table to another name")
	errVersion = errors.New("the table was made by another version of this library: update the older one, or set Config.Table to another name")
)

// Schema returns the SQL by which the store makes its table if it is missing. An administrator may run it before the
// first use: then the program's user needs no more than SELECT, INSERT, UPDATE and DELETE on the table. It may be
// run again, and then changes nothing.
func (s *Store) Schema() string {
	return strings.Join(s.creation(), ";\n") + ";\n"
}

func (s *Store) creation() []string {
	const fill = "INSERT INTO %[1]s (record_key, revision, value)\nSELECT '', '%[2]s', '%[3]s'%[4]s WHERE NOT EXISTS (SELECT 1 FROM %[1]s)%[5]s"
	table := s.quoted()
	return []string{
		"CREATE TABLE IF NOT EXISTS " + table + " (\n" + s.columns + "\n)" + s.options,
		fmt.Sprintf(fill, table, tableVersion, tableMark, s.nowhere, s.ignore),
	}
}

// check refuses, before the first use, a server that can't be right and a table that is none of this version. A table
// that is missing is made.
func (s *Store) check(ctx context.Context) error {
	if s.checked.Load() {
		return nil
	}
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-s.turn }()
	if s.checked.Load() {
		return nil
	}
	if err := s.probe(ctx, s); err != nil {
		return err
	}
	missing, err := s.checkTable(ctx)
	if missing {
		err = s.create(ctx)
	}
	if err == nil {
		s.checked.Store(true)
	}
	return err
}

// checkTable reports whether the table is missing, or has only been begun.
func (s *Store) checkTable(ctx context.Context) (missing bool, err error) {
	var version, mark string
	err = s.query(ctx, func(columns [][]byte) {
		version, mark = string(columns[0]), string(columns[1])
	}, s.load, "")
	switch {
	case err != nil:
		return s.classify(err) == noTable, err
	case version == "":
		return true, errForeign
	case mark != tableMark:
		return false, errForeign
	case version != tableVersion:
		return false, errVersion
	}
	return false, nil
}

// create makes the table. Others may be at it too: PostgreSQL lets them fail even so that a statement says IF NOT EXISTS. So
// all statements are run, and what counts is the table that is there in the end.
func (s *Store) create(ctx context.Context) error {
	var failed error
	for _, statement := range s.creation() {
		if _, err := s.exec(ctx, statement); err != nil && failed == nil {
			failed = fmt.Errorf("the table is missing and can't be made: %w", err)
		}
	}
	_, err := s.checkTable(ctx)
	if err != nil && failed != nil {
		return failed
	}
	return err
}

// quoted returns the table's name as statements have it.
func (s *Store) quoted() string {
	return s.quote + strings.ReplaceAll(s.table, ".", s.quote+"."+s.quote) + s.quote
}

func isTable(name string) bool {
	const maxLength = 63 // of names in PostgreSQL
	if len(name) > maxLength || strings.Count(name, ".") > 1 {
		return false
	}
	for part := range strings.SplitSeq(name, ".") {
		if part == "" || strings.Trim(part, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" {
			return false
		}
	}
	return true
}
