package redis

import (
	"context"
	"crypto/sha1"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// Scripts are what changes something. Each returns 1 if it has changed it, 0 if another revision is stored, and -1 if
// nothing is, where something had to be. A script that runs twice, for want of an answer, finds the revision that it has
// made itself, which is success.
//
// What a script may fail at comes first, and a hint may be wrong: so hints come before the index and that before the record.
// A key in the index without a record is no harm; a record that no List yields is one that nobody renews.
type scripts struct {
	create, update, remove, try script
}

type script struct{ source, hash string }

func newScript(source string) script {
	return script{source, fmt.Sprintf("%x", sha1.Sum([]byte(source)))} // the server names it so
}

// A create makes a record that is not there: KEYS are the record, the index and the mark.
const create = `
local stored = redis.call('GETRANGE', KEYS[1], 0, 25)
if stored ~= '' then
	if stored == string.sub(ARGV[1], 1, 26) then return 1 end
	return 0
end
if redis.call('GET', KEYS[3]) ~= ARGV[2] then return -1 end
redis.call(ARGV[4], ARGV[5], ARGV[3])
redis.call(ARGV[4], ARGV[6], ARGV[3])
redis.call('ZADD', KEYS[2], 0, ARGV[3])
redis.call('SET', KEYS[1], ARGV[1])
return 1`

// An update touches the record alone: as long as a cluster moves the slot, one key is where it is, several are not together.
const update = `
local stored = redis.call('GETRANGE', KEYS[1], 0, 25)
if stored ~= ARGV[2] then
	if stored == string.sub(ARGV[1], 1, 26) then return 1 end
	if stored == '' then return -1 end
	return 0
end
redis.call(ARGV[4], ARGV[5], ARGV[3])
redis.call(ARGV[4], ARGV[6], ARGV[3])
redis.call('SET', KEYS[1], ARGV[1])
return 1`

const remove = `
local stored = redis.call('GETRANGE', KEYS[1], 0, 25)
if stored ~= ARGV[1] then
	if stored == '' then return -1 end
	return 0
end
redis.call(ARGV[3], ARGV[4], ARGV[2])
redis.call(ARGV[3], ARGV[5], ARGV[2])
redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], ARGV[2])
return 1`

// A try does all that the others do, so that it changes nothing, and makes the mark if it is missing.
const try = `
redis.call('GETRANGE', KEYS[1], 0, 25)
redis.call(ARGV[2], ARGV[3], '?')
redis.call(ARGV[2], ARGV[4], '?')
redis.call('ZADD', KEYS[2], 'XX', 0, '?')
redis.call('SET', KEYS[1], '', 'XX')
redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], '?')
redis.call('SET', KEYS[3], ARGV[1], 'NX')
return redis.call('GET', KEYS[3])`

func newScripts() scripts {
	return scripts{newScript(create), newScript(update), newScript(remove), newScript(try)}
}

var (
	errConflict = errors.New("another revision is stored")
	errAbsent   = errors.New("nothing is stored")
	// errUnknown is wrapped by the error of a change that may have happened all the same.
	errUnknown  = errors.New("it is not known whether it was done")
	errReplicas = errors.New("it is stored, but too few replicas have it: see whether they run, or lower Config.Replicas")
)

// change runs a script that changes a record and, if it has, waits for the replicas.
func (s *Store) change(ctx context.Context, code script, keys []string, args ...any) error {
	reply, err := s.evaluate(ctx, code, keys, args...)
	if err != nil {
		return err
	}
	switch reply {
	case int64(1):
		return nil
	case int64(0):
		return errConflict
	case int64(-1):
		return errAbsent
	}
	return fmt.Errorf("the server answers a script with %T", reply)
}

// A once is a command that the driver must not run again when the answer is lost: a create would bring back, with its old
// revision, what others have deleted meanwhile, and an update would be called a conflict that others have built on.
type once struct{ *redis.Cmd }

func (once) NoRetry() bool { return true }

// evaluate runs a script once. If the server is not ready, it is run later.
func (s *Store) evaluate(ctx context.Context, code script, keys []string, args ...any) (reply any, err error) {
	err = patiently(ctx, func() error {
		reply, err = s.run(ctx, keys[0], command("evalsha", code.hash, keys, args))
		if redis.HasErrorPrefix(err, "NOSCRIPT") {
			reply, err = s.run(ctx, keys[0], command("eval", code.source, keys, args))
		}
		return err
	})
	return reply, err
}

// command returns the command that runs a script.
func command(name, code string, keys []string, args []any) []any {
	all := make([]any, 0, 3+len(keys)+len(args))
	all = append(all, name, code, len(keys))
	for _, key := range keys {
		all = append(all, key)
	}
	return append(all, args...)
}

// run runs the command, which changes what is at the key.
func (s *Store) run(ctx context.Context, key string, command []any) (any, error) {
	cmd := redis.NewCmd(ctx, command...)
	err := s.call(ctx, func() error {
		if s.replicas > 0 {
			return s.replicate(ctx, key, cmd)
		}
		return s.client.Process(ctx, once{cmd})
	})
	switch {
	case err == nil:
		return cmd.Val(), nil
	case isUnsure(err):
		return nil, fmt.Errorf("%w: %w", errUnknown, err)
	}
	return nil, err
}

// replicate runs a script and waits until enough replicas have what it has changed, on one connection, as WAIT needs it.
func (s *Store) replicate(ctx context.Context, key string, cmd *redis.Cmd) error {
	node, err := s.node(ctx, key)
	if err != nil {
		return err
	}
	conn := node.Conn()
	defer conn.Close()
	if err := conn.Process(ctx, once{cmd}); err != nil {
		if s.cluster != nil {
			s.cluster.ReloadState(ctx) // the slot may have gone to another
		}
		return err
	}
	if cmd.Val() != int64(1) {
		return nil
	}
	n, err := conn.Wait(ctx, s.replicas, replicasTimeout).Result()
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", errReplicas, causeOf(err))
	case n < int64(s.replicas):
		return fmt.Errorf("%w: %d of %d", errReplicas, n, s.replicas)
	}
	return nil
}
