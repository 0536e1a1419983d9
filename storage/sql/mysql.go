package sql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/go-sql-driver/mysql"
)

// MySQL returns a store in a database of MySQL 5.7 or MariaDB 10.3 or later, whose pool is one of
// github.com/go-sql-driver/mysql and reaches the primary. It asks nothing of the server yet. A pool with
// InterpolateParams needs one round trip for a statement, others need two. On a Galera cluster, its connections
// must have set wsrep_sync_wait to 7.
func MySQL(db *sql.DB, c Config) (*Store, error) {
	if db == nil {
		return nil, errNoPool
	}
	return newStore(engine{
		name:    "MySQL",
		quote:   "`",
		columns: "\trecord_key VARBINARY(512) NOT NULL PRIMARY KEY,\n\trevision VARBINARY(32) NOT NULL,\n\tvalue MEDIUMBLOB NOT NULL",
		options: " ENGINE=InnoDB",
		nowhere: " FROM DUAL",
		probe:   probeMySQL, classify: classifyMySQL,
	}, database{DB: db}, c)
}

// openMySQL keeps user and password from the driver's parser.
func openMySQL(u *url.URL, c Config) (*Store, error) {
	query := u.Query()
	connections, err := takeConnections(query, maxConnections)
	if err != nil {
		return nil, err
	}
	host := u.Host
	if u.Port() == "" {
		host += ":3306"
	}
	address := "tcp(" + host + ")"
	if query.Has("socket") {
		host = query.Get("socket")
		address = "unix(" + host + ")"
		query.Del("socket")
	}
	if !query.Has("tls") && !local(u, "") {
		query.Set("tls", "true")
	}
	if !query.Has("interpolateParams") {
		query.Set("interpolateParams", "true")
	}
	if len(u.Path) < 2 {
		return nil, errors.New("storage/sql: the URL of MySQL names no database: it is the path, as in mysql://host/database")
	}
	config, err := mysql.ParseDSN(address + "/" + url.PathEscape(u.Path[1:]) + "?" + query.Encode())
	if err != nil {
		return nil, fmt.Errorf("storage/sql: the URL of MySQL: %w", cause{err})
	}
	config.User = u.User.Username()
	config.Passwd, _ = u.User.Password()
	config.Logger = new(mysql.NopLogger) // what it would log is returned as well
	if config.Timeout == 0 {
		config.Timeout = dialTimeout
	}
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return nil, fmt.Errorf("storage/sql: the URL of MySQL: %w", cause{err})
	}
	s, err := openDatabase(connector, connections, func(db *sql.DB) (*Store, error) { return MySQL(db, c) })
	if err == nil {
		s.address = host
	}
	return s, err
}

// takeConnections takes the number of connections out of the parameters.
func takeConnections(query url.Values, standard int) (int, error) {
	const name = "pool_max_conns"
	if !query.Has(name) {
		return standard, nil
	}
	n, err := strconv.Atoi(query.Get(name))
	if err != nil || n < 1 {
		return 0, fmt.Errorf("storage/sql: the URL's parameter %s is %.20q, not a number from 1", name, query.Get(name))
	}
	query.Del(name)
	return n, nil
}

// openDatabase opens a pool that the store owns. Its connections are replaced before middle boxes drop them.
func openDatabase(c driver.Connector, connections int, store func(*sql.DB) (*Store, error)) (*Store, error) {
	const maxLifetime, maxIdleTime = 10 * time.Minute, 3 * time.Minute
	db := sql.OpenDB(c)
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	db.SetConnMaxLifetime(maxLifetime)
	db.SetConnMaxIdleTime(maxIdleTime)
	s, err := store(db)
	if err != nil {
		_ = db.Close() // it has not been used
		return nil, err
	}
	s.owned = true
	return s, nil
}

var (
	errReplica = errors.New("the server is read-only, as replicas are, which lag behind")
	errStale   = errors.New("the server is a node of a Galera cluster that does not wait for what others have changed: " +
		"set wsrep_sync_wait to 7, in a URL by the parameter wsrep_sync_wait=7")
)

// probeMySQL refuses what does not read what was written last.
func probeMySQL(ctx context.Context, s *Store) error {
	variables := make(map[string]string)
	err := s.query(ctx, func(columns [][]byte) { variables[string(columns[0])] = string(columns[1]) },
		"SHOW SESSION VARIABLES WHERE Variable_name IN ('read_only', 'wsrep_on', 'wsrep_sync_wait')")
	if err != nil {
		return err
	}
	if variables["read_only"] != "OFF" {
		return errReplica
	}
	// One bit is for reads, one for UPDATE and DELETE, one for INSERT: a change that does not wait takes a record that
	// has not come yet for a conflict.
	const all = 1 | 2 | 4
	if wait, _ := strconv.Atoi(variables["wsrep_sync_wait"]); variables["wsrep_on"] == "ON" && wait&all != all {
		return errStale
	}
	return nil
}

func classifyMySQL(err error) class {
	reported, ok := errors.AsType[*mysql.MySQLError](err)
	switch {
	case errors.Is(err, errReplica):
		return readOnly
	case errors.Is(err, mysql.ErrNoTLS):
		return untrusted
	case !ok:
		return classifyNetwork(err)
	}
	switch reported.Number {
	case 1213: // a deadlock, or of Galera a change that another node was faster with, which comes with the commit
		return rolledBack
	case 1062:
		return duplicate
	case 1146:
		return noTable
	case 1054:
		return noColumn
	case 1049:
		return noDatabase
	case 1044, 1142, 1143, 1227, 1370:
		return denied
	case 1045, 1698:
		return refused
	case 1290, 1792, 1836:
		return readOnly
	case 1021, 1114:
		return full
	case 1040, 1203, 1205:
		return busy
	case 1047, 1053, 1158, 1159, 1160, 1161:
		return unreachable
	case 3159:
		return untrusted
	}
	return otherError
}
