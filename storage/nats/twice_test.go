package nats

import (
	"bytes"
	"errors"
	"io/fs"
	"net"
	"sync/atomic"
	"testing"

	"github.com/everseal/everseal/storage"
)

// A message that comes twice is refused the second time; what is stored says that it was no conflict.
func TestMessageComesTwice(t *testing.T) {
	s := newTarget(t).open(t)
	c, err := s.connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var before version
	for _, marker := range []bool{false, false, true} {
		ch := newChange(s.recordSubject("a"), []byte("x"), before, marker)
		first, err := c.publish(t.Context(), ch, before.sequence)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.publish(t.Context(), ch, before.sequence); !isConflict(err) {
			t.Errorf("the second time: %v, want a conflict", err)
		}
		if v, err := s.change(t.Context(), ch); err != nil || v.sequence != first {
			t.Errorf("again: %v, %v; want sequence %d", v, err, first)
		}
		before = version{first, ch.nonce}
	}
}

// A forgetful proxy passes the next change on to the server and breaks the connection when the answer comes.
type forgetful struct {
	net.Listener
	server string
	armed  atomic.Pointer[func()] // is called before the connection breaks
}

func newForgetful(t *testing.T, server string) *forgetful {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &forgetful{Listener: listener, server: server}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go f.lead(client)
		}
	}()
	return f
}

func (f *forgetful) lead(client net.Conn) {
	defer client.Close()
	conn, err := net.Dial("tcp", f.server)
	if err != nil {
		return
	}
	defer conn.Close()
	var asked atomic.Bool
	go func() {
		defer conn.Close()
		var buffer [64 << 10]byte
		for {
			n, err := client.Read(buffer[:])
			if bytes.Contains(buffer[:n], []byte("Nats-Expected-Last-Subject-Sequence")) {
				asked.Store(true)
			}
			if _, writeErr := conn.Write(buffer[:n]); err != nil || writeErr != nil {
				return
			}
		}
	}()
	var buffer [64 << 10]byte
	for {
		n, err := conn.Read(buffer[:])
		if asked.Load() && bytes.Contains(buffer[:n], []byte(`"stream"`)) {
			if meanwhile := f.armed.Swap(nil); meanwhile != nil {
				(*meanwhile)()
				return
			}
		}
		if _, writeErr := client.Write(buffer[:n]); err != nil || writeErr != nil {
			return
		}
	}
}

// A change whose answer is lost is sent again, and answered as what it was. If others have built on it meanwhile, it is no
// conflict.
func TestAnswerLost(t *testing.T) {
	node := sharedServer(t)
	f := newForgetful(t, node.Address())
	d := targetAt(node.Address())
	other := d.open(t)
	s := targetAt(f.Addr().String())
	s.url = "nats://" + f.Addr().String() + d.url[len("nats://"+node.Address()):]
	mine := s.open(t)
	lose := func(meanwhile func()) { f.armed.Store(&meanwhile) }
	nothing := func() {}
	lose(nothing)
	revision, err := mine.Save(t.Context(), "a", []byte("1"), "")
	if err != nil {
		t.Fatalf("Save of a new key whose answer is lost: %v", err)
	}
	lose(nothing)
	if revision, err = mine.Save(t.Context(), "a", []byte("2"), revision); err != nil {
		t.Fatalf("Save whose answer is lost: %v", err)
	}
	item, err := other.Load(t.Context(), "a")
	if err != nil || item.Revision != revision || string(item.Value) != "2" {
		t.Errorf("stored is %q at %q, %v; Save returned %q", item.Value, item.Revision, err, revision)
	}
	lose(func() { save(t, other, "a") })
	if _, err := mine.Save(t.Context(), "a", []byte("3"), revision); errors.Is(err, storage.ErrConflict) {
		t.Error("a Save that was stored, and built on by another, gets ErrConflict")
	}
	if item, err = other.Load(t.Context(), "a"); err != nil || string(item.Value) != "3x" {
		t.Errorf("stored is %q, %v", item.Value, err)
	}
	lose(nothing)
	if err := mine.Delete(t.Context(), "a", item.Revision); err != nil {
		t.Errorf("Delete whose answer is lost: %v", err)
	}
	lose(func() {
		item, err := other.Load(t.Context(), "b")
		if err == nil {
			err = other.Delete(t.Context(), "b", item.Revision)
		}
		if err != nil {
			t.Error(err)
		}
	})
	if _, err := mine.Save(t.Context(), "b", []byte("4"), ""); err == nil || errors.Is(err, storage.ErrConflict) {
		t.Errorf("Save of a new key that was stored, and deleted by another: %v", err)
	}
	if item, err := other.Load(t.Context(), "b"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what another has deleted is there again: %q, %v", item.Value, err)
	}
	if f.armed.Load() != nil {
		t.Error("no answer was lost")
	}
}
