package etcd

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"syscall"
	"testing"

	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/internal/enginetest"
	"github.com/everseal/everseal/storage/internal/server"
)

// Connections are cut at any byte. What was acknowledged stays, and nobody is told of a conflict who is alone.
func TestCutConnections(t *testing.T) {
	rounds := 400
	if raceDetector {
		rounds = 60
	}
	member := sharedServer(t)
	d := targetAt(member.Address())
	direct := d.open(t)
	c := server.NewCutter(t, member.Address())
	s := through(c, member, d).open(t)
	var revision storage.Revision
	for round := range rounds {
		value := fmt.Appendf(bytes.Repeat([]byte("."), rand.IntN(9000)), " %d", round)
		revision = enginetest.SaveSurely(t, s, value, revision)
		if item, err := direct.Load(t.Context(), "a"); err != nil || item.Revision != revision || !bytes.Equal(item.Value, value) {
			t.Fatalf("round %d: %d bytes at %q are stored, %v; want %d at %q", round, len(item.Value), item.Revision, err, len(value), revision)
		}
	}
	if c.Cuts() < rounds/50 {
		t.Errorf("only %d connections were cut", c.Cuts())
	}
	t.Logf("%d saves, %d cuts", rounds, c.Cuts())
}

// A member is killed and started again, compacted and defragmented while several write. Nothing that was acknowledged is
// lost, and a watch is told of all or ends.
func TestMemberRestarts(t *testing.T) {
	one, err := newMember()
	member := start(t, one, err)
	s := targetAt(member.Address()).open(t)
	w := enginetest.StartWriters(t, s)
	w.Wait(t, 10)
	for _, signal := range []os.Signal{os.Kill, syscall.SIGTERM, os.Kill} {
		member.End(signal)
		if err := member.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.Wait(t, 10)
		admin := adminOf(t, member)
		latest, err := admin.Get(t.Context(), "any")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := admin.Compact(t.Context(), latest.Header.Revision); err != nil {
			t.Fatal(err)
		}
		if _, err := admin.Defragment(t.Context(), member.Address()); err != nil {
			t.Fatal(err)
		}
		w.Wait(t, 10)
	}
	w.Check(t, s)
}
