package etcd

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/everseal/everseal/storage"
)

// A proxy passes reads and transactions on, and some of those not well.
type proxy struct {
	pb.UnimplementedKVServer
	kv           pb.KVClient
	twice        atomic.Bool // it runs each transaction twice, as one that has lost an answer, and has the second one's
	cancelled    atomic.Bool // it runs each transaction, and answers that it was cancelled
	transactions atomic.Int64
	reads        atomic.Int64
	stale        atomic.Int64 // reads that a member may answer which lags
}

func (p *proxy) Range(ctx context.Context, r *pb.RangeRequest) (*pb.RangeResponse, error) {
	p.reads.Add(1)
	if r.Serializable {
		p.stale.Add(1)
	}
	return p.kv.Range(ctx, r)
}

func (p *proxy) Txn(ctx context.Context, r *pb.TxnRequest) (*pb.TxnResponse, error) {
	p.transactions.Add(1)
	response, err := p.kv.Txn(ctx, r)
	if p.twice.Load() && err == nil {
		response, err = p.kv.Txn(ctx, r)
	}
	if p.cancelled.Load() && err == nil {
		return nil, status.Error(codes.Canceled, "etcdserver: request canceled")
	}
	return response, err
}

// startProxy returns a proxy before the shared server, and a store that goes through it and has begun to.
func startProxy(t *testing.T) (*proxy, *Store) {
	t.Helper()
	p := &proxy{kv: pb.NewKVClient(adminOf(t, sharedServer(t)).ActiveConnection())}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	pb.RegisterKVServer(server, p)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		<-ended
	})
	s := targetAt(listener.Addr().String()).open(t)
	if _, err := s.Load(t.Context(), "a"); err == nil {
		t.Fatal("there is something")
	}
	return p, s
}

func TestTransactionRunsTwice(t *testing.T) {
	p, s := startProxy(t)
	p.twice.Store(true)
	first, err := s.Save(t.Context(), "a", []byte("1"), "")
	if err != nil {
		t.Fatalf("Save of a new key: %v", err)
	}
	second, err := s.Save(t.Context(), "a", []byte("2"), first)
	if err != nil {
		t.Fatalf("Save: %v", err)
	}
	if item, err := s.Load(t.Context(), "a"); err != nil || item.Revision != second || string(item.Value) != "2" {
		t.Errorf("stored is %q at %q, %v; Save returned %q", item.Value, item.Revision, err, second)
	}
	for _, old := range []storage.Revision{"", first} {
		if _, err := s.Save(t.Context(), "a", []byte("3"), old); !errors.Is(err, storage.ErrConflict) {
			t.Errorf("Save with the revision %q: %v, want ErrConflict", old, err)
		}
	}
}

// The client repeats a call that was cancelled by others than its caller. A second transaction would find what another has
// made of the first one's, and tell of a conflict though the value had been stored.
func TestCancelledTransactionIsNotRepeated(t *testing.T) {
	p, s := startProxy(t)
	p.cancelled.Store(true)
	for _, change := range []func() error{
		func() error { _, err := s.Save(t.Context(), "a", []byte("1"), ""); return err },
		func() error {
			item, err := s.Load(t.Context(), "a")
			if err != nil || string(item.Value) != "1" {
				t.Errorf("after a Save with an error there is %q, %v", item.Value, err)
			}
			return s.Delete(t.Context(), "a", item.Revision)
		},
	} {
		before := p.transactions.Load()
		err := change()
		if status.Code(err) != codes.Canceled || errors.Is(err, storage.ErrConflict) || errors.Is(err, context.Canceled) {
			t.Errorf("a change whose transaction is cancelled by the server: %v", err)
		}
		if n := p.transactions.Load() - before; n != 1 {
			t.Errorf("there were %d transactions, want one", n)
		}
	}
}

// Whatever is read, a member that lags must not answer.
func TestReadsAreLinearizable(t *testing.T) {
	p, s := startProxy(t)
	save(t, s, "a")
	for _, err := range s.List(t.Context(), "a") {
		if err != nil {
			t.Error(err)
		}
	}
	for _, err := range s.Scan(t.Context(), "", "") {
		if err != nil {
			t.Error(err)
		}
	}
	wantDead(t, s, ownerName+newPart()+"-"+newPart(), true)
	if reads, stale := p.reads.Load(), p.stale.Load(); reads < 4 || stale > 0 {
		t.Errorf("%d of %d reads are serializable", stale, reads)
	}
}
