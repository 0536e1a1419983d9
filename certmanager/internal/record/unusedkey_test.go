package record_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/everseal/everseal/certmanager/internal/record"
)

func TestUnusedKeys(t *testing.T) {
	now := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	var keys record.UnusedKeys
	keys.Add("", now)
	keys.Add("late", now.Add(time.Hour))
	keys.Add("now", now)
	keys.Add("never dated", time.Time{})
	keys.Add("late", now) // the later time stays
	keys.Add("delayed", now)
	before := keys
	keys.Add("delayed", now.Add(time.Minute))
	if got := before.Due(now); !slices.Equal(got, []string{"now", "never dated", "delayed"}) {
		t.Errorf("due are %q: a list that was handed out has changed", got)
	}
	if got := keys.Due(now); !slices.Equal(got, []string{"now", "never dated"}) {
		t.Errorf("due are %q", got)
	}
	keys.Remove("now")
	if got := keys.Due(now.Add(time.Hour)); !slices.Equal(got, []string{"late", "never dated", "delayed"}) {
		t.Errorf("later due are %q", got)
	}
	for i := range 2000 {
		keys.Add(fmt.Sprint(i), now)
	}
	if last := len(keys) - 1; last != 999 || keys[last].Reference != "1999" {
		t.Errorf("%d keys are kept, the last is %q", len(keys), keys[last].Reference)
	}
}
