package certmanager

import (
	"fmt"
	"testing"
	"time"
)

// A storage is read as often as the Config says, and of a great many names as often as costs no more than of ten thousand.
func TestFollowInterval(t *testing.T) {
	c, filled := new(catalogue), 0
	for _, test := range []struct {
		names int
		set   time.Duration
		want  time.Duration
	}{{1, 0, time.Minute}, {10000, 0, time.Minute}, {30000, 0, 3 * time.Minute}, {30000, time.Second, time.Second}} {
		for ; filled < test.names; filled++ {
			c.index.Put(fmt.Sprintf("site%d.example", filled), nil)
		}
		f := follower{&obtainer{catalogue: c}, test.set}
		for range 100 {
			if got := f.nextInterval(); got < test.want*3/4 || got > test.want {
				t.Fatalf("%+v: %v, want up to a quarter less than %v", test, got, test.want)
			}
		}
	}
}
