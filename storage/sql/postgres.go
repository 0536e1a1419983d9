package sql

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// PostgreSQL returns a store in a database of PostgreSQL 11 or later, of which the pool's connections must reach the primary
// (target_session_attrs=read-write). It asks nothing of the server yet. Statements stand alone, and are prepared only as
// long as none gets lost: a pooler such as PgBouncer may be in between, in transaction mode too.
func PostgreSQL(p *pgxpool.Pool, c Config) (*Store, error) {
	if p == nil {
		return nil, errNoPool
	}
	s, err := newStore(engine{
		name:    "PostgreSQL",
		quote:   `"`,
		dollars: true,
		columns: "\trecord_key text COLLATE \"C\" PRIMARY KEY,\n\trevision text NOT NULL,\n\tvalue bytea NOT NULL",
		ignore:  " ON CONFLICT DO NOTHING",
		probe:   probePostgres, classify: classifyPostgres,
	}, postgresPool{p, new(atomic.Bool)}, c)
	if err != nil {
		return nil, err
	}
	config := p.Config().ConnConfig
	s.address = net.JoinHostPort(config.Host, strconv.Itoa(int(config.Port)))
	if strings.HasPrefix(config.Host, "/") {
		s.address = config.Host
	}
	return s, nil
}

// Defaults of the pools that Open makes.
const (
	maxConnections = 8
	dialTimeout    = 10 * time.Second
)

// openPostgres keeps the password from the driver's parser, whose errors quote what they could not read.
func openPostgres(ctx context.Context, u *url.URL, c Config) (*Store, error) {
	password, _ := u.User.Password()
	bare := *u
	if u.User != nil {
		bare.User = url.User(u.User.Username())
	}
	query := u.Query()
	if query.Has("password") {
		password = query.Get("password")
		query.Del("password")
	}
	if !query.Has("sslmode") && !local(u, query.Get("host")) {
		query.Set("sslmode", "verify-full")
	}
	bare.RawQuery = query.Encode()
	config, err := pgxpool.ParseConfig(bare.String())
	if err != nil {
		if inner := errors.Unwrap(err); inner != nil {
			return nil, fmt.Errorf("storage/sql: the URL of PostgreSQL: %w", cause{inner})
		}
		return nil, errors.New("storage/sql: the URL of PostgreSQL has a parameter that can't be: see those of pgx")
	}
	if password != "" {
		config.ConnConfig.Password = password
	}
	if !query.Has("pool_max_conns") {
		config.MaxConns = maxConnections
	}
	if !query.Has("connect_timeout") {
		config.ConnConfig.ConnectTimeout = dialTimeout
	}
	if config.ConnConfig.ValidateConnect == nil {
		config.ConnConfig.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	p, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("storage/sql: the URL of PostgreSQL: %w", cause{err})
	}
	s, err := PostgreSQL(p, c)
	if err != nil {
		p.Close()
		return nil, err
	}
	s.owned = true
	return s, nil
}

// A postgresPool runs statements in one round trip each, with values as they are: prepared, until a pooler is seen to be
// in between, which runs a statement on another connection than the one that has prepared it.
type postgresPool struct {
	*pgxpool.Pool
	pooled *atomic.Bool
}

func (p postgresPool) exec(ctx context.Context, statement string, args ...any) (int64, error) {
	return p.run(ctx, func([][]byte) {}, statement, args)
}

func (p postgresPool) query(ctx context.Context, row func(columns [][]byte), statement string, args ...any) error {
	_, err := p.run(ctx, row, statement, args)
	return err
}

func (p postgresPool) run(ctx context.Context, row func(columns [][]byte), statement string, args []any) (int64, error) {
	values := make([][]byte, len(args))
	for i, arg := range args {
		switch arg := arg.(type) {
		case string:
			values[i] = []byte(arg)
		case []byte:
			values[i] = arg
		}
	}
	conn, err := p.Acquire(ctx)
	if err != nil {
		return 0, withoutConfig(err)
	}
	defer conn.Release()
	server := conn.Conn().PgConn()
	if !p.pooled.Load() {
		var n int64
		prepared, err := conn.Conn().Prepare(ctx, statement, statement) // under a digest of its text: the same for all clients
		if err == nil {
			n, err = readAll(server.ExecPrepared(ctx, prepared.Name, values, binary, binary), row)
		}
		if !isUnprepared(err) {
			return n, err
		}
		p.pooled.Store(true)
	}
	return readAll(server.ExecParams(ctx, statement, values, nil, binary, binary), row)
}

// binary is the format of all arguments, and of all columns.
var binary = []int16{1}

// isUnprepared reports whether a statement was not run because the server's connection lacks it, or has prepared it for
// another client.
func isUnprepared(err error) bool {
	const invalidName, duplicateName = "26000", "42P05"
	refused, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (refused.Code == invalidName || refused.Code == duplicateName)
}

func readAll(reader *pgconn.ResultReader, row func(columns [][]byte)) (int64, error) {
	for reader.NextRow() {
		row(reader.Values())
	}
	tag, err := reader.Close()
	return tag.RowsAffected(), err
}

func (p postgresPool) close() error {
	p.Close()
	return nil
}

// withoutConfig returns the error without the connection's configuration, which has the password.
func withoutConfig(err error) error {
	if connecting, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return fmt.Errorf("connecting as %q to database %q: %w", connecting.Config.User, connecting.Config.Database, connecting.Unwrap())
	}
	return err
}

var errStandby = fmt.Errorf("the server is a standby, which lags behind: %w", pgconn.ErrReadOnlyConnection)

func probePostgres(ctx context.Context, s *Store) error {
	standby := false
	err := s.query(ctx, func(columns [][]byte) { standby = string(columns[0]) == "true" }, "SELECT pg_is_in_recovery()::text")
	if err == nil && standby {
		return errStandby
	}
	return err
}

func classifyPostgres(err error) class {
	if reported, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch reported.Code {
		case "40001", "40P01":
			return rolledBack
		case "42P01":
			return noTable
		case "42703", "42P10", "42804":
			return noColumn
		case "3D000":
			return noDatabase
		case "42501", "3F000":
			return denied
		case "28000":
			if strings.Contains(reported.Message, "encryption") || strings.Contains(reported.Message, "certificate") {
				return untrusted
			}
			return refused
		case "28P01":
			return refused
		case "25006":
			return readOnly
		case "53100", "53200":
			return full
		case "53300", "55P03":
			return busy
		case "57P01", "57P02", "57P03":
			return unreachable
		}
		return otherError
	}
	if errors.Is(err, pgconn.ErrReadOnlyConnection) {
		return readOnly
	}
	return classifyNetwork(err)
}

// classifyNetwork returns what an error means that comes from no server.
func classifyNetwork(err error) class {
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return untrusted
	}
	text := err.Error()
	if strings.Contains(text, "tls: ") || strings.Contains(text, "x509: ") || strings.Contains(text, "TLS") {
		return untrusted
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return unreachable
	}
	return otherError
}
