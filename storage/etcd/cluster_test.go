package etcd

import (
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/internal/enginetest"
	"github.com/everseal/everseal/storage/internal/server"
)

// argument returns what follows the name in a server's arguments.
func argument(s *server.Server, name string) *string {
	return &s.Arguments[slices.Index(s.Arguments, name)+1]
}

// startCluster starts three members.
func startCluster(t *testing.T) (members [3]*server.Server) {
	t.Helper()
	var all []string
	for i, name := range []string{"one", "two", "three"} {
		s, err := newMember("--unsafe-no-fsync")
		if s != nil {
			t.Cleanup(s.Remove)
		}
		server.Skip(t, err)
		*argument(s, "--name") = name
		all = append(all, name+"="+*argument(s, "--initial-advertise-peer-urls"))
		members[i] = s
	}
	for _, s := range members {
		*argument(s, "--initial-cluster") = strings.Join(all, ",")
	}
	startAll(t, members[:]...)
	return members
}

// startAll starts members that need each other to be healthy.
func startAll(t *testing.T, members ...*server.Server) {
	t.Helper()
	var starting sync.WaitGroup
	for _, s := range members {
		starting.Go(func() {
			if err := s.Start(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	starting.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

// Of three members each is killed once, the leader too: the store works on. If two are away nobody has a leader: each call says so,
// and a watch ends, as it would not be told of what the others do. All works when they are back.
func TestCluster(t *testing.T) {
	t.Parallel()
	members := startCluster(t)
	s := targetAt(members[0].Address(), members[1].Address(), members[2].Address()).open(t)
	w := enginetest.StartWriters(t, s)
	w.Wait(t, 10)
	for _, member := range members {
		member.End(os.Kill)
		w.Wait(t, 10)
		startAll(t, member)
		w.Wait(t, 10)
	}
	w.Check(t, s)

	watching := startWatch(t.Context(), t, s, "")
	for _, member := range members[1:] {
		member.End(os.Kill)
	}
	for n := 0; ; n++ {
		_, err := s.Save(t.Context(), "a", nil, "")
		wanted.Want(t, err)
		if errors.Is(err, rpctypes.ErrNoLeader) {
			wanted.Want(t, err, "most members")
			break
		}
		if n > 1000 {
			t.Fatalf("a member that reaches no other says %v", err)
		}
	}
	if _, err := s.Load(t.Context(), "writer/0"); !errors.Is(err, rpctypes.ErrNoLeader) {
		t.Errorf("Load from a member without a leader: %v, want ErrNoLeader", err)
	}
	watching.wantEnd(t, rpctypes.ErrNoLeader)
	startAll(t, members[1:]...)
	enginetest.Until(t, func() (storage.Item, error) { return s.Load(t.Context(), "writer/0") })
	if err := storage.Check(t.Context(), s); err != nil {
		t.Error(err)
	}
}

// A learner lags behind, and is no member to ask.
func TestLearner(t *testing.T) {
	one, err := newMember("--unsafe-no-fsync")
	member := start(t, one, err)
	learner, err := newMember("--unsafe-no-fsync", "--initial-cluster-state", "existing")
	if learner != nil {
		t.Cleanup(learner.Remove)
	}
	if err != nil {
		t.Fatal(err)
	}
	*argument(learner, "--name") = "two"
	peer := *argument(learner, "--initial-advertise-peer-urls")
	if _, err := adminOf(t, member).MemberAddAsLearner(t.Context(), []string{peer}); err != nil {
		t.Fatal(err)
	}
	*argument(learner, "--initial-cluster") = *argument(member, "--initial-cluster") + ",two=" + peer
	learner.Ready = nil // it is healthy in no other sense than that it takes connections
	if err := learner.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := targetAt(learner.Address()).open(t)
	enginetest.Until(t, func() (bool, error) {
		_, err := s.Load(t.Context(), "a")
		if strings.Contains(err.Error(), "learner") {
			wanted.Want(t, err, "not supported for learner", "voting members")
			return true, nil
		}
		return false, err
	})
	if err := storage.Check(t.Context(), s); err == nil {
		t.Error("a learner passes Check")
	}
	both := targetAt(learner.Address(), member.Address()).open(t)
	if err := storage.Check(t.Context(), both); err != nil {
		t.Errorf("beside a voting member: %v", err)
	}
}
