package certmanager

import (
	"fmt"
	"testing"
	"time"
)

// A storage is read as often as the Config says, and of a great many names as often as costs no more than of ten thousand.
func TestFollowInterval(t *testing.T) {
	var names []string
	for i := range 30000 {
		names = append(names, fmt.Sprintf("site%d.example", i))
	}
	for _, test := range []struct {
		names int
		set   time.Duration
		want  time.Duration
	}{{1, 0, time.Minute}, {10000, 0, time.Minute}, {30000, 0, 3 * time.Minute}, {30000, time.Second, time.Second}} {
		m := &Manager{config: Config{FollowInterval: test.set}}
		for _, name := range names[:test.names] {
			m.catalogue.index.Put(name, nil)
		}
		for range 100 {
			if got := m.followInterval(); got < test.want*3/4 || got > test.want {
				t.Fatalf("%+v: %v, want up to a quarter less than %v", test, got, test.want)
			}
		}
	}
}
