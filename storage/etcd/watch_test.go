package etcd

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/internal/server"
)

// A watch is one whose hints the test pulls.
type watch struct {
	next func() (string, error, bool)
	stop func()
}

func startWatch(ctx context.Context, t *testing.T, s *Store, prefix string) watch {
	t.Helper()
	next, stop := iter.Pull2(s.Watch(ctx, prefix))
	t.Cleanup(stop)
	if key, err, ok := next(); key != "" || err != nil || !ok {
		t.Fatalf("the first that Watch yields is %q, %v, want \"\"", key, err)
	}
	return watch{next, stop}
}

func (w watch) want(t *testing.T, want string) {
	t.Helper()
	if key, err, _ := w.next(); key != want || err != nil {
		t.Fatalf("Watch yields %q, %v, want %q", key, err, want)
	}
}

// wantEnd takes what is left and wants the error that it ends with.
func (w watch) wantEnd(t *testing.T, want error) {
	t.Helper()
	for {
		key, err, ok := w.next()
		if !ok {
			t.Fatal("Watch ended without an error")
		}
		if err == nil {
			continue
		}
		if key != "" || !errors.Is(err, want) {
			t.Errorf("Watch yields %q, %v, want %v", key, err, want)
		}
		if _, _, ok := w.next(); ok {
			t.Error("Watch continues after its error")
		}
		return
	}
}

func save(t *testing.T, s storage.Store, key string) {
	t.Helper()
	if _, err := storage.Update(t.Context(), s, key, func(old []byte) ([]byte, error) { return append(old, 'x'), nil }); err != nil {
		t.Fatal(err)
	}
}

// While a watch has no connection something is changed. Whether etcd still knows of it or has compacted it decides how the watch
// continues: it tells of it, or ends with an error.
func TestWatchCompacted(t *testing.T) {
	member := sharedServer(t)
	cutter := server.NewCutter(t, member.Address())
	cutter.LeaveWhole(true)
	d := targetAt(member.Address())
	s, other := through(cutter, member, d).open(t), d.open(t)
	w := startWatch(t.Context(), t, s, "certificates")
	save(t, other, "certificates/seen")
	w.want(t, "certificates/seen")

	cutter.Refuse(true)
	cutter.Cut()
	save(t, other, "certificates/kept")
	cutter.Refuse(false)
	w.want(t, "certificates/kept")

	cutter.Refuse(true)
	cutter.Cut()
	save(t, other, "certificates/missed")
	save(t, other, "certificates/missed")
	admin := adminOf(t, member)
	latest, err := admin.Get(t.Context(), "any")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := admin.Compact(t.Context(), latest.Header.Revision); err != nil {
		t.Fatal(err)
	}
	cutter.Refuse(false)
	key, err, _ := w.next()
	if key != "" || !errors.Is(err, rpctypes.ErrCompacted) || !strings.Contains(err.Error(), "read everything") {
		t.Fatalf("Watch whose events were compacted yields %q, %v, want ErrCompacted", key, err)
	}
	if _, _, ok := w.next(); ok {
		t.Error("Watch continues after its error")
	}

	w = startWatch(t.Context(), t, s, "certificates")
	save(t, other, "certificates/new")
	found := make(map[string]bool)
	for record, err := range s.Scan(t.Context(), "certificates", "") {
		if err != nil {
			t.Fatal(err)
		}
		found[record.Key] = true
	}
	if !found["certificates/missed"] {
		t.Errorf("the scan after the watch has begun again finds %v", found)
	}
	w.want(t, "certificates/new")
}

// A caller that takes no hints for long must not make its process keep all that is changed.
func TestWatchLate(t *testing.T) {
	s := newTarget(t).open(t)
	c, err := s.connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	h, stop := s.listen(t.Context(), c, "certificates")
	defer stop()
	<-h.started
	admin := adminOf(t, sharedServer(t))
	const each = 100 // of one transaction
	for n := 0; n <= maxHints; n += each {
		var puts []clientv3.Op
		for i := range each {
			puts = append(puts, clientv3.OpPut(s.recordKey(fmt.Sprintf("certificates/%d", n+i)), ""))
		}
		if _, err := admin.Txn(t.Context()).Then(puts...).Commit(); err != nil {
			t.Fatal(err)
		}
	}
	if <-h.ended; h.err != errLate {
		t.Errorf("a watch with more than %d keys waiting: %v, want errLate", maxHints, h.err)
	}
}

// A watch on a cluster that was restored would wait until it comes to the revision that was seen before.
func TestWatchRestored(t *testing.T) {
	s := newTarget(t).open(t)
	save(t, s, "a")
	c, err := s.connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	h := &hints{store: s, connection: c}
	if err := h.probe(t.Context()); err != nil || h.revision == 0 {
		t.Fatalf("at revision %d: %v", h.revision, err)
	}
	h.revision += 1_000_000
	if err := h.probe(t.Context()); err != errRestored {
		t.Errorf("a cluster at an earlier revision: %v, want errRestored", err)
	}
	h.revision = 0
	if _, err := adminOf(t, sharedServer(t)).Delete(t.Context(), s.prefix, clientv3.WithPrefix()); err != nil {
		t.Fatal(err)
	}
	if err := h.probe(t.Context()); err != errRestored {
		t.Errorf("a cluster without the store's mark: %v, want errRestored", err)
	}
}

// A watch of a store that is closed ends.
func TestWatchClosed(t *testing.T) {
	d := newTarget(t)
	s, err := Open(t.Context(), d.url, Config{})
	if err != nil {
		t.Fatal(err)
	}
	w := startWatch(t.Context(), t, s, "")
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	w.wantEnd(t, errClosed)
}
