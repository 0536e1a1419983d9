package record

import (
	"slices"
	"time"
)

// maxUnusedKeys bounds the keys that wait to be deleted in one record.
const maxUnusedKeys = 1000

// An UnusedKey is one to be deleted where it is kept.
type UnusedKey struct {
	Reference string    `json:"keyReference"`
	Delete    time.Time `json:"delete,omitzero"` // not before, UTC
}

// UnusedKeys are to be deleted where they are kept. They are in a record so that none is forgotten.
type UnusedKeys []UnusedKey

// Add notes a key that is to be deleted, not before a time. One that is there already is deleted when the later of both
// times has come. An empty reference is that of no key. Of more than a thousand the first ones are forgotten: then whoever
// keeps them has failed to delete any for years.
func (u *UnusedKeys) Add(reference string, notBefore time.Time) {
	if reference == "" {
		return
	}
	key := UnusedKey{reference, utc(notBefore)}
	i := slices.IndexFunc(*u, func(k UnusedKey) bool { return k.Reference == reference })
	switch {
	case i < 0:
		*u = append(slices.Clone(*u), key)
	case key.Delete.After((*u)[i].Delete):
		*u = slices.Clone(*u)
		(*u)[i] = key
	}
	*u = u.bounded()
}

// Remove forgets a key that was deleted, or is in use again.
func (u *UnusedKeys) Remove(reference string) {
	*u = slices.DeleteFunc(slices.Clone(*u), func(k UnusedKey) bool { return k.Reference == reference })
}

// Due returns the references of those that may be deleted now.
func (u UnusedKeys) Due(now time.Time) []string {
	var due []string
	for _, key := range u {
		if !now.Before(key.Delete) {
			due = append(due, key.Reference)
		}
	}
	return due
}

// bounded returns the keys as they are kept.
func (u UnusedKeys) bounded() UnusedKeys {
	if len(u) == 0 {
		return nil
	}
	all := slices.Clone(u[max(0, len(u)-maxUnusedKeys):])
	all = slices.DeleteFunc(all, func(k UnusedKey) bool { return k.Reference == "" })
	for i := range all {
		all[i].Delete = utc(all[i].Delete)
	}
	return all
}
