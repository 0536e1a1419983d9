package sql

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"iter"
	"slices"
	"testing"

	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/storagetest"
)

// notifier returns a store that tells of changes below the prefixes.
func (d target) notifier(t *testing.T, prefixes ...string) *Notifier {
	t.Helper()
	n, err := d.open(t).Notify(prefixes...)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestNotifierContract(t *testing.T) {
	newPostgresTarget(t) // starts or skips
	var targets targetsOf
	storagetest.Suite{
		Open: func(t *testing.T) storage.Store {
			d := newPostgresTarget(t)
			return targets.add(d.notifier(t, ""), d)
		},
		Reopen: func(t *testing.T, s storage.Store) storage.Store { return targets.of(s).notifier(t, "") },
	}.Run(t)
}

// A watch is one whose hints the test pulls.
type watch struct {
	next func() (string, error, bool)
	stop func()
}

func startWatch(ctx context.Context, t *testing.T, n *Notifier, prefix string) watch {
	t.Helper()
	next, stop := iter.Pull2(n.Watch(ctx, prefix))
	t.Cleanup(stop)
	if key, err, ok := next(); key != "" || err != nil || !ok {
		t.Fatalf("the first that Watch yields is %q, %v, want \"\"", key, err)
	}
	return watch{next, stop}
}

// Heartbeats must not notify: who listens to the channel itself hears nothing of them.
func TestNotifyOnlyPrefixes(t *testing.T) {
	d := newPostgresTarget(t)
	n := d.notifier(t, "certificates", "answers")
	conn, err := n.notify.listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer hangUp(t.Context(), conn)
	for _, key := range []string{"work/a", "certificatesque/a", "budgets/a", "answers/a", "certificates/a"} {
		revision, err := n.Save(t.Context(), key, []byte("x"), "")
		if err != nil {
			t.Fatal(err)
		}
		if revision, err = n.Save(t.Context(), key, []byte("y"), revision); err != nil {
			t.Fatal(err)
		}
		if err := n.Delete(t.Context(), key, revision); err != nil {
			t.Fatal(err)
		}
	}
	// What changes nothing tells nothing.
	if err := n.Delete(t.Context(), "certificates/b", storage.Revision(rand.Text())); !errors.Is(err, storage.ErrConflict) {
		t.Error(err)
	}
	if _, err := n.Save(t.Context(), "certificates/last", nil, ""); err != nil {
		t.Fatal(err)
	}
	var heard []string
	for !slices.Contains(heard, "certificates/last") {
		notification, err := conn.WaitForNotification(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		heard = append(heard, notification.Payload)
	}
	want := []string{"answers/a", "answers/a", "answers/a", "certificates/a", "certificates/a", "certificates/a", "certificates/last"}
	if !slices.Equal(heard, want) {
		t.Errorf("the server was told of %q, want %q", heard, want)
	}
}

// A listener whose connection is cut has missed something. It says so, and who watches again and then looks at everything
// misses nothing.
func TestWatchCut(t *testing.T) {
	d := newPostgresTarget(t)
	n, other := d.notifier(t, "certificates"), d.notifier(t, "certificates")
	admin, err := sharedPostgres()
	if err != nil {
		t.Fatal(err)
	}
	save := func(key string) {
		t.Helper()
		if _, err := storage.Update(t.Context(), other, key, func(old []byte) ([]byte, error) { return append(old, 'x'), nil }); err != nil {
			t.Fatal(err)
		}
	}
	w := startWatch(t.Context(), t, n, "certificates")
	save("certificates/seen")
	if key, err, _ := w.next(); key != "certificates/seen" || err != nil {
		t.Fatalf("Watch yields %q, %v", key, err)
	}
	cut := fmt.Sprintf("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = 'LISTEN \"%s\"'", d.table)
	if err := admin.postgresStatement(t.Context(), cut); err != nil {
		t.Fatal(err)
	}
	if key, err, _ := w.next(); key != "" || err == nil || errors.Is(err, context.Canceled) {
		t.Fatalf("Watch whose connection was cut yields %q, %v, want an error", key, err)
	}
	if _, _, ok := w.next(); ok {
		t.Error("Watch goes on after its error")
	}
	save("certificates/missed")
	w = startWatch(t.Context(), t, n, "certificates")
	save("certificates/new")
	found := map[string]bool{}
	for record, err := range n.Scan(t.Context(), "certificates", "") {
		if err != nil {
			t.Fatal(err)
		}
		found[record.Key] = true
	}
	key, err, _ := w.next()
	if !found["certificates/missed"] || key != "certificates/new" || err != nil {
		t.Errorf("after the cut the look finds %v and Watch yields %q, %v", found, key, err)
	}
}

// A caller that takes no hints for long must not make the server keep what all notify of.
func TestWatchLate(t *testing.T) {
	d := newPostgresTarget(t)
	n := d.notifier(t, "certificates")
	w := startWatch(t.Context(), t, n, "certificates")
	admin, err := sharedPostgres()
	if err != nil {
		t.Fatal(err)
	}
	flood := fmt.Sprintf("SELECT pg_notify('%s', 'certificates/' || i) FROM generate_series(0, %d) i", d.table, maxHints)
	if err := admin.postgresStatement(t.Context(), flood); err != nil {
		t.Fatal(err)
	}
	for listening := "1"; listening != "0"; { // until it has hung up
		const count = "SELECT count(*)::text FROM pg_stat_activity WHERE query = $1"
		err := n.pool.query(t.Context(), func(columns [][]byte) { listening = string(columns[0]) }, count, fmt.Sprintf("LISTEN %q", d.table))
		if err != nil {
			t.Fatal(err)
		}
	}
	for {
		key, err, ok := w.next()
		if !ok {
			t.Fatal("Watch ended without an error")
		}
		if err != nil {
			if key != "" || !errors.Is(err, errLate) {
				t.Errorf("Watch yields %q, %v, want errLate", key, err)
			}
			return
		}
	}
}

func TestNotifyRefusals(t *testing.T) {
	sqlite := newSQLiteTarget(t).open(t)
	if _, err := sqlite.Notify("certificates"); err == nil {
		t.Error("a store on SQLite notifies")
	}
	if _, ok := storage.As[storage.Watcher](sqlite); ok {
		t.Error("a store on SQLite is a Watcher")
	}
	d := newPostgresTarget(t)
	if _, err := d.open(t).Notify("../a"); !errors.Is(err, storage.ErrInvalidKey) {
		t.Errorf("Notify of an invalid prefix: %v", err)
	}
	n := d.notifier(t, "certificates")
	for _, prefix := range []string{"", "work", "certificatesque"} {
		for key, err := range n.Watch(t.Context(), prefix) {
			if key != "" || !errors.Is(err, errUncovered) {
				t.Errorf("Watch(%q) yields %q, %v, want errUncovered", prefix, key, err)
			}
		}
	}
	if _, ok := storage.As[storage.Watcher](n); !ok {
		t.Error("a Notifier is no Watcher")
	}
	if _, ok := storage.As[storage.Scanner](n); !ok {
		t.Error("a Notifier is no Scanner")
	}
}
