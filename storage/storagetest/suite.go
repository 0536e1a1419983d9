package storagetest

import (
	"testing"

	"github.com/everseal/everseal/storage"
)

// Run tests the stores that open returns. Each case, a subtest, calls open once; the store must be
// empty and its own, and open registers with t.Cleanup what has to be closed. Several cases run at once.
func Run(t *testing.T, open func(t *testing.T) storage.Store) {
	Suite{Open: open}.Run(t)
}

// A Suite tests stores of which more than one handle can be open on the same medium.
type Suite struct {
	// Open returns an empty store, as for Run. It is the only required field.
	Open func(t *testing.T) storage.Store

	// Reopen returns another handle on the medium of a store that Open has returned, as another process
	// would have it. If it is nil, the store itself is used as if it were two.
	Reopen func(t *testing.T, s storage.Store) storage.Store

	// Cut breaks what the watches of a store that Open has returned rely on: connections, say. They may be made anew
	// at once. If it is nil, what a [storage.Watcher] does then is not tested.
	Cut func(t *testing.T, s storage.Store)

	// Many is of how many records one case is; 100,000 is what a large fleet has. It is 0 for none, as saving
	// that many takes minutes if each is flushed to a disk.
	Many int
}

// A testCase asks two handles on one empty medium for something, and knows why.
type testCase struct {
	name string
	why  string
	run  func(t *testing.T, s, other storage.Store)
}

// Run runs all cases as parallel subtests of t.
func (suite Suite) Run(t *testing.T) {
	if suite.Open == nil {
		t.Fatal("storagetest: Suite.Open is nil: set it to a function that returns an empty store")
	}
	for _, cases := range [][]testCase{
		contractCases(), keyCases(), valueCases(), concurrencyCases(), lostAnswerCases(), cancellationCases(), leaseCases(),
		scanCases(), watchCases(), suite.cutCases(), suite.manyCases(),
	} {
		for _, c := range cases {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				t.Cleanup(func() {
					if t.Failed() {
						t.Logf("why this matters: %s", c.why)
					}
				})
				s := suite.Open(t)
				if s == nil {
					t.Fatal("storagetest: Suite.Open returned nil: it has to return an empty store")
				}
				other := s
				if suite.Reopen != nil {
					other = suite.Reopen(t, s)
				}
				c.run(t, s, other)
			})
		}
	}
}
