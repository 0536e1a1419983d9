package redis

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/everseal/everseal/storage"
)

// A script that runs twice, as by a proxy that has lost an answer, finds its own revision and calls that success.
func TestScriptRunsTwice(t *testing.T) {
	eachKind(t, func(t *testing.T, d target) {
		s := d.open(t)
		const first, second = "AAAAAAAAAAAAAAAAAAAAAAAAAA", "BBBBBBBBBBBBBBBBBBBBBBBBBB"
		for range 2 {
			if err := s.save(t.Context(), "a", format(first, []byte("1")), ""); err != nil {
				t.Fatalf("Save of a new key: %v", err)
			}
		}
		for range 2 {
			if err := s.save(t.Context(), "a", format(second, []byte("2")), first); err != nil {
				t.Fatalf("Save: %v", err)
			}
		}
		if item, err := s.Load(t.Context(), "a"); err != nil || item.Revision != second || string(item.Value) != "2" {
			t.Errorf("stored is %q at %q, %v", item.Value, item.Revision, err)
		}
		for _, old := range []storage.Revision{"", first} {
			if _, err := s.Save(t.Context(), "a", []byte("3"), old); !errors.Is(err, storage.ErrConflict) {
				t.Errorf("Save with the revision %q: %v, want ErrConflict", old, err)
			}
		}
	})
}

// A forgetful proxy passes the next script on to the server and breaks the connection when the answer comes.
type forgetful struct {
	net.Listener
	done atomic.Pointer[func()] // is called before the connection breaks, once; nil: none breaks
}

func newForgetful(t *testing.T, server string) *forgetful {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &forgetful{Listener: listener}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go f.lead(client, server)
		}
	}()
	return f
}

func (f *forgetful) lead(client net.Conn, server string) {
	defer client.Close()
	conn, err := net.Dial("tcp", server)
	if err != nil {
		return
	}
	defer conn.Close()
	var asked atomic.Bool
	go func() {
		defer conn.Close()
		for {
			var buffer [64 << 10]byte
			n, err := client.Read(buffer[:])
			if bytes.Contains(buffer[:n], []byte("evalsha")) {
				asked.Store(true)
			}
			if _, writeErr := conn.Write(buffer[:n]); err != nil || writeErr != nil {
				return
			}
		}
	}()
	for {
		var buffer [64 << 10]byte
		n, err := conn.Read(buffer[:])
		if asked.Swap(false) {
			if done := f.done.Swap(nil); done != nil {
				(*done)()
				return
			}
		}
		if _, writeErr := client.Write(buffer[:n]); err != nil || writeErr != nil {
			return
		}
	}
}

// The driver runs again what it has no answer for. It must not: a record that was made, and that another has deleted
// meanwhile, would come back, and a change that another has built on would be called a conflict.
func TestAnswerLost(t *testing.T) {
	for _, program := range []string{"redis-server", "valkey-server"} {
		t.Run(program, func(t *testing.T) { testAnswerLost(t, newNode(t, program)) })
	}
}

func testAnswerLost(t *testing.T, n node) {
	other := target{url: n.url()}.open(t)
	f := newForgetful(t, n.Address())
	s := target{url: "redis://" + f.Addr().String()}.open(t)
	mustSave(t, s, "scripts/are/known", "x")
	item := mustSave(t, s, "scripts/are/known", "y")
	save := func(key, value string, old storage.Revision, meanwhile func()) (storage.Revision, error) {
		t.Helper()
		before := scriptRuns(t, n)
		f.done.Store(&meanwhile)
		revision, err := s.Save(t.Context(), key, []byte(value), old)
		if f.done.Load() != nil {
			t.Error("no answer was lost")
		}
		if runs := scriptRuns(t, n) - before; runs != 1 {
			t.Errorf("the script has run %d times", runs)
		}
		return revision, err
	}
	// Nobody has done anything: it is read back.
	revision, err := save("a", "1", "", func() {})
	if err != nil {
		t.Fatalf("Save of a new key whose answer is lost: %v", err)
	}
	if revision, err = save("a", "2", revision, func() {}); err != nil {
		t.Fatalf("Save whose answer is lost: %v", err)
	}
	if item, err := other.Load(t.Context(), "a"); err != nil || item.Revision != revision || string(item.Value) != "2" {
		t.Errorf("stored is %q at %q, %v; Save returned %q", item.Value, item.Revision, err, revision)
	}
	// Another has deleted it.
	_, err = save("b", "1", "", func() {
		n.do(t, "del", s.record("b"))
		n.do(t, "zrem", s.index, "b")
	})
	wanted.Want(t, err, io.EOF.Error(), `save "b"`)
	if _, err := other.Load(t.Context(), "b"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a record that was deleted has come back: %v", err)
	}
	// Another has built on it.
	_, err = save("scripts/are/known", "z", item.Revision, func() {
		n.do(t, "set", s.record("scripts/are/known"), string(format("CCCCCCCCCCCCCCCCCCCCCCCCCC", []byte("another's"))))
	})
	wanted.Want(t, err, io.EOF.Error())
}

// scriptRuns returns how many scripts have run.
func scriptRuns(t *testing.T, n node) int {
	t.Helper()
	runs := 0
	for line := range strings.Lines(n.do(t, "info", "commandstats").(string)) {
		if rest, ok := strings.CutPrefix(line, "cmdstat_evalsha:calls="); ok {
			for _, c := range rest {
				if c < '0' || c > '9' {
					break
				}
				runs = runs*10 + int(c-'0')
			}
		}
	}
	return runs
}
