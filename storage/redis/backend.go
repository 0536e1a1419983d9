package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/everseal/everseal/storage/internal/wait"
)

// A backend is the server, or the servers, that a client leads to.
type backend struct {
	client    redis.UniversalClient
	cluster   *redis.ClusterClient // the client, or nil if it is none of a cluster
	addresses []string             // of servers or sentinels; none if the client does not tell
	master    string               // its name, for sentinels
	encrypted bool
}

// backendOf returns what can be known from the client, whose type is one of these two.
func backendOf(client redis.UniversalClient) backend {
	if cluster, ok := client.(*redis.ClusterClient); ok {
		o := cluster.Options()
		return backend{client: client, cluster: cluster, addresses: o.Addrs, encrypted: o.TLSConfig != nil}
	}
	o := client.(*redis.Client).Options()
	s := backend{client: client, encrypted: o.TLSConfig != nil}
	if o.Addr != "FailoverClient" { // of one with sentinels
		s.addresses = []string{o.Addr}
	}
	return s
}

const (
	readyTimeout    = 2 * time.Second // for how long a server may be not ready for what it is asked
	replicasTimeout = 2 * time.Second // for how long replicas are waited for; less than the driver waits for an answer
)

// node returns a client of the one server that has the key.
func (b backend) node(ctx context.Context, key string) (*redis.Client, error) {
	if b.cluster != nil {
		return b.cluster.MasterForKey(ctx, key)
	}
	return b.client.(*redis.Client), nil
}

// publish returns the command by which scripts give hints. In a cluster they go to those that listen to the slot's master:
// what is published to all nodes gets lost between them in silence.
func (b backend) publish() string {
	if b.cluster != nil {
		return "SPUBLISH"
	}
	return "PUBLISH"
}

// place returns what errors call the server.
func (b backend) place() string {
	addresses := strings.Join(b.addresses, ", ")
	switch {
	case b.cluster != nil:
		return "cluster at " + addresses
	case b.master != "":
		return "master " + strconv.Quote(b.master) + " of the sentinels at " + addresses
	case addresses == "":
		return "master that the sentinels know"
	}
	return "server at " + addresses
}

// read returns the value of a key. GETEX is a GET that counts as a write: so a replica refuses it, and so does a master that
// has lost its replicas, if it has min-replicas-to-write. Where only the disk is full, a GET does.
func (s *Store) read(ctx context.Context, key string) (value []byte, found bool, err error) {
	for _, name := range []string{"getex", "get"} {
		var cmd *redis.StringCmd
		err = patiently(ctx, func() error {
			cmd = redis.NewStringCmd(ctx, name, key)
			return s.call(ctx, func() error { return s.client.Process(ctx, cmd) })
		})
		if err == nil {
			value, err = cmd.Bytes()
			return value, true, err
		}
		if !redis.HasErrorPrefix(err, "MISCONF") {
			break
		}
	}
	if errors.Is(err, redis.Nil) {
		return nil, false, nil
	}
	return nil, false, err
}

// query runs commands that any server would answer, a replica too: so the mark is read before them, as read does, which a
// replica refuses. It returns the commands with their answers, of which none is an error but redis.Nil.
func query[C redis.Cmder](ctx context.Context, s *Store, newCommands func() []C) (commands []C, err error) {
	for _, name := range []string{"getex", "get"} {
		err = patiently(ctx, func() error {
			all := newCommands()
			commands = all
			mark := redis.NewStringCmd(ctx, name, s.markKey)
			return s.call(ctx, func() error {
				_, _ = s.client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
					_ = pipe.Process(ctx, mark)
					for _, cmd := range all {
						_ = pipe.Process(ctx, cmd)
					}
					return nil
				})
				if err := mark.Err(); err != nil && !errors.Is(err, redis.Nil) {
					return err
				}
				for _, cmd := range all {
					if err := cmd.Err(); err != nil && !errors.Is(err, redis.Nil) {
						return err
					}
				}
				if mark.Val() != *s.mark.Load() {
					return errLost
				}
				return nil
			})
		})
		if !redis.HasErrorPrefix(err, "MISCONF") {
			break
		}
	}
	return commands, err
}

// checkServer refuses a replica, a sentinel, a server that evicts, and one of a cluster whose client knows nothing of others. A
// server that does not say is taken as it is.
func (s *Store) checkServer(ctx context.Context) error {
	var hello *redis.Cmd
	var info *redis.StringCmd
	err := s.call(ctx, func() error {
		node, err := s.node(ctx, s.markKey)
		if err != nil {
			return err
		}
		hello, info = node.Do(ctx, "hello"), node.Info(ctx, "memory")
		for _, err := range []error{hello.Err(), info.Err()} {
			if _, ok := errors.AsType[redis.Error](err); err != nil && (!ok || !redis.HasErrorPrefix(err, "NOPERM") && !redis.HasErrorPrefix(err, "ERR")) {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	said := properties(hello.Val())
	switch {
	case said["mode"] == "sentinel":
		return errSent
	case said["mode"] == "cluster" && s.cluster == nil:
		return errPlain
	case said["role"] == "replica":
		return errReplica
	case strings.Contains(info.Val(), "maxmemory_policy:allkeys-"):
		return errEvicts
	}
	return nil
}

// properties returns what HELLO says, in version 3 or 2 of the protocol.
func properties(reply any) map[string]string {
	said := make(map[string]string)
	switch reply := reply.(type) {
	case map[any]any:
		for name, value := range reply {
			said[fmt.Sprint(name)] = fmt.Sprint(value)
		}
	case []any:
		for i := 0; i+1 < len(reply); i += 2 {
			said[fmt.Sprint(reply[i])] = fmt.Sprint(reply[i+1])
		}
	}
	return said
}

// Warnings returns what an operator should know about the server although everything works: that it would lose what was stored
// if it was killed, and that private keys cross a network in the clear. A certmanager.Manager finds this method, through
// wrappers, and logs what it returns when it begins to run.
func (s *Store) Warnings(ctx context.Context) []error {
	var warnings []error
	if i := slices.IndexFunc(s.addresses, func(address string) bool { return !local(address) }); i >= 0 && !s.encrypted {
		warnings = append(warnings, fmt.Errorf("storage/redis: private keys cross the network to %s in the clear: use TLS (rediss:// in the URL)", s.addresses[i]))
	}
	var info *redis.StringCmd
	err := s.call(ctx, func() error {
		node, err := s.node(ctx, s.markKey)
		if err != nil {
			return err
		}
		info = node.Info(ctx, "persistence")
		return info.Err()
	})
	if err == nil && strings.Contains(info.Val(), "aof_enabled:0") {
		warnings = append(warnings, fmt.Errorf("storage/redis: the %s has no append-only file: what was stored since its last snapshot is lost when it is "+
			"killed; set appendonly to yes", s.place()))
	}
	return warnings
}

// patiently runs f until the server is ready for it.
func patiently(ctx context.Context, f func() error) error {
	began := time.Now()
	for runs := 1; ; runs++ {
		err := f()
		if !isUnready(err) || time.Since(began) > readyTimeout {
			return err
		}
		if err := wait.Before(ctx, runs); err != nil {
			return err
		}
	}
}
