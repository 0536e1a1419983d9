package lifecycle_test

import (
	"testing"
	"time"

	"github.com/everseal/everseal/certmanager/internal/lifecycle"
)

// A member of a fleet has a time of its own for what is not urgent, and for nothing else. The next certificate has
// another one.
func TestStagger(t *testing.T) {
	until := begun.Add(88 * day)
	for _, test := range []struct {
		name   string
		change func(s *lifecycle.State)
		want   time.Time
	}{
		{"a renewal", func(*lifecycle.State) {}, begun.Add(60*day + 5*time.Minute)},
		{"a command", (*lifecycle.State).Command, begun},
		{"one that is queued", (*lifecycle.State).Queue, begun},
		{"just before the last tenth", func(s *lifecycle.State) {
			s.Serve(begun, begun.Add(90*day), begun.Add(81*day-time.Minute))
			s.Stagger(0.5)
		}, begun.Add(81 * day)},
		{"in the last tenth", func(s *lifecycle.State) {
			s.Serve(begun, begun.Add(90*day), begun.Add(82*day))
			s.Stagger(0.5)
		}, begun.Add(82 * day)},
		{"after the end", func(s *lifecycle.State) {
			s.Serve(begun.Add(-90*day), begun, begun.Add(day))
			s.Stagger(0.5)
		}, begun.Add(day)},
		{"after a failure", func(s *lifecycle.State) {
			finish(lifecycle.Result{Kind: lifecycle.Failed, Until: until})(s, begun)
		}, until},
		{"another", func(s *lifecycle.State) { serve(s, begun) }, begun.Add(60 * day)},
	} {
		s := in(stored)
		s.Stagger(0.5)
		test.change(s)
		if got := s.Plan(begun).Due; !got.Equal(test.want) {
			t.Errorf("%s: due at %v, want %v", test.name, got, test.want)
		}
		if got := s.Renewal(); test.name == "a renewal" && !got.Equal(begun.Add(60*day)) {
			t.Errorf("the renewal that all members know is at %v", got)
		}
	}
}
