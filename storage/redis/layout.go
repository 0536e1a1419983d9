package redis

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/everseal/everseal/storage"
)

// Names are the keys and channels of one store. All have the same hash tag: a cluster has them in one slot.
type names struct {
	markKey    string // says what the store is
	index      string // a sorted set of all keys that there are
	records    string // begins the records' names
	everything string // the channel that tells of all changes
}

func namesOf(prefix string) names {
	tag := "{" + prefix + "}"
	return names{markKey: tag, index: tag + ":index", records: tag + "/", everything: tag + ":all"}
}

func (n names) record(key string) string { return n.records + key }

// channel returns the one that tells of changes of keys with the same first segment.
func (n names) channel(key string) string {
	first, _, _ := strings.Cut(key, "/")
	return n.everything + "/" + first
}

// The mark is version and a random id. So a store that was emptied and filled again is known for another one.
const (
	markName    = "everseal"
	markVersion = "1"
)

func newMark() string { return markName + " " + markVersion + " " + rand.Text() }

// A revision is what a record begins with; the value follows.
const revisionLength = 26 // of rand.Text

func format(revision string, value []byte) []byte {
	record := make([]byte, 0, len(revision)+len(value))
	return append(append(record, revision...), value...)
}

// parse returns the item of a record, whose text nobody else has.
func parse(text []byte) (storage.Item, error) {
	if len(text) < revisionLength || !isRevision(string(text[:revisionLength])) {
		return storage.Item{}, errRecord
	}
	return storage.Item{Revision: storage.Revision(text[:revisionLength]), Value: text[revisionLength:len(text):len(text)]}, nil
}

// isRevision reports whether it can be one that Save has made.
func isRevision(revision string) bool {
	for i := range len(revision) {
		if c := revision[i]; (c < 'A' || c > 'Z') && (c < '2' || c > '7') {
			return false
		}
	}
	return len(revision) == revisionLength
}

var (
	errForeign = errors.New("something else is stored there: set Config.Prefix to another name")
	errVersion = errors.New("another version of this library has made the records: update the older one, or set Config.Prefix to another name")
	errRecord  = errors.New("the record was not written by this library: delete it, or set Config.Prefix to another name")
	errLost    = errors.New("the server has lost the records that it had: it was flushed, or restarted without persistence (appendonly yes). Restore " +
		"them, or restart this program: then it begins anew")
	errReplica = errors.New("the server is a replica, which lags behind and takes no changes: connect to the master, or by the sentinels")
	errPlain   = errors.New("the server is one of a cluster: use a redis.ClusterClient, or cluster=true in the URL")
	errSent    = errors.New("this is a sentinel: say which master it is to name, by master_name in the URL")
	errEvicts  = errors.New("the server evicts records when its memory is full: set maxmemory-policy to noeviction, or use another server than that of a cache")
)

// check refuses, before the first use, a server that can't be right and records that are none of this version. What a store needs
// is made if it is missing.
func (s *Store) check(ctx context.Context) error {
	if s.mark.Load() != nil {
		return nil
	}
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-s.turn }()
	if s.mark.Load() != nil {
		return nil
	}
	if err := s.checkServer(ctx); err != nil {
		return err
	}
	mark, err := s.begin(ctx)
	if err != nil {
		return err
	}
	name, rest, _ := strings.Cut(mark, " ")
	version, id, _ := strings.Cut(rest, " ")
	switch {
	case name != markName:
		return errForeign
	case version != markVersion || id == "":
		return errVersion
	}
	s.mark.Store(&mark)
	return nil
}

// begin returns the mark, which it makes if it is missing. It tries whether the user may do all that is needed: a script that
// fails halfway is not rolled back.
func (s *Store) begin(ctx context.Context) (mark string, err error) {
	stored, found, err := s.read(ctx, s.markKey)
	if err != nil {
		return "", err
	}
	// No record has this name, as no key begins so.
	keys := []string{s.record("?"), s.index, s.markKey}
	reply, err := s.evaluate(ctx, s.try, keys, newMark(), s.publish(), s.everything, s.channel("?"))
	if found && (redis.HasErrorPrefix(err, "OOM") || redis.HasErrorPrefix(err, "MISCONF")) {
		return string(stored), nil // what there is can be read
	}
	if err != nil {
		return "", err
	}
	mark, ok := reply.(string)
	if !ok {
		return "", fmt.Errorf("the server answers a script with %T", reply)
	}
	return mark, nil
}

// checkMark tells a record that is missing from a server that has lost them all.
func (s *Store) checkMark(ctx context.Context) error {
	stored, found, err := s.read(ctx, s.markKey)
	if err == nil && !(found && string(stored) == *s.mark.Load()) {
		err = errLost
	}
	return err
}
