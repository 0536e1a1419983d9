package sql_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/sql"
)

// Two processes on one machine share a file, and a lease in it.
func Example() {
	folder, err := os.MkdirTemp("", "everseal")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(folder)
	ctx := context.Background()
	store, err := sql.Open(ctx, "sqlite://"+filepath.ToSlash(filepath.Join(folder, "store.db")), sql.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer store.Close()

	if err := storage.Check(ctx, store); err != nil {
		fmt.Println(err)
	}
	for range 2 {
		lease, err := storage.Acquire(ctx, store, "work/example.com", 30*time.Second)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("holder %d finds %q\n", lease.Fence(), lease.Value())
		if err := lease.Save(ctx, fmt.Appendf(nil, "left by %d", lease.Fence())); err != nil {
			fmt.Println(err)
		}
		if err := lease.Release(ctx); err != nil {
			fmt.Println(err)
		}
	}
	for record, err := range store.Scan(ctx, "work", "") {
		fmt.Println(record.Key, err)
	}
	// Output:
	// holder 1 finds ""
	// holder 2 finds "left by 1"
	// work/example.com <nil>
}

// An administrator asks for the SQL before the program may work on the table.
func ExampleStore_Schema() {
	store, err := sql.Open(context.Background(), "postgres://program@localhost/certificates", sql.Config{Table: "tls.records"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer store.Close()
	fmt.Print(store.Schema())
	// Output:
	// CREATE TABLE IF NOT EXISTS "tls"."records" (
	// 	record_key text COLLATE "C" PRIMARY KEY,
	// 	revision text NOT NULL,
	// 	value bytea NOT NULL
	// );
	// INSERT INTO "tls"."records" (record_key, revision, value)
	// SELECT '', '1', 'everseal' WHERE NOT EXISTS (SELECT 1 FROM "tls"."records") ON CONFLICT DO NOTHING;
}
