package redis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/internal/enginetest"
)

// newReplica starts a replica and waits until it has what the master has.
func newReplica(t *testing.T, master node, lines ...string) node {
	t.Helper()
	replica := newNode(t, "redis-server", append(lines, "replicaof 127.0.0.1 "+master.Port, "repl-diskless-sync-delay 0")...)
	eventually(t, func() error {
		if info := fmt.Sprint(replica.do(t, "info", "replication")); !strings.Contains(info, "master_link_status:up") {
			return errors.New(info)
		}
		return nil
	})
	return replica
}

// A failover loses what the replica has not got, although it was acknowledged: the store shows then what was before, and
// nobody can change anything by a revision that was lost.
func TestFailoverLoses(t *testing.T) {
	master := newNode(t, "redis-server", "repl-diskless-sync-delay 0")
	replica := newReplica(t, master)
	s := target{url: master.url()}.open(t)
	before := mustSave(t, s, "a", "before")
	eventually(t, func() error {
		if stored := replica.do(t, "get", s.record("a")); stored != string(format(string(before.Revision), before.Value)) {
			return fmt.Errorf("the replica has %q", stored)
		}
		return nil
	})
	replica.do(t, "replicaof", "127.0.0.1", "1") // the link is broken
	lost := mustSave(t, s, "a", "lost")

	// With Replicas it is an error, as it may be lost.
	sure, err := New(s.client, Config{Replicas: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer sure.Close()
	_, err = sure.Save(t.Context(), "a", []byte("lost too"), lost.Revision)
	wanted.Want(t, err, "too few replicas", "0 of 1")

	master.End(syscall.SIGKILL)
	replica.do(t, "replicaof", "no", "one")
	s = target{url: replica.url()}.open(t)
	item, err := s.Load(t.Context(), "a")
	if err != nil || item.Revision != before.Revision || string(item.Value) != "before" {
		t.Fatalf("after the failover: %q at %q, %v", item.Value, item.Revision, err)
	}
	if _, err := s.Save(t.Context(), "a", nil, lost.Revision); !errors.Is(err, storage.ErrConflict) {
		t.Errorf("Save by a revision that was lost: %v", err)
	}
}

// Each change waits for the replica.
func TestReplicas(t *testing.T) {
	master := newNode(t, "redis-server", "repl-diskless-sync-delay 0")
	newReplica(t, master)
	s := target{url: master.url()}.with("replicas", "1").open(t)
	if s.replicas != 1 {
		t.Fatalf("%d replicas are waited for", s.replicas)
	}
	if err := storage.Check(t.Context(), s); err != nil {
		t.Error(err)
	}
	waits := fmt.Sprint(master.do(t, "info", "commandstats"))
	if !strings.Contains(waits, "cmdstat_wait:") {
		t.Error("nobody has waited")
	}
}

// The sentinels make a replica the master while several write. Watches end with an error.
func TestSentinelFailover(t *testing.T) {
	master := newNode(t, "redis-server", "repl-diskless-sync-delay 0")
	replica := newReplica(t, master)
	sentinel := newNode(t, "redis-sentinel",
		"sentinel monitor main 127.0.0.1 "+master.Port+" 1", "sentinel down-after-milliseconds main 500",
		"sentinel failover-timeout main 5000")
	eventually(t, func() error {
		if found := fmt.Sprint(sentinel.do(t, "sentinel", "replicas", "main")); !strings.Contains(found, replica.Port) {
			return errors.New(found)
		}
		return nil
	})
	d := target{url: sentinel.url()}.with("master_name", "main")
	s := d.open(t)
	w := enginetest.StartWriters(t, s)
	w.Wait(t, 10)
	watching := startWatch(t.Context(), t, s, "certificates")
	eventually(t, func() error { // it can't take over what it has not got
		if n := replica.do(t, "dbsize"); n != master.do(t, "dbsize") {
			return fmt.Errorf("the replica has %v keys", n)
		}
		return nil
	})
	master.End(syscall.SIGKILL)
	for _, err, _ := watching.next(); err == nil; _, err, _ = watching.next() {
	}
	eventually(t, func() error {
		if info := fmt.Sprint(replica.do(t, "info", "replication")); !strings.Contains(info, "role:master") {
			return errors.New(info)
		}
		return nil
	})
	w.Wait(t, 10)
	w.Stop()
	startWatch(t.Context(), t, d.open(t), "certificates")
	wantRecords(t, s, "writer/0", "writer/1", "writer/2", "writer/3")
	if got := s.place(); !strings.Contains(got, `master "main"`) {
		t.Errorf("the place is %q", got)
	}
}

// replicaOf returns the master's replica when it has what the master has.
func (c clusterOf) replicaOf(t *testing.T, master node) (replica node) {
	t.Helper()
	eventually(t, func() error {
		for _, n := range c {
			info := fmt.Sprint(n.do(t, "info", "replication"))
			if strings.Contains(info, "master_port:"+master.Port) && strings.Contains(info, "master_link_status:up") {
				replica = n
				return nil
			}
		}
		return errors.New("the master has no replica")
	})
	return replica
}

// A master of a cluster is killed, and its replica takes its place.
func TestClusterFailover(t *testing.T) {
	nodes := newCluster(t, 1)
	d := target{url: nodes.wait(t)}
	s := d.open(t)
	w := enginetest.StartWriters(t, s)
	w.Wait(t, 10)
	master := nodes.masterOf(t, s.markKey)
	replica := nodes.replicaOf(t, master)
	watching := startWatch(t.Context(), t, s, "certificates")
	eventually(t, func() error { // it can't take over what it has not got
		if n := replica.do(t, "dbsize"); n != master.do(t, "dbsize") {
			return fmt.Errorf("the replica has %v keys", n)
		}
		return nil
	})
	master.End(syscall.SIGKILL)
	for _, err, _ := watching.next(); err == nil; _, err, _ = watching.next() {
	}
	eventually(t, func() error {
		if info := fmt.Sprint(replica.do(t, "info", "replication")); !strings.Contains(info, "role:master") {
			return errors.New(info + fmt.Sprint(replica.do(t, "cluster", "nodes")))
		}
		return nil
	})
	w.Wait(t, 10)
	w.Stop()
	wantRecords(t, s, "writer/0", "writer/1", "writer/2", "writer/3")
}

// A slot moves from one node to another, with some records here and some there for a while.
func TestSlotMoves(t *testing.T) {
	nodes := newCluster(t, 0)
	d := target{url: nodes.wait(t)}
	s, plain := d.open(t), d.with("replicas", "0").open(t)
	var want []string
	for i := range 300 {
		want = append(want, fmt.Sprintf("a/%03d", i))
		mustSave(t, s, want[i], want[i])
	}
	watching := startWatch(t.Context(), t, s, "")
	from := nodes.masterOf(t, s.markKey)
	var to node
	for _, n := range nodes {
		if n != from {
			to = n
		}
	}
	slot := from.do(t, "cluster", "keyslot", s.markKey)
	fromID, toID := from.do(t, "cluster", "myid"), to.do(t, "cluster", "myid")
	to.do(t, "cluster", "setslot", slot, "importing", fromID)
	from.do(t, "cluster", "setslot", slot, "migrating", toID)
	migrate := func(keys ...string) {
		t.Helper()
		args := []any{"migrate", "127.0.0.1", to.Port, "", 0, 5000, "keys"}
		for _, key := range keys {
			args = append(args, key)
		}
		from.do(t, args...)
	}
	for _, key := range want[:150] {
		migrate(s.record(key))
	}
	for i, key := range want {
		item, err := s.Load(t.Context(), key)
		if err != nil || string(item.Value) != key {
			t.Fatalf("Load(%q) while the slot moves: %q, %v", key, item.Value, err)
		}
		if _, err := s.Save(t.Context(), key, []byte("new"), item.Revision); err != nil {
			t.Fatalf("Save(%q) while the slot moves: %v", key, err)
		}
		if i%100 == 0 {
			if _, err := s.Save(t.Context(), key, nil, item.Revision); !errors.Is(err, storage.ErrConflict) {
				t.Errorf("Save(%q) by an old revision while the slot moves: %v", key, err)
			}
		}
	}
	wantRecords(t, plain, want...)
	// What is new needs the index, too. It waits for the end, and changes nothing if that does not come.
	migrate(s.index)
	created := make(chan error, 1)
	go func() {
		_, err := s.Save(t.Context(), "new", nil, "")
		created <- err
	}()
	if err := <-created; err != nil {
		wanted.Want(t, err, "moving the slot")
	}
	for _, key := range want[150:] {
		migrate(s.record(key))
	}
	migrate(s.markKey)
	migrate(s.record("new"))
	for _, n := range []node{to, from} {
		n.do(t, "cluster", "setslot", slot, "node", toID)
	}
	ends := errors.New("Watch has ended")
	for key, err, ok := "", error(nil), true; !errors.Is(ends, err); key, err, ok = watching.next() {
		if err != nil || !ok {
			t.Logf("Watch: %v", err)
			break
		}
		_ = key
	}
	mustSave(t, s, "new", "x")
	wantRecords(t, s, append(want, "new")...)
	wantRecords(t, plain, append(want, "new")...)
}

// A client that was given may know of less than one that Open makes.
func TestGivenClients(t *testing.T) {
	n := newNode(t, "redis-server")
	client := redis.NewClient(&redis.Options{Addr: n.Address(), Protocol: 2})
	defer client.Close()
	s, err := New(client, Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := storage.Check(t.Context(), s); err != nil {
		t.Error(err)
	}
	w := startWatch(t.Context(), t, s, "")
	ended := make(chan error)
	go func() {
		_, err, _ := w.next()
		ended <- err
	}()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, errClosed) {
		t.Errorf("Watch of a store that was closed: %v", err)
	}
	if _, err := s.Load(t.Context(), "a"); !errors.Is(err, errClosed) {
		t.Errorf("Load by a store that was closed: %v", err)
	}
	if err := client.Ping(context.WithoutCancel(t.Context())).Err(); err != nil {
		t.Errorf("the client that was given is closed: %v", err)
	}
}
