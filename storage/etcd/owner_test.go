package etcd

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/internal/server"
)

func markOwner(t *testing.T, s *Store) (owner string, unmark func()) {
	t.Helper()
	owner, unmark, err := s.MarkOwner(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return owner, unmark
}

func wantDead(t *testing.T, s *Store, owner string, want bool) {
	t.Helper()
	if dead, err := s.OwnerDead(t.Context(), owner); dead != want || err != nil {
		t.Errorf("OwnerDead(%.80q) = %t, %v, want %t", owner, dead, err, want)
	}
}

func TestOwners(t *testing.T) {
	d := newTarget(t)
	s, err := Open(t.Context(), d.url, Config{})
	if err != nil {
		t.Fatal(err)
	}
	other := d.open(t)
	owner, unmark := markOwner(t, s)
	second, unmarkSecond := markOwner(t, s)
	if owner == second || len(owner) > 100 {
		t.Errorf("two owners are %q and %q", owner, second)
	}
	for _, handle := range []*Store{s, other} {
		wantDead(t, handle, owner, false)
		wantDead(t, handle, second, false)
	}
	unmark()
	wantDead(t, s, owner, true)
	wantDead(t, s, second, false)
	wantDead(t, other, second, false)
	unmarkSecond()
	third, _ := markOwner(t, s)
	wantDead(t, other, third, false)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	wantDead(t, other, third, true)

	foreign := strings.Repeat("a", nonceLength)
	for _, unknown := range []string{
		"", "x", foreign, "etcd-", "etcd-" + foreign, "etcd-" + foreign + "-", "etcd-../" + foreign[3:] + "-" + foreign, "0123456789abcdef-" + foreign,
		"etcd-" + strings.ToUpper(foreign) + "-" + foreign, third + "0", "x" + third, strings.Repeat("a", 1000),
	} {
		wantDead(t, other, unknown, false)
	}
}

// A process that held a lease of an hour is killed. Another has the lease when etcd has not heard of the former for the session's TTL.
func TestKilledOwner(t *testing.T) {
	t.Parallel()
	d := newTarget(t)
	c := startChild(t, d.url+"?session=2s")
	if line := c.line(t); line != "held" {
		t.Fatalf("the child says %q", line)
	}
	s := d.open(t)
	claim := storage.Claim{Store: s, Key: "lease", Term: time.Hour}
	if _, err := claim.Try(t.Context()); err == nil {
		t.Fatal("the lease of a living process is free")
	}
	claim.Withdraw()
	c.kill()
	killed := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	lease, err := storage.Acquire(ctx, s, "lease", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if string(lease.Value()) != "left behind" || lease.Fence() != 2 {
		t.Errorf("the lease carries %q with fence %d", lease.Value(), lease.Fence())
	}
	t.Logf("the lease was taken %v after the kill", time.Since(killed).Round(time.Millisecond))
	if err := lease.Release(t.Context()); err != nil {
		t.Error(err)
	}
}

// A session is lost though its process lives. Who takes the lease is right; the former holder finds out by its next write,
// and has another session from then on.
func TestLostSession(t *testing.T) {
	t.Parallel()
	d := newTarget(t)
	s, other := d.openWith(t, Config{SessionTTL: minTTL}), d.open(t)
	former, err := storage.Acquire(t.Context(), s, "lease", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	lost := s.sessions.latest()
	if _, err := adminOf(t, sharedServer(t)).Revoke(t.Context(), lost.lease); err != nil {
		t.Fatal(err)
	}
	lease, err := storage.Acquire(t.Context(), other, "lease", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if err := lease.Save(t.Context(), []byte("mine")); err != nil {
		t.Error(err)
	}
	if err := former.Save(t.Context(), []byte("stale")); !errors.Is(err, storage.ErrLost) {
		t.Errorf("Save of the former holder: %v, want ErrLost", err)
	}
	if err := former.Release(t.Context()); err != nil {
		t.Error(err)
	}
	<-lost.ended // its next sign of life has found no lease
	owner, _ := markOwner(t, s)
	wantDead(t, other, owner, false)
	if err := lease.Release(t.Context()); err != nil {
		t.Error(err)
	}
}

// A process that was suspended does not rely on a session that may have ended meanwhile.
func TestSuspendedSession(t *testing.T) {
	d := newTarget(t)
	s, other := d.open(t), d.open(t)
	suspend := func(one *session) {
		one.mu.Lock()
		defer one.mu.Unlock()
		one.alive = time.Now().Add(-s.ttl)
	}
	before, _ := markOwner(t, s)
	id, _ := sessionOf(before)
	old := s.sessions.latest()
	suspend(old)
	same, _ := markOwner(t, s)
	if next, _ := sessionOf(same); next != id {
		t.Error("a session that is there is not used")
	}
	if _, err := adminOf(t, sharedServer(t)).Revoke(t.Context(), old.lease); err != nil {
		t.Fatal(err)
	}
	suspend(old)
	after, _ := markOwner(t, s)
	if next, _ := sessionOf(after); next == id {
		t.Error("an owner has a session that has ended")
	}
	wantDead(t, other, after, false)
	wantDead(t, s, before, false) // as long as it is marked
}

// The cluster is away for longer than the session's TTL. Then it takes nobody for dead.
func TestSessionSurvivesOutage(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes several times the TTL of a session")
	}
	t.Parallel()
	one, err := newMember("--unsafe-no-fsync")
	member := start(t, one, err)
	d := targetAt(member.Address())
	s, other := d.openWith(t, Config{SessionTTL: 5 * time.Second}), d.open(t)
	owner, _ := markOwner(t, s)
	kept := s.sessions.latest()
	heard := func() time.Time {
		kept.mu.Lock()
		defer kept.mu.Unlock()
		return kept.alive
	}
	until := func(what string, condition func() bool) {
		t.Helper()
		for limit := time.Now().Add(server.Patience); !condition(); time.Sleep(time.Millisecond) {
			if time.Now().After(limit) {
				t.Fatal(what)
			}
		}
	}
	last := heard()
	until("etcd does not hear of the session", func() bool { return heard().After(last) })
	member.End(os.Kill)
	last = heard()
	until("the session's TTL does not pass", func() bool { return time.Since(last) > s.ttl+2*time.Second })
	if err := member.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	until("etcd does not hear of the session again", func() bool { return heard().After(last) })
	last = heard()
	until("the session's TTL does not pass again", func() bool { return time.Since(last) > s.ttl || heard().After(last) })
	wantDead(t, other, owner, false)
}

// The session's key goes with its lease.
func TestSessionKey(t *testing.T) {
	s := newTarget(t).open(t)
	owner, _ := markOwner(t, s)
	id, _ := sessionOf(owner)
	response, err := adminOf(t, sharedServer(t)).Get(t.Context(), s.sessionKey(id))
	if err != nil || len(response.Kvs) != 1 || clientv3.LeaseID(response.Kvs[0].Lease) != s.sessions.latest().lease {
		t.Errorf("the session's key is %v, %v", response, err)
	}
	for key := range s.List(t.Context(), "") {
		t.Errorf("%q is listed", key)
	}
}
