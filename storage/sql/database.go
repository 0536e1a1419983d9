package sql

import (
	"context"
	"database/sql"
)

// A database is a pool of database/sql.
type database struct {
	*sql.DB
	turn chan struct{} // full while somebody writes; nil: all may write at once
}

func (d database) exec(ctx context.Context, statement string, args ...any) (int64, error) {
	if d.turn != nil {
		select {
		case d.turn <- struct{}{}:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
		defer func() { <-d.turn }()
	}
	result, err := d.ExecContext(ctx, statement, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

func (d database) query(ctx context.Context, row func(columns [][]byte), statement string, args ...any) error {
	rows, err := d.QueryContext(ctx, statement, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		return err
	}
	raw := make([]sql.RawBytes, len(names))
	columns := make([][]byte, len(names))
	targets := make([]any, len(names))
	for i := range raw {
		targets[i] = &raw[i]
	}
	for rows.Next() {
		if err := rows.Scan(targets...); err != nil {
			return err
		}
		for i := range raw {
			columns[i] = raw[i]
		}
		row(columns)
	}
	return rows.Err()
}

func (d database) close() error { return d.Close() }
