package sql

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/everseal/everseal/storage"
)

// A twice runs what changes something twice, as a driver or a proxy that has lost an answer, and has the second one's.
type twice struct{ pool }

func (p twice) exec(ctx context.Context, statement string, args ...any) (int64, error) {
	if _, err := p.pool.exec(ctx, statement, args...); err != nil {
		return 0, err
	}
	return p.pool.exec(ctx, statement, args...)
}

func TestStatementRunsTwice(t *testing.T) {
	eachKind(t, func(t *testing.T, d target) {
		s := d.open(t)
		if _, err := s.Load(t.Context(), "a"); err == nil {
			t.Fatal("there is something")
		}
		s.pool = twice{s.pool}
		first, err := s.Save(t.Context(), "a", []byte("1"), "")
		if err != nil {
			t.Fatalf("Save of a new key: %v", err)
		}
		second, err := s.Save(t.Context(), "a", []byte("2"), first)
		if err != nil {
			t.Fatalf("Save: %v", err)
		}
		if item, err := s.Load(t.Context(), "a"); err != nil || item.Revision != second || string(item.Value) != "2" {
			t.Errorf("stored is %q at %q, %v; Save returned %q", item.Value, item.Revision, err, second)
		}
		for _, old := range []storage.Revision{"", first} {
			if _, err := s.Save(t.Context(), "a", []byte("3"), old); !errors.Is(err, storage.ErrConflict) {
				t.Errorf("Save with the revision %q: %v, want ErrConflict", old, err)
			}
		}
	})
}

// Whether a server counts rows that it found or rows that it changed must not matter, nor how arguments are sent.
func TestMySQLSettings(t *testing.T) {
	for _, setting := range []string{"clientFoundRows=true", "interpolateParams=false", "clientFoundRows=true&interpolateParams=false", "sql_mode=%27NO_BACKSLASH_ESCAPES%27"} {
		d := newMariaDBTarget(t)
		d.url += "?" + setting
		s := d.open(t)
		wantWorks(t, s)
		value := []byte("\x00'\\\"%\xff\n")
		if _, err := s.Save(t.Context(), "a", value, ""); err != nil {
			t.Errorf("%s: %v", setting, err)
		}
		if item, err := s.Load(t.Context(), "a"); err != nil || string(item.Value) != string(value) {
			t.Errorf("%s: %q, %v", setting, item.Value, err)
		}
	}
}

// A rolling is a pool whose server rolls back each statement the first few times, as a cluster does.
type rolling struct {
	pool
	left atomic.Int64
}

func (p *rolling) rollBack() error {
	if p.left.Add(-1) >= 0 {
		return &mysql.MySQLError{Number: 1213, Message: "Deadlock found when trying to get lock; try restarting transaction"}
	}
	p.left.Store(3)
	return nil
}

func (p *rolling) exec(ctx context.Context, statement string, args ...any) (int64, error) {
	if err := p.rollBack(); err != nil {
		return 0, err
	}
	return p.pool.exec(ctx, statement, args...)
}

func (p *rolling) query(ctx context.Context, row func(columns [][]byte), statement string, args ...any) error {
	if err := p.rollBack(); err != nil {
		return err
	}
	return p.pool.query(ctx, row, statement, args...)
}

func TestStatementsRolledBack(t *testing.T) {
	s := newMariaDBTarget(t).open(t)
	p := &rolling{pool: s.pool}
	s.pool = p
	p.left.Store(3)
	wantWorks(t, s)
	p.left.Store(1000)
	if _, err := s.Save(t.Context(), "a", nil, ""); err == nil || !strings.Contains(err.Error(), "1213") || errors.Is(err, storage.ErrConflict) {
		t.Errorf("Save that is always rolled back: %v", err)
	}
}
