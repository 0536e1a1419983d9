// Package sql keeps records in a table of PostgreSQL, MySQL, MariaDB or SQLite, as a [storage.Store]. The machines of a
// fleet then share one database that is there anyway.
//
//	store, err := sql.Open(ctx, os.Getenv("DATABASE_URL"), sql.Config{})
//	if err != nil {
//		return err
//	}
//	defer store.Close()
//	m, err := certmanager.New(certmanager.Config{
//		Names:   []string{"example.com"},
//		Storage: store,
//	})
//
// A program that has a pool of the driver gives that: see [PostgreSQL], [MySQL] and [SQLite]. What uses database/sql
// as well imports this package by another name, such as sqlstore.
//
// Values have private keys in them. Wrap the store in a [storage.Sealed] if the database's administrators, or its
// backups, must not have them.
//
// It is a module of its own, so that who does not use it depends on no driver. As long as it is not published,
// the go.mod of a program needs a replacement for it beside that of the core module:
//
//	replace (
//		github.com/everseal/everseal => ../everseal
//		github.com/everseal/everseal/storage/sql => ../everseal/storage/sql
//	)
//
// # The table
//
// There is one table with three columns: the key, a random revision that each Save makes, and the value. It is made at
// the first use if it is missing. Where the program's user must not create tables, an administrator makes it
// beforehand, with the SQL that [Store.Schema] returns. This is PostgreSQL's:
//
//	CREATE TABLE IF NOT EXISTS "everseal" (
//		record_key text COLLATE "C" PRIMARY KEY,
//		revision text NOT NULL,
//		value bytea NOT NULL
//	);
//	INSERT INTO "everseal" (record_key, revision, value)
//	SELECT '', '1', 'everseal' WHERE NOT EXISTS (SELECT 1 FROM "everseal") ON CONFLICT DO NOTHING;
//
// That of MySQL and MariaDB:
//
//	CREATE TABLE IF NOT EXISTS `everseal` (
//		record_key VARBINARY(512) NOT NULL PRIMARY KEY,
//		revision VARBINARY(32) NOT NULL,
//		value MEDIUMBLOB NOT NULL
//	) ENGINE=InnoDB;
//	INSERT INTO `everseal` (record_key, revision, value)
//	SELECT '', '1', 'everseal' FROM DUAL WHERE NOT EXISTS (SELECT 1 FROM `everseal`);
//
// And SQLite's:
//
//	CREATE TABLE IF NOT EXISTS "everseal" (
//		record_key TEXT NOT NULL PRIMARY KEY,
//		revision TEXT NOT NULL,
//		value BLOB NOT NULL
//	);
//	INSERT INTO "everseal" (record_key, revision, value)
//	SELECT '', '1', 'everseal' WHERE NOT EXISTS (SELECT 1 FROM "everseal") ON CONFLICT DO NOTHING;
//
// Then this suffices:
//
//	GRANT SELECT, INSERT, UPDATE, DELETE ON everseal TO program;
//
// The record with the empty key, which no key is, names the version of the table. A table that another version or
// another program has made is refused before anything is written.
//
// Keys are compared byte by byte, by the collation "C", a binary type, or SQLite's own BINARY: a range of keys is what
// begins with a prefix.
//
// # One statement
//
// A Save is one INSERT, or one UPDATE of the row that has both key and revision, in a transaction of its own; a Delete
// is one DELETE. The number of rows says whether it was a conflict. Since the revision changes with each Save, it
// makes no difference whether MySQL counts rows that were found or rows that were changed (clientFoundRows).
//
// What a server rolls back in favour of others (a deadlock, or 1213 from a Galera cluster) is run again. A statement
// that a driver or a proxy has run twice, for want of an answer, finds the revision that it has made itself: that is
// success, and is read back before anything is called a conflict.
//
// Any other error leaves open what happened, as [storage.Store] has it: the connection may have broken after the value
// was stored.
//
// List and Scan read pages, by ranges of the primary key, and hold no connection between them.
//
// # PostgreSQL
//
// No advisory lock and no setting of a session is used, and no prepared statement any more once one got lost. So a
// pooler such as PgBouncer may be in between, in transaction mode.
//
// Scan relies on the statistics that autovacuum gathers. As long as there are none, in the first minute of a table that
// has just been filled, the server sorts all that is left for each page.
//
// [Store.Notify] makes a store that tells of changes by NOTIFY, and that has Watch. Transactions with a
// NOTIFY are committed one by one in the whole server; so a Notifier tells only of what lies at or below the prefixes
// that it was given, and heartbeats of leases are not among them:
//
//	notifier, err := store.Notify("certificates")
//
// Each Watch has a connection of its own, tries it out, and must not go through a pooler in transaction mode: it
// says so if it does. When the connection breaks, what was notified meanwhile is lost. So Watch ends with an error, and the
// next one connects again; who calls it looks at everything once more after its first "", and has missed nothing.
//
// There is no such thing in MySQL and SQLite. A store on them is no [storage.Watcher]: one that polls would read
// every record to give a hint, after which the record is read again. Who needs to know of changes scans now and then
// ([storage.Scan]), which is all that such a hint could do.
//
// # MySQL and MariaDB
//
// A replica, which is read-only, is refused, as it lags behind. So are the nodes of a Galera cluster until
// wsrep_sync_wait is 7: a node that does not wait for what others have committed reads what is no longer
// true, and takes a change for a conflict whose record has not come yet.
//
//	mysql://user:password@host/database?wsrep_sync_wait=7
//
// # SQLite
//
// Its file is for the processes of one machine. It is made with permissions for its owner alone, is in WAL mode, and
// waits for the disk in each Save (synchronous FULL). Writers of one process take turns; other
// processes are waited for (busy_timeout, immediate transactions) until the context ends, ten seconds at most. It
// must not be on a network's file system.
//
// # TLS and passwords
//
// A server elsewhere must have a certificate that can be verified, unless the URL says otherwise. No error has a
// password in it, nor the URL that it was in.
package sql
