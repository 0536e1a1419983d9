package certmanager_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/solver"
)

type cleaningLego struct{ presented, cleaned atomic.Int32 }

func (*cleaningLego) Sequential() time.Duration { return 0 }

func (l *cleaningLego) Present(context.Context, string, string, string) error {
	l.presented.Add(1)
	return nil
}

func (l *cleaningLego) CleanUp(ctx context.Context, _, _, _ string) error {
	select {
	case <-time.After(2 * time.Second):
		l.cleaned.Add(1)
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Many answers are taken away one after another in more than a minute.
func TestSequentialCleanUp(t *testing.T) {
	inBubbleWorld(t, func(t *testing.T, w *world) {
		var names []string
		for i := range 45 {
			names = append(names, fmt.Sprintf("*.n%d.example.com", i))
		}
		provider := new(cleaningLego)
		lego := solver.LegoV5(provider)
		lego.Propagation.Off = true
		config := w.config()
		config.Preflight = certmanager.PreflightOff
		config.Subjects = []certmanager.Subject{{Names: names}}
		config.Solvers = []acme.Solver{lego}
		_, stop := w.start(config)
		defer stop()
		w.await(certmanager.EventFailed, names[0], 1)
		synctest.Wait()
		if p, c := provider.presented.Load(), provider.cleaned.Load(); p != c {
			t.Errorf("%d records created, %d taken away", p, c)
		}
	})
}
