package solver_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/solver/internal/solvertest"
	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/storagetest"
)

func solversOn(s storage.Store) []acme.Solver {
	return []acme.Solver{&solver.HTTP01{Storage: s}, &solver.TLSALPN01{Storage: s}}
}

func keysOf(t *testing.T, s storage.Store) []string {
	t.Helper()
	var keys []string
	for key, err := range s.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	return keys
}

// What may be of another version is no answer whose time is known.
func TestAnswerTimeOfOthers(t *testing.T) {
	for _, text := range []string{"", "x", "{}", `{"created":"2026-01-02T03:04:05Z"}`, `{"keyAuthorization":"t.k"}`,
		`{"keyAuthorization":"t.k","created":"2026-01-02T03:04:05Z","version":2}`} {
		if at, err := solver.AnswerTime([]byte(text)); err == nil {
			t.Errorf("%q: %v", text, at)
		}
	}
}

// Other versions must find the records: keys and fields are written out here.
func TestRecordFormat(t *testing.T) {
	for _, test := range []struct {
		solver            func(storage.Store) acme.Solver
		identifier, value string
		key               string // for http-01: printf TOKEN | sha256sum
	}{
		{func(s storage.Store) acme.Solver { return &solver.HTTP01{Storage: s} }, "example.com", "example.com",
			"challenges/http-01/e27c6d4108284440857371f3cf45d3fb74f6489b1de116a79972d9520c6d9738"},
		{func(s storage.Store) acme.Solver { return &solver.TLSALPN01{Storage: s} }, "Example.COM.", "example.com",
			"challenges/tls-alpn-01/example.com"},
		{func(s storage.Store) acme.Solver { return &solver.TLSALPN01{Storage: s} }, "2001:DB8:0::1", "2001:db8::1",
			"challenges/tls-alpn-01/2001:db8::1"},
	} {
		t.Run(test.key, func(t *testing.T) {
			store := new(storage.Memory)
			s := test.solver(store)
			p := solvertest.NewProof(s.Type(), test.identifier)
			before := time.Now()
			solvertest.Present(t, s, p)
			item, err := store.Load(t.Context(), test.key)
			if err != nil {
				t.Fatalf("%v; stored are %q", err, keysOf(t, store))
			}
			var record map[string]any
			if err := json.Unmarshal(item.Value, &record); err != nil {
				t.Fatal(err)
			}
			created, err := time.Parse(time.RFC3339Nano, fmt.Sprint(record["created"]))
			if err != nil || created.Before(before.Add(-time.Second)) || created.After(time.Now()) || !strings.HasSuffix(fmt.Sprint(record["created"]), "Z") {
				t.Errorf("created is %v, want the present in UTC", record["created"])
			}
			if at, err := solver.AnswerTime(item.Value); err != nil || !at.Equal(created) {
				t.Errorf("AnswerTime: %v, %v, want %v", at, err, created)
			}
			delete(record, "created")
			got, err := json.Marshal(record)
			if err != nil {
				t.Fatal(err)
			}
			want := fmt.Sprintf(`{"directoryURL":"https://ca.example/directory","identifier":{"type":%q,"value":%q},"keyAuthorization":%q,"token":%q}`,
				p.Identifier.Type, test.value, solvertest.Token+"."+solvertest.Thumbprint, solvertest.Token)
			if string(got) != want {
				t.Errorf("stored %s\nwant   %s", got, want)
			}
		})
	}
}

func TestPresentRefuses(t *testing.T) {
	for name, spoil := range map[string]func(*acme.Proof){
		"another type of challenge":        func(p *acme.Proof) { p.Type = "dns-01" },
		"no identifier":                    func(p *acme.Proof) { p.Identifier.Value = "" },
		"a path for an identifier":         func(p *acme.Proof) { p.Identifier.Value = "../../etc/passwd" },
		"an address for a name":            func(p *acme.Proof) { p.Identifier.Value = "192.0.2.1" },
		"an unknown type of identifier":    func(p *acme.Proof) { p.Identifier.Type = "permanent-identifier" },
		"a wildcard":                       func(p *acme.Proof) { p.Wildcard = true },
		"a wildcard's own name":            func(p *acme.Proof) { p.Identifier.Value = "*.example.com" },
		"no token":                         func(p *acme.Proof) { *p = solvertest.WithToken(*p, "") },
		"a token that is a path":           func(p *acme.Proof) { *p = solvertest.WithToken(*p, "../../../etc/passwd") },
		"a token of 257 bytes":             func(p *acme.Proof) { *p = solvertest.WithToken(*p, strings.Repeat("a", 257)) },
		"no key authorization":             func(p *acme.Proof) { p.KeyAuthorization = "" },
		"another token's":                  func(p *acme.Proof) { p.KeyAuthorization = "abc." + solvertest.Thumbprint },
		"a key authorization with markup":  func(p *acme.Proof) { p.KeyAuthorization = p.Token + ".<script>" },
		"a key authorization without more": func(p *acme.Proof) { p.KeyAuthorization = p.Token + "." },
	} {
		t.Run(name, func(t *testing.T) {
			store := new(watchedStore)
			for _, s := range solversOn(store) {
				p := solvertest.NewProof(s.Type(), "example.com")
				spoil(&p)
				if err := s.Present(t.Context(), p); err == nil {
					t.Errorf("%s: Present took it", s.Type())
				} else if len(err.Error()) > 400 {
					t.Errorf("%s: an error of %d bytes", s.Type(), len(err.Error()))
				}
				if err := s.CleanUp(t.Context(), p); err == nil {
					t.Errorf("%s: CleanUp took it", s.Type())
				}
			}
			if n := store.asked(); n != 0 {
				t.Errorf("storage was asked %d times", n)
			}
		})
	}
}

func TestSupports(t *testing.T) {
	for _, s := range []interface {
		Supports(acme.Identifier, bool) bool
	}{new(solver.HTTP01), new(solver.TLSALPN01)} {
		for _, test := range []struct {
			id       acme.Identifier
			wildcard bool
			want     bool
		}{
			{acme.Identifier{Type: "dns", Value: "example.com"}, false, true},
			{acme.Identifier{Type: "ip", Value: "2001:db8::1"}, false, true},
			{acme.Identifier{Type: "dns", Value: "example.com"}, true, false},
			{acme.Identifier{Type: "dns", Value: "*.example.com"}, false, false},
			{acme.Identifier{Type: "permanent-identifier", Value: "1"}, false, false},
		} {
			if got := s.Supports(test.id, test.wildcard); got != test.want {
				t.Errorf("%T.Supports(%q, %t) = %t", s, test.id, test.wildcard, got)
			}
		}
	}
}

func TestPresentTwice(t *testing.T) {
	store := new(storage.Memory)
	for _, s := range solversOn(store) {
		p := solvertest.NewProof(s.Type(), "example.com")
		solvertest.Present(t, s, p)
		solvertest.Present(t, s, p)
		solvertest.CleanUp(t, s, p)
		if keys := keysOf(t, store); keys != nil {
			t.Errorf("%s: after one CleanUp there are still %q", s.Type(), keys)
		}
		solvertest.CleanUp(t, s, p)
	}
}

func TestCleanUpAfterRestart(t *testing.T) {
	store := new(storage.Memory)
	for i, s := range solversOn(store) {
		p := solvertest.NewProof(s.Type(), "example.com")
		solvertest.Present(t, s, p)
		journal, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		var restored acme.Proof
		if err := json.Unmarshal(journal, &restored); err != nil {
			t.Fatal(err)
		}
		solvertest.CleanUp(t, solversOn(store)[i], restored)
		if keys := keysOf(t, store); keys != nil {
			t.Errorf("%s: there are still %q", s.Type(), keys)
		}
	}
}

// takePlace stores the answer to p in place of the one that store has, as another process does that has
// seen the older one left behind.
func takePlace(t *testing.T, store storage.Store, p acme.Proof) {
	t.Helper()
	other := new(storage.Memory)
	for _, s := range solversOn(other) {
		if s.Type() == p.Type {
			solvertest.Present(t, s, p)
		}
	}
	key := keysOf(t, other)[0]
	item, err := other.Load(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	replace := func([]byte) ([]byte, error) { return item.Value, nil }
	if _, err := storage.Update(t.Context(), store, key, replace); err != nil {
		t.Fatal(err)
	}
}

// Two orders for one name meet under one key in tls-alpn-01, and in http-01 where a CA gives a token
// twice. An answer that has taken another one's place outlives the other one's CleanUp.
func TestCleanUpLeavesNewerAnswer(t *testing.T) {
	store := new(storage.Memory)
	for _, s := range solversOn(store) {
		older, newer := oldAndNew(s)
		solvertest.Present(t, s, older)
		takePlace(t, store, newer)
		solvertest.CleanUp(t, s, older)
		keys := keysOf(t, store)
		if len(keys) != 1 {
			t.Fatalf("%s: stored are %q, want the newer answer", s.Type(), keys)
		}
		item, err := store.Load(t.Context(), keys[0])
		if err != nil || !strings.Contains(string(item.Value), newer.KeyAuthorization) {
			t.Errorf("%s: stored is %s, %v; want the newer answer", s.Type(), item.Value, err)
		}
		solvertest.CleanUp(t, s, newer)
	}
}

// The newer answer arrives after CleanUp has read the older one and before it deletes.
func TestCleanUpLosesRace(t *testing.T) {
	store := new(watchedStore)
	for _, s := range solversOn(store) {
		older, newer := oldAndNew(s)
		solvertest.Present(t, s, older)
		store.SetFaults(storagetest.Fault{Kind: storagetest.Slow, On: storagetest.Delete, Times: 1, Hit: func(string) { takePlace(t, store.Unwrap(), newer) }})
		solvertest.CleanUp(t, s, older)
		if keys := keysOf(t, store); len(keys) != 1 {
			t.Errorf("%s: stored are %q, want the newer answer", s.Type(), keys)
		}
		solvertest.CleanUp(t, s, newer)
	}
}

// An unreadable record stands in nobody's way: it answers nobody.
func TestUnreadableRecord(t *testing.T) {
	for _, value := range []string{"", "not JSON", `{"token":"abc"}`} {
		store := new(storage.Memory)
		for _, s := range solversOn(store) {
			p := solvertest.NewProof(s.Type(), "example.com")
			solvertest.Present(t, s, p)
			key := keysOf(t, store)[0]
			damage := func([]byte) ([]byte, error) { return []byte(value), nil }
			if _, err := storage.Update(t.Context(), store, key, damage); err != nil {
				t.Fatal(err)
			}
			solvertest.CleanUp(t, s, p)
			if keys := keysOf(t, store); keys != nil {
				t.Errorf("%s: %q is still there", s.Type(), value)
			}
		}
	}
}

func TestStorageFailure(t *testing.T) {
	store := new(watchedStore)
	store.fail(true)
	for _, s := range solversOn(store) {
		p := solvertest.NewProof(s.Type(), "example.com")
		for name, err := range map[string]error{"Present": s.Present(t.Context(), p), "CleanUp": s.CleanUp(t.Context(), p)} {
			if !errors.Is(err, errStoreDown) || !strings.Contains(err.Error(), "example.com") {
				t.Errorf("%s of %s: %v", name, s.Type(), err)
			}
		}
	}
}

func TestContextEnded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, s := range solversOn(nil) {
		p := solvertest.NewProof(s.Type(), "example.com")
		for name, method := range map[string]func(context.Context, acme.Proof) error{
			"Present": s.Present,
			"CleanUp": s.CleanUp,
		} {
			if err := method(ctx, p); !errors.Is(err, context.Canceled) {
				t.Errorf("%s of %s: %v", name, s.Type(), err)
			}
		}
	}
}
