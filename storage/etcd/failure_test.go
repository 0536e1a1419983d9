package etcd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/internal/enginetest"
	"github.com/everseal/everseal/storage/internal/server"
)

const (
	password = "p4ss#w:o/rd?@[%&"    // of those that may
	secret   = `s3cr#t:/?@[%&='"\ é` // that nobody has
)

var wanted = enginetest.Errors{Package: "storage/etcd", Secrets: []string{password, secret}}

// A failing is a store that can't work, and what its error has to say.
type failing struct {
	name string
	url  string
	want []string // in the error
}

// wantFailures tries all methods of stores that can't work. Each error has to name the place, the key and the cure, and
// no password, not even escaped.
func wantFailures(t *testing.T, all ...failing) {
	for _, f := range all {
		t.Run(f.name, func(t *testing.T) {
			s := target{f.url}.open(t)
			_, err := s.Save(t.Context(), "certificates/a", []byte("x"), "")
			wanted.Want(t, err, append(f.want, `save "certificates/a"`, s.prefix, s.place)...)
			_, loadErr := s.Load(t.Context(), "certificates/a")
			for _, scanErr := range s.Scan(t.Context(), "", "") {
				wanted.Want(t, scanErr, append(f.want, "scan")...)
			}
			for _, listErr := range s.List(t.Context(), "certificates") {
				wanted.Want(t, listErr, append(f.want, `list "certificates"`)...)
			}
			for _, watchErr := range s.Watch(t.Context(), "certificates") {
				wanted.Want(t, watchErr, append(f.want, `watch "certificates"`)...)
			}
			_, _, markErr := s.MarkOwner(t.Context())
			wanted.Want(t, markErr, append(f.want, "begin a session")...)
			wanted.Want(t, loadErr, append(f.want, `load "certificates/a"`)...)
			wanted.Want(t, s.Delete(t.Context(), "certificates/a", "1-"), append(f.want, `delete "certificates/a"`)...)
		})
	}
}

// nobody returns an address at which nobody listens.
func nobody(t *testing.T) string {
	t.Helper()
	port, err := server.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort("127.0.0.1", port)
}

func TestFailures(t *testing.T) {
	member := sharedServer(t)
	withPassword := url.UserPassword("u", secret).String() + "@"
	wantFailures(t,
		failing{"unreachable", "etcd://" + nobody(t) + "/a", []string{"refused", "whether the members run"}},
		failing{"unreachable, with a password", "etcd://" + withPassword + nobody(t) + "/a", []string{"whether the members run"}},
		failing{"no TLS", "etcd://" + member.Address() + "/a?tls=true", []string{"TLS"}},
	)
}

// A client that was given would wait for ever for somebody to be reached.
func TestGivenClientUnreachable(t *testing.T) {
	s, err := New(newClient(t, clientv3.Config{Endpoints: []string{nobody(t)}}), Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	_, err = s.Load(t.Context(), "a")
	wanted.Want(t, err, "refused", "whether the members run")
	_, err = s.Save(t.Context(), "a", nil, "")
	wanted.Want(t, err, "refused", "whether the members run")
}

// A prefix that others use is left alone, and so is one of another version.
func TestForeignPrefix(t *testing.T) {
	admin := adminOf(t, sharedServer(t))
	for name, test := range map[string]struct {
		key, value string
		want       error
	}{
		"other keys":      {"a", "x", errForeign},
		"another version": {"version", "everseal 2", errVersion},
		"another mark":    {"version", "", errVersion},
	} {
		s := newTarget(t).open(t)
		if _, err := admin.Put(t.Context(), s.prefix+test.key, test.value); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if _, err := s.Save(t.Context(), "a", nil, ""); !errors.Is(err, test.want) {
				t.Errorf("%s: %v, want %v", name, err, test.want)
			}
		}
		if response, err := admin.Get(t.Context(), s.prefix, clientv3.WithPrefix()); err != nil || response.Count != 1 {
			t.Errorf("%s: then there are %d keys, %v", name, response.Count, err)
		}
	}
}

// What somebody has put under a record's key is not hidden: it can be judged, and replaced or deleted.
func TestRecordsByHand(t *testing.T) {
	s := newTarget(t).open(t)
	save(t, s, "mine")
	admin := adminOf(t, sharedServer(t))
	for _, value := range []string{"", "hello", "\n", "a certificate\nof two lines", strings.Repeat("A", nonceLength), strings.Repeat("1", nonceLength) + "\n"} {
		put := func() storage.Revision {
			t.Helper()
			if _, err := admin.Put(t.Context(), s.recordKey("a"), value); err != nil {
				t.Fatal(err)
			}
			item, err := s.Load(t.Context(), "a")
			if err != nil || string(item.Value) != value {
				t.Fatalf("Load: %q, %v, want %q", item.Value, err, value)
			}
			return item.Revision
		}
		stale, revision := put(), put()
		if _, err := s.Save(t.Context(), "a", nil, stale); !errors.Is(err, storage.ErrConflict) {
			t.Errorf("Save with a stale revision: %v", err)
		}
		saved, err := s.Save(t.Context(), "a", []byte("x"), revision)
		if err != nil {
			t.Fatal(err)
		}
		// An old value that is put back has its old nonce, but not its revision of etcd.
		old, err := admin.Get(t.Context(), s.recordKey("a"))
		if err != nil {
			t.Fatal(err)
		}
		value = string(old.Kvs[0].Value)
		if _, err := admin.Put(t.Context(), s.recordKey("a"), value); err != nil {
			t.Fatal(err)
		}
		if err := s.Delete(t.Context(), "a", saved); !errors.Is(err, storage.ErrConflict) {
			t.Errorf("Delete of a value that was put back: %v, want ErrConflict", err)
		}
		item, err := s.Load(t.Context(), "a")
		if err != nil || string(item.Value) != "x" || item.Revision == saved {
			t.Errorf("the value that was put back is %q at %q, %v", item.Value, item.Revision, err)
		}
		if err := s.Delete(t.Context(), "a", item.Revision); err != nil {
			t.Error(err)
		}
	}
}

// Endpoints of two clusters would have each record in one of them.
func TestTwoClusters(t *testing.T) {
	one, err := newMember("--unsafe-no-fsync", "--initial-cluster-token", "another")
	other := start(t, one, err)
	s := targetAt(sharedServer(t).Address(), other.Address()).open(t)
	for range 100 {
		_, err := s.Load(t.Context(), "a")
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if !errors.Is(err, errOtherCluster) {
			t.Fatalf("endpoints of two clusters: %v, want errOtherCluster", err)
		}
		return
	}
	t.Error("endpoints of two clusters are not noticed")
}

// When there is no room left, reads and deletions still work. Once some was made and the alarm is disarmed, so does everything.
func TestNoSpace(t *testing.T) {
	one, err := newMember("--unsafe-no-fsync", "--quota-backend-bytes", "4000000")
	member := start(t, one, err)
	s := targetAt(member.Address()).open(t)
	var revisions []storage.Revision
	for {
		revision, err := s.Save(t.Context(), fmt.Sprintf("a/%d", len(revisions)), make([]byte, storage.MaxValue), "")
		if err != nil {
			wanted.Want(t, err, "database space exceeded", "disarm")
			if !errors.Is(err, rpctypes.ErrNoSpace) {
				t.Fatal(err)
			}
			break
		}
		revisions = append(revisions, revision)
	}
	for n, revision := range revisions {
		key := fmt.Sprintf("a/%d", n)
		if item, err := s.Load(t.Context(), key); err != nil || len(item.Value) != storage.MaxValue {
			t.Fatalf("Load: %d bytes, %v", len(item.Value), err)
		}
		if err := s.Delete(t.Context(), key, revision); err != nil {
			t.Fatal(err)
		}
	}
	admin := adminOf(t, member)
	latest, err := admin.Get(t.Context(), "any")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := admin.Compact(t.Context(), latest.Header.Revision, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.Defragment(t.Context(), member.Address()); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.AlarmDisarm(t.Context(), &clientv3.AlarmMember{}); err != nil {
		t.Fatal(err)
	}
	if err := storage.Check(t.Context(), s); err != nil {
		t.Error(err)
	}
}

// A connection that leads nowhere must not hold up a caller whose context ends.
func TestContextWhileServerIsSilent(t *testing.T) {
	for _, user := range []string{"", "u:p@"} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		ctx, cancel := context.WithCancel(t.Context())
		accepted := make(chan struct{})
		go func() {
			defer close(accepted)
			if conn, err := listener.Accept(); err == nil {
				cancel()
				defer conn.Close()
				<-t.Context().Done()
			}
		}()
		s := target{"etcd://" + user + listener.Addr().String() + "/a"}.open(t)
		if _, err := s.Load(ctx, "a"); !errors.Is(err, context.Canceled) {
			t.Errorf("%q: %v, want context.Canceled", user, err)
		}
	}
}

// An endedContext is past its deadline, and notices that only when somebody waits for it.
type endedContext struct {
	context.Context
	end context.CancelFunc
}

func (c endedContext) Deadline() (time.Time, bool) { return time.Now().Add(-time.Second), true }

func (c endedContext) Done() <-chan struct{} {
	c.end()
	return c.Context.Done()
}

// The client may time out at the context's deadline before the context has ended: the error is the context's.
func TestFailureAtTheDeadline(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s, err := Open(t.Context(), "etcd://localhost", Config{})
	if err != nil {
		t.Fatal(err)
	}
	err = s.failure(endedContext{ctx, cancel}, "delete", "a", os.ErrDeadlineExceeded)
	if !errors.Is(err, context.Canceled) || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("error %v, want the context's", err)
	}
}
