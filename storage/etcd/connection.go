package etcd

import (
	"context"
	"errors"
	"slices"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/everseal/everseal/storage/internal/wait"
)

// A connection is what the store asks the cluster through.
type connection struct {
	client  *clientv3.Client
	kv      clientv3.KV
	lease   clientv3.Lease
	watcher clientv3.Watcher
	cluster uint64 // the cluster's id; set before the connection is used for records
}

func newConnection(client *clientv3.Client) *connection {
	conn := client.ActiveConnection()
	return &connection{
		client:  client,
		kv:      clientv3.NewKVFromKVClient(calls{pb.NewKVClient(conn)}, client),
		lease:   clientv3.NewLeaseFromLeaseClient(leaseCalls{pb.NewLeaseClient(conn)}, client, dialTimeout),
		watcher: clientv3.NewWatchFromWatchClient(pb.NewWatchClient(conn), client),
	}
}

// close ends what the store has begun on the client, and the client itself if the store has made it.
func (c *connection) close(owned bool) error {
	err := errors.Join(c.watcher.Close(), c.lease.Close())
	if owned {
		err = errors.Join(err, c.client.Close())
	}
	return err
}

// Calls fail when nobody can be reached, where the client would wait for ever.
type calls struct{ pb.KVClient }

func (c calls) Range(ctx context.Context, r *pb.RangeRequest, opts ...grpc.CallOption) (*pb.RangeResponse, error) {
	return c.KVClient.Range(ctx, r, append(slices.Clip(opts), grpc.WaitForReady(false))...)
}

// Txn is sent once: the client makes a call again that a member, or a proxy, has ended by itself, though the transaction may
// have been done.
func (c calls) Txn(ctx context.Context, r *pb.TxnRequest, opts ...grpc.CallOption) (*pb.TxnResponse, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	once := grpc.OnFinish(func(err error) {
		if code := status.Code(err); code == codes.Canceled || code == codes.DeadlineExceeded {
			cancel()
		}
	})
	return c.KVClient.Txn(ctx, r, append(slices.Clip(opts), grpc.WaitForReady(false), once)...)
}

// LeaseCalls are the same for sessions.
type leaseCalls struct{ pb.LeaseClient }

func (c leaseCalls) LeaseGrant(ctx context.Context, r *pb.LeaseGrantRequest, opts ...grpc.CallOption) (*pb.LeaseGrantResponse, error) {
	return c.LeaseClient.LeaseGrant(ctx, r, append(slices.Clip(opts), grpc.WaitForReady(false))...)
}

func (c leaseCalls) LeaseRevoke(ctx context.Context, r *pb.LeaseRevokeRequest, opts ...grpc.CallOption) (*pb.LeaseRevokeResponse, error) {
	return c.LeaseClient.LeaseRevoke(ctx, r, append(slices.Clip(opts), grpc.WaitForReady(false))...)
}

var (
	errForeign      = errors.New("the prefix holds something else: set another Config.Prefix, or path in the URL")
	errVersion      = errors.New("the prefix is used by another version of this library: update the older one, or set another Config.Prefix, or path in the URL")
	errOtherCluster = errors.New("it is another cluster than before: give endpoints of one cluster, and restart if it was replaced")
)

// layoutVersion stands under the version key.
const layoutVersion = "everseal 1"

// connect returns the connection once the prefix was found to be right, or has been made so.
func (s *Store) connect(ctx context.Context) (*connection, error) {
	if c := s.ready.Load(); c != nil {
		return c, nil
	}
	if err := s.takeTurn(ctx); err != nil {
		return nil, err
	}
	defer s.endTurn()
	if c := s.ready.Load(); c != nil {
		return c, nil
	}
	if s.closed {
		return nil, errClosed
	}
	if s.connection == nil {
		client := s.given
		if client == nil {
			var err error
			if client, err = s.dial(ctx); err != nil {
				return nil, err
			}
		}
		s.connection = newConnection(client)
	}
	if err := s.check(ctx, s.connection); err != nil {
		return nil, err
	}
	s.ready.Store(s.connection)
	return s.connection, nil
}

func (s *Store) takeTurn(ctx context.Context) error {
	select {
	case s.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Store) endTurn() { <-s.turn }

// check refuses a prefix that is used by others, and marks one that is empty.
func (s *Store) check(ctx context.Context, c *connection) error {
	anything := clientv3.OpGet(s.prefix, clientv3.WithPrefix(), clientv3.WithLimit(1), clientv3.WithKeysOnly())
	mark := clientv3.OpGet(s.versionKey())
	var response *clientv3.TxnResponse
	err := again(ctx, passing, func() (err error) {
		response, err = c.kv.Txn(clientv3.WithRequireLeader(ctx)).If(absent(s.versionKey())...).Then(anything).Else(mark).Commit()
		return err
	})
	if err != nil {
		return err
	}
	c.cluster = response.Header.ClusterId
	found := response.Responses[0].GetResponseRange().Kvs
	if response.Succeeded {
		if len(found) > 0 {
			return errForeign
		}
		if response, err = c.swap(ctx, absent(s.versionKey()), clientv3.OpPut(s.versionKey(), layoutVersion), mark); err != nil {
			return err
		}
		if response.Succeeded {
			return nil
		}
		found = response.Responses[0].GetResponseRange().Kvs
	}
	if len(found) != 1 || string(found[0].Value) != layoutVersion {
		return errVersion
	}
	return nil
}

// get reads, linearizably.
func (c *connection) get(ctx context.Context, key string, opts ...clientv3.OpOption) (response *clientv3.GetResponse, err error) {
	err = again(ctx, passing, func() (err error) {
		response, err = c.kv.Get(clientv3.WithRequireLeader(ctx), key, opts...)
		return err
	})
	if err == nil {
		err = c.same(response.Header)
	}
	return response, err
}

// swap does then under the conditions, else what otherwise says.
func (c *connection) swap(ctx context.Context, conditions []clientv3.Cmp, then clientv3.Op, otherwise ...clientv3.Op) (response *clientv3.TxnResponse, err error) {
	err = again(ctx, refused, func() (err error) {
		response, err = c.kv.Txn(clientv3.WithRequireLeader(ctx)).If(conditions...).Then(then).Else(otherwise...).Commit()
		return err
	})
	if err == nil {
		err = c.same(response.Header)
	}
	return response, err
}

// same refuses the answer of another cluster, to which an endpoint leads.
func (c *connection) same(header *pb.ResponseHeader) error {
	if header.ClusterId != c.cluster {
		return errOtherCluster
	}
	return nil
}

// patience is for how long a call is made again that changed nothing: as long as an election takes.
const patience = 3 * time.Second

// again makes a call, and makes it again while its error is one of those.
func again(ctx context.Context, those func(error) bool, call func() error) error {
	began := time.Now()
	for runs := 1; ; runs++ {
		err := call()
		if err == nil || !those(err) || time.Since(began) >= patience {
			return err
		}
		if err := wait.Before(ctx, runs); err != nil {
			return err
		}
	}
}

// refused reports whether a member has refused the call, and done nothing: another one may take it.
func refused(err error) bool {
	return errors.Is(err, rpctypes.ErrNoLeader) || errors.Is(err, rpctypes.ErrTooManyRequests)
}

// passing reports whether a read that a member could not answer may have an answer soon.
func passing(err error) bool {
	var e rpctypes.EtcdError
	return errors.As(err, &e) && e.Code() == codes.Unavailable || refused(err)
}
