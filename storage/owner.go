package storage

import (
	"context"
	"crypto/rand"
	"strings"
)

// Owners is what a store has, besides the methods of [Store], that can tell whether the owner of a lease is dead:
// by a lock that the kernel frees, say, or by the engine's sessions. Then nobody needs to wait for the lease's term
// after a process was killed. Leases find it through wrappers, see [As].
type Owners interface {
	// MarkOwner returns the id of a new owner, one never used before, in at most 100 bytes that stand in a
	// lease's record. Until unmark is called or this process ends, nobody finds it dead. unmark is called once.
	MarkOwner(ctx context.Context) (owner string, unmark func(), err error)

	// OwnerDead reports whether the owner is dead for certain. The owner may be any string; one that is not known
	// to have been a store's own is not dead.
	OwnerDead(ctx context.Context, owner string) (bool, error)

	// ForgetOwner is told that the owner has lost its lease; what was kept about it can go.
	ForgetOwner(owner string)
}

// ownersOf returns what is known in s about the owners of leases.
func ownersOf(s Store) Owners {
	if owners, ok := As[Owners](s); ok {
		return owners
	}
	return unknownOwners{}
}

// unknownOwners knows nothing about any owner.
type unknownOwners struct{}

func (unknownOwners) MarkOwner(context.Context) (string, func(), error) {
	return strings.ToLower(rand.Text()), func() {}, nil
}

func (unknownOwners) OwnerDead(context.Context, string) (bool, error) { return false, nil }

func (unknownOwners) ForgetOwner(string) {}
