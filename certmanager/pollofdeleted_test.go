package certmanager_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/certmanager"
)

// A member that does not know yet that another has deleted the certificate asks nothing about it, and makes no record of work anew.
func TestPollOfWhatIsDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		ca := newInformingCA(t, "ca")
		config := w.from(ca, "example.com")
		config.Storage, config.FollowInterval = unwatched{w.store, w.store}, 30*24*time.Hour
		m, stop := w.serving(config)
		defer stop()
		other, err := certmanager.New(w.from(ca))
		if err != nil {
			t.Fatal(err)
		}
		ca.asked("")
		if err := other.Delete(t.Context(), "example.com"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * 24 * time.Hour)
		synctest.Wait()
		if asked := ca.asked(""); len(asked) > 0 || w.keys("work") > 0 {
			t.Errorf("%d questions were asked, and there are %d records of work", len(asked), w.keys("work"))
		}
		if s, ok := m.Status("example.com"); !ok || s.State != certmanager.StateValid {
			t.Errorf("it is not served until the deletion is known: %+v", s)
		}
	})
}
