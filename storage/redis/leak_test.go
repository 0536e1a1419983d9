package redis

import (
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/everseal/everseal/storage"
)

// After Close nothing is left: no goroutine of the store's or the driver's, and no connection.
func TestCloseLeavesNothing(t *testing.T) {
	n := newNode(t, "redis-server")
	d := target{url: n.url()}
	goroutines := func() string {
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		var left []string
		for stack := range strings.SplitSeq(string(stacks), "\n\n") {
			if strings.Contains(stack, "created by github.com/redis/go-redis") || strings.Contains(stack, "created by github.com/everseal/everseal/storage/redis.(*Store)") {
				left = append(left, stack)
			}
		}
		return strings.Join(left, "\n\n")
	}
	for range 3 {
		s, err := Open(t.Context(), d.url, Config{})
		if err != nil {
			t.Fatal(err)
		}
		if err := storage.Check(t.Context(), s); err != nil {
			t.Error(err)
		}
		w := startWatch(t.Context(), t, s, "")
		defer w.stop()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("Close again: %v", err)
		}
		if _, err := s.Load(t.Context(), "a"); !errors.Is(err, errClosed) {
			t.Errorf("Load after Close: %v", err)
		}
	}
	eventually(t, func() error {
		if left := goroutines(); left != "" {
			return errors.New(left)
		}
		return nil
	})
	eventually(t, func() error {
		list := n.do(t, "client", "list").(string)
		if strings.Count(list, "\n") > 1 {
			return errors.New(list)
		}
		return nil
	})
}

// A store has no more connections than it may, however many calls there are at once.
func TestBoundedConnections(t *testing.T) {
	n := newNode(t, "redis-server")
	s := target{url: n.url()}.with("pool_size", "3").open(t)
	const callers = 100
	errs := make(chan error, callers)
	for i := range callers {
		go func() {
			var err error
			for range 20 {
				if _, err = storage.Update(t.Context(), s, string(rune('a'+i%26)), func([]byte) ([]byte, error) { return nil, nil }); err != nil {
					break
				}
			}
			errs <- err
		}()
	}
	most := 0
	for left := callers; left > 0; {
		select {
		case err := <-errs:
			left--
			if err != nil {
				t.Error(err)
			}
		default:
			list := n.do(t, "client", "list").(string)
			most = max(most, strings.Count(list, "\n")-1) // without the one that asks
		}
	}
	if most > 3 || most == 0 {
		t.Errorf("there were %d connections, want 3 at most", most)
	}
}
