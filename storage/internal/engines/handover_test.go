package engines

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
	s, closer, err := open(ctx, arguments[0])
	if err != nil {
		return err
	}
	defer closer.Close()
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

// A holding is one line of a child.
type holding struct{ fence, value int }

// A lease goes from process to process while some are killed. Nobody ever holds it beside another: else two would
// have added one to the same value.
func TestHandovers(t *testing.T) {
	const handovers, kills = 500, 20
	eachEngine(t, func(t *testing.T, p place) {
		var held []holding
		tr := &troop{
			start: func(int) *child { return startChild(t, "handover", []string{p.url}) },
			heard: func(line string) {
				var h holding
				if _, err := fmt.Sscan(line, &h.fence, &h.value); err != nil {
					t.Errorf("a child says %q", line)
				}
				held = append(held, h)
			},
			victim: func(int, string) int { return rand.IntN(4) },
		}
		tr.run(t, handovers, kills)
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
		t.Logf("%d handovers, %d kills", len(held), tr.killed)
	})
}
