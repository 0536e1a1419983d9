// Package storagetest tests whether an implementation of [storage.Store] keeps the contract. A backend's
// test is as short as this:
//
//	func TestStore(t *testing.T) {
//		storagetest.Run(t, func(t *testing.T) storage.Store {
//			return mybackend.New(emptyDatabase(t))
//		})
//	}
//
// # What is tested
//
// The cases go through the contract sentence by sentence: compare-and-swap (one after the other and by 32
// writers at once), revisions that never return, deletion, listing, the keys and sizes that must be taken or
// refused, slices that are not shared with the caller, contexts. Then they use what is built on a store,
// [storage.Update] and [storage.Lease], the way a fleet does: many contenders, a holder that is lost,
// one that is suspended and comes back. A case that fails logs why what it asks for matters.
//
// Calls go wrong, too: answers are lost, contexts end in the midst of a call, others write between two keys of a listing.
// A store that is a [storage.Watcher] is asked to tell what is changed and to end its watches with an error when they
// have lost hints; with [Suite].Cut, also what becomes of them when a connection breaks. [Suite].Many sets how many
// records one case saves and lists, which shows pages that are passed over: 100,000 if that takes seconds.
//
// # A store that fails
//
// [Faulty] is a store around another whose calls go wrong by rules, for tests of what is built on a store: failures, lost
// answers, writes that are done twice or come late, hanging and slow calls, processes that are suspended, stale reads.
//
//	store := new(storagetest.Faulty)
//	store.SetFaults(storagetest.Fault{On: storagetest.Save, Share: 0.2, Kind: storagetest.Lost})
//
// # More than one handle
//
// What a fleet shares is the medium, not the handle. A [Suite] with a Reopen function is given a second
// handle in each case and lets the two compete; caches and locks that live in a handle show then.
//
// # Time
//
// Leases need time to pass, and a database can't be given a false clock. So these cases wait for
// terms of a second, but they wait for events: a slow machine makes them slower, not red. All cases
// run in parallel, in a few seconds.
package storagetest
