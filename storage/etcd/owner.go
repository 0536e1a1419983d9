package etcd

import (
	"context"
	"crypto/rand"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/everseal/everseal/storage/internal/wait"
)

// Owners are named after the session of the store that has marked them:
//
//	etcd-<26 letters and digits of the session>-<26 of the owner>
const ownerName = "etcd-"

// sessionOf returns the session's part of an owner's name, and false if the owner is none of a store's on etcd.
func sessionOf(owner string) (session string, ok bool) {
	rest, found := strings.CutPrefix(owner, ownerName)
	session, nonce, cut := strings.Cut(rest, "-")
	return session, found && cut && isPart(session) && isPart(nonce)
}

func isPart(s string) bool { return s == strings.ToLower(s) && isNonce(strings.ToUpper(s)) }

func newPart() string { return strings.ToLower(rand.Text()) }

// A session is a lease of etcd that this process keeps alive, and a key that goes with the lease. While the key is there, so is
// the process.
type session struct {
	id    string
	lease clientv3.LeaseID
	stop  context.CancelFunc
	ended chan struct{} // closed when it is lost or stopped

	mu    sync.Mutex
	alive time.Time // when etcd has last heard of it; guarded by mu
}

// Sessions are those of a store: one at a time, and another if that was lost.
type sessions struct {
	mu      sync.Mutex
	current *session        // guarded by mu
	own     map[string]bool // the ids of all, guarded by mu
	owners  map[string]bool // that are marked; guarded by mu
}

// MarkOwner returns the name of a new owner of leases, which dies with this process: when etcd has not heard of it for the session's
// TTL. Only the first owner costs requests: all have the same session.
func (s *Store) MarkOwner(ctx context.Context) (owner string, unmark func(), err error) {
	c, err := s.connect(ctx)
	if err != nil {
		return "", nil, s.failure(ctx, "begin a session", "", err)
	}
	id, err := s.session(ctx, c)
	if err != nil {
		return "", nil, s.failure(ctx, "begin a session", "", err)
	}
	owner = ownerName + id + "-" + newPart()
	s.sessions.mark(owner, true)
	return owner, func() { s.sessions.mark(owner, false) }, nil
}

// OwnerDead reports whether the session of an owner has ended. Of an owner of its own a store knows better.
func (s *Store) OwnerDead(ctx context.Context, owner string) (bool, error) {
	id, ok := sessionOf(owner)
	if !ok {
		return false, nil
	}
	if own, marked := s.sessions.knows(owner, id); own {
		return !marked, nil
	}
	c, err := s.connect(ctx)
	if err != nil {
		return false, s.failure(ctx, "look for the session of a lease's owner", "", err)
	}
	there, err := s.there(ctx, c, id)
	if err != nil {
		return false, s.failure(ctx, "look for the session of a lease's owner", "", err)
	}
	return !there, nil
}

// ForgetOwner does nothing: etcd removes what it knew of a session with the session.
func (s *Store) ForgetOwner(string) {}

func (all *sessions) mark(owner string, marked bool) {
	all.mu.Lock()
	defer all.mu.Unlock()
	if all.owners == nil {
		all.owners = make(map[string]bool)
	}
	if marked {
		all.owners[owner] = true
	} else {
		delete(all.owners, owner)
	}
}

func (all *sessions) knows(owner, id string) (own, marked bool) {
	all.mu.Lock()
	defer all.mu.Unlock()
	return all.own[id], all.owners[owner]
}

// latest returns the current session, nil if there was none yet.
func (all *sessions) latest() *session {
	all.mu.Lock()
	defer all.mu.Unlock()
	return all.current
}

// add makes a session the current one. The one before is lost.
func (all *sessions) add(one *session) {
	all.mu.Lock()
	defer all.mu.Unlock()
	if all.current != nil {
		all.current.stop()
	}
	if all.own == nil {
		all.own = make(map[string]bool)
	}
	all.current, all.own[one.id] = one, true
}

// session returns the id of a session that is alive.
func (s *Store) session(ctx context.Context, c *connection) (string, error) {
	if current := s.sessions.latest(); current.heard(s.ttl / 2) {
		return current.id, nil
	}
	if err := s.takeTurn(ctx); err != nil {
		return "", err
	}
	defer s.endTurn()
	current := s.sessions.latest()
	if current.heard(s.ttl / 2) {
		return current.id, nil
	}
	if s.closed {
		return "", errClosed
	}
	if current != nil { // this process was suspended, or etcd was away
		there, err := s.there(ctx, c, current.id)
		if there || err != nil {
			return current.id, err
		}
	}
	begun, err := s.begin(ctx, c)
	if err != nil {
		return "", err
	}
	s.sessions.add(begun)
	return begun.id, nil
}

// there reports whether the key of a session is there.
func (s *Store) there(ctx context.Context, c *connection, id string) (bool, error) {
	response, err := c.get(ctx, s.sessionKey(id), clientv3.WithCountOnly())
	return err == nil && response.Count > 0, err
}

// begin makes a session. What is left of one that fails ends with its lease.
func (s *Store) begin(ctx context.Context, c *connection) (*session, error) {
	begun := time.Now()
	var granted *clientv3.LeaseGrantResponse
	err := again(ctx, refused, func() (err error) {
		granted, err = c.lease.Grant(clientv3.WithRequireLeader(ctx), int64(s.ttl/time.Second))
		return err
	})
	if err != nil {
		return nil, err
	}
	one := &session{id: newPart(), lease: granted.ID, ended: make(chan struct{}), alive: begun}
	key := s.sessionKey(one.id)
	if _, err := c.swap(ctx, absent(key), clientv3.OpPut(key, "", clientv3.WithLease(one.lease))); err != nil {
		return nil, err
	}
	// It lives as long as the store, not as the call that has begun it.
	living, stop := context.WithCancel(c.client.Ctx())
	one.stop = stop
	go s.keep(living, c, one)
	return one, nil
}

// keep keeps a session alive until it is lost or stopped. The client gives up when etcd has not answered for the TTL, but etcd
// need not have: a new leader begins to count anew.
func (s *Store) keep(ctx context.Context, c *connection, one *session) {
	defer close(one.ended)
	for runs := 1; ctx.Err() == nil; runs++ {
		if answers, err := c.lease.KeepAlive(ctx, one.lease); err == nil && one.note(answers) {
			runs = 1
		}
		if there, err := s.there(ctx, c, one.id); err == nil && !there || wait.Before(ctx, runs) != nil {
			return
		}
	}
}

// note notes when etcd has heard of the session, and reports whether it has.
func (one *session) note(answers <-chan *clientv3.LeaseKeepAliveResponse) (heard bool) {
	for range answers {
		one.mu.Lock()
		one.alive = time.Now()
		one.mu.Unlock()
		heard = true
	}
	return heard
}

// heard reports whether there is a session, and etcd has heard of it for no longer ago than that.
func (one *session) heard(ago time.Duration) bool {
	if one == nil {
		return false
	}
	select {
	case <-one.ended:
		return false
	default:
	}
	one.mu.Lock()
	defer one.mu.Unlock()
	return time.Since(one.alive) < ago
}

// end ends the current session, as far as the cluster can be reached.
func (all *sessions) end(c *connection) {
	current := all.latest()
	if current == nil {
		return
	}
	current.stop()
	<-current.ended
	const endTimeout = 2 * time.Second
	ctx, cancel := context.WithTimeout(c.client.Ctx(), endTimeout)
	defer cancel()
	_, _ = c.lease.Revoke(ctx, current.lease) // else it ends with its TTL
}
