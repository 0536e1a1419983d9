package solver_test

import (
	"errors"

	"github.com/everseal/everseal/storage/storagetest"
)

var errStoreDown = errors.New("the store is down: secret-host")

// A watchedStore counts what is asked of it.
type watchedStore struct {
	storagetest.Faulty
	counted int
}

// asked returns how many calls have begun since it was last called.
func (s *watchedStore) asked() int {
	before := s.counted
	s.counted = s.Calls(storagetest.Load | storagetest.Writes)
	return s.counted - before
}

// fail lets all calls fail from now on, or none.
func (s *watchedStore) fail(all bool) {
	if all {
		s.SetFaults(storagetest.Fault{Err: errStoreDown})
	} else {
		s.SetFaults()
	}
}
