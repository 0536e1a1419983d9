package s3

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/internal/enginetest"
	"github.com/everseal/everseal/storage/internal/server"
)

// Connections are cut at any byte. What was acknowledged stays, and nobody is told of a conflict who is alone.
func TestCutConnections(t *testing.T) {
	d := realTarget(t)
	direct := d.open(t)
	cutter := server.NewCutter(t, d.address)
	d.address = cutter.Address()
	s := d.open(t)
	const rounds = 100
	var revision storage.Revision
	for round := range rounds {
		value := fmt.Appendf(bytes.Repeat([]byte("."), rand.IntN(9000)), " %d", round)
		revision = enginetest.SaveSurely(t, s, value, revision)
		wantStored(t, direct, "a", string(value), revision)
	}
	if cutter.Cuts() < rounds/20 {
		t.Errorf("only %d connections were cut", cutter.Cuts())
	}
	t.Logf("%d saves, %d cuts", rounds, cutter.Cuts())
}

// A server is killed and started again while several write. Nothing that was acknowledged is lost.
func TestServerRestarts(t *testing.T) {
	started, err := startServer()
	if started != nil {
		t.Cleanup(started.Remove)
	}
	server.Skip(t, err)
	s := target{address: started.Address(), user: "root", secret: rootSecret}.open(t)
	w := enginetest.StartWriters(t, s)
	w.Wait(t, 5)
	for _, signal := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
		started.End(signal)
		if err := started.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.Wait(t, 5)
	}
	for i, n := range w.Stop() {
		item, err := s.Load(t.Context(), fmt.Sprintf("writer/%d", i))
		if err != nil || len(item.Value) < n {
			t.Errorf("writer %d: %d increments are stored, %v; %d were acknowledged", i, len(item.Value), err, n)
		}
	}
}
