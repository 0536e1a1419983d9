package sql

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sort"
	"strconv"
	"testing"
	"time"

	"github.com/everseal/everseal/storage"
)

const handoverTerm = 400 * time.Millisecond

// childHandover takes a lease, adds one to its value, and hands it on, without end. It prints the fence and the value
// each time.
func childHandover(ctx context.Context, arguments []string) error {
	ctx, cancel := whileParentLives(ctx)
	defer cancel()
	s, err := Open(ctx, arguments[0], Config{Table: arguments[1]})
	if err != nil {
		return err
	}
	defer s.Close()
	for ctx.Err() == nil {
		if err := handOver(ctx, s); err != nil && !errors.Is(err, storage.ErrLost) {
			return err
		}
		time.Sleep(rand.N(100 * time.Millisecond)) // so that others have a chance
	}
	return nil
}

func handOver(ctx context.Context, s storage.Store) error {
	lease, err := storage.Acquire(ctx, s, "lease", handoverTerm)
	if err != nil {
		return err
	}
	n, _ := strconv.Atoi(string(lease.Value()))
	if err := lease.Save(ctx, []byte(strconv.Itoa(n+1))); err != nil {
		_ = lease.Release(ctx)
		return err
	}
	fmt.Println(lease.Fence(), n+1)
	return lease.Release(ctx)
}

// A lease goes from process to process while some are killed. Nobody ever holds it beside another: else two would
// have added one to the same value.
func TestHandovers(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			d := kind.target(t)
			t.Parallel()
			testHandovers(t, d)
		})
	}
}

// A holding is one line of a child.
type holding struct{ fence, value int }

func testHandovers(t *testing.T, d target) {
	const processes = 4
	handovers, kills := 500, 20
	if raceDetector {
		handovers, kills = 60, 4
	}
	arguments := []string{d.url, d.table}
	var children [processes]*child
	for i := range children {
		children[i] = startChild(t, "handover", arguments...)
	}
	var held []holding
	note := func(line string) {
		var h holding
		if _, err := fmt.Sscan(line, &h.fence, &h.value); err != nil {
			t.Fatalf("a child says %q", line)
		}
		held = append(held, h)
	}
	killed := 0
	for len(held) < handovers || killed < kills {
		select {
		case line := <-children[0].lines:
			note(line)
		case line := <-children[1].lines:
			note(line)
		case line := <-children[2].lines:
			note(line)
		case line := <-children[3].lines:
			note(line)
		case <-time.After(patience):
			t.Fatalf("nobody takes the lease after %d handovers", len(held))
		}
		if killed < kills && len(held) >= (killed+1)*handovers/(kills+1) {
			victim := rand.IntN(processes)
			for _, line := range children[victim].kill() {
				note(line)
			}
			children[victim] = startChild(t, "handover", arguments...)
			killed++
		}
	}
	for _, c := range children {
		for _, line := range c.kill() {
			note(line)
		}
	}
	sort.Slice(held, func(i, j int) bool { return held[i].value < held[j].value })
	for i := range held[1:] {
		if held[i+1].value == held[i].value || held[i+1].fence <= held[i].fence {
			t.Errorf("two held the lease at once: %+v, then %+v", held[i], held[i+1])
		}
	}
	// Who was killed between its save and its line is the only one whose value is missing.
	if missing := held[len(held)-1].value - len(held); missing < 0 || missing > kills {
		t.Errorf("%d of %d holders have reported nothing, with %d kills", missing, held[len(held)-1].value, kills)
	}
	t.Logf("%d handovers, %d kills", len(held), killed)
}
