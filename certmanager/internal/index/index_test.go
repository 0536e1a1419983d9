package index

import (
	"crypto/tls"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
)

func TestLookup(t *testing.T) {
	var x Index[string]
	held := []string{"example.com", "www.example.com", "*.example.com", "*.deep.example.com", "*.net", "localhost", "192.0.2.1", "2001:db8::1"}
	for _, name := range held {
		x.Put(name, name)
	}
	tests := []struct{ asked, want string }{
		{"example.com", "example.com"},
		{"www.example.com", "www.example.com"}, // and not the wildcard that covers it too
		{"api.example.com", "*.example.com"},
		{"xn--bcher-kva.example.com", "*.example.com"},
		{"deep.example.com", "*.example.com"},
		{"a.deep.example.com", "*.deep.example.com"},
		{"a.b.deep.example.com", ""},
		{"a.www.example.com", ""},
		{"example.net", "*.net"},
		{"www.example.net", ""},
		{"net", ""},
		{"localhost", "localhost"},
		{"192.0.2.1", "192.0.2.1"},
		{"2001:db8::1", "2001:db8::1"},
		{"*.example.com", "*.example.com"},
		{"", ""},
		{".", ""},
		{".example.com", ""},
		{".net", ""},
		{"www..net", ""},
		{"example.com.", ""},
		{"www.example.com.", ""},
		{"Example.com", ""},
		{strings.Repeat("a.", 53) + "example.com", ""},
		{strings.Repeat(".", 253), ""},
	}
	for _, tt := range tests {
		got, ok := x.Lookup(tt.asked)
		if got != tt.want || ok != (tt.want != "") {
			t.Errorf("Lookup(%q) = %q, %t, want %q", tt.asked, got, ok, tt.want)
		}
	}
}

func TestNilValueIsFound(t *testing.T) {
	var x Index[*tls.Certificate]
	x.Put("www.example.com", nil)
	x.Put("*.example.com", new(tls.Certificate))
	if cert, ok := x.Lookup("www.example.com"); cert != nil || !ok {
		t.Errorf("a name put with nil: Lookup = %v, %t, want nil, true", cert, ok)
	}
}

func TestZeroIndex(t *testing.T) {
	var x Index[int]
	x.PutAll(maps.All(map[string]int{}))
	if _, ok := x.Lookup("example.com"); ok {
		t.Error("Lookup found a name in an empty index")
	}
	if x.Delete("example.com") {
		t.Error("Delete removed a name from an empty index")
	}
	if x.Len() != 0 {
		t.Errorf("Len() = %d, want 0", x.Len())
	}
	for name := range x.All() {
		t.Errorf("All yields %q", name)
	}
	x.DeleteAll([]string{"example.com"})
	if x.Len() != 0 {
		t.Errorf("Len() = %d after DeleteAll", x.Len())
	}
}

// modelLookup says what Lookup has to find in an index that holds what the model holds.
func modelLookup(model map[string]int, name string) (int, bool) {
	if strings.HasPrefix(name, "*.") {
		v, ok := model[name]
		return v, ok
	}
	if v, ok := model[name]; ok {
		return v, true
	}
	label, rest, ok := strings.Cut(name, ".")
	if !ok || label == "" {
		return 0, false
	}
	v, ok := model["*."+rest]
	return v, ok
}

// TestAgainstMap does the same random work on an Index and on a plain map, over a universe of names so small
// that exact names and wildcards often meet, and compares all that can be seen of them.
func TestAgainstMap(t *testing.T) {
	var universe []string
	for _, parent := range []string{"com", "example.com", "b.example.com", "a.b.example.com", "org"} {
		for _, label := range []string{"a", "b", "c", "*", "example"} {
			universe = append(universe, label+"."+parent)
		}
	}
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 0))
		var x Index[int]
		model := make(map[string]int)
		for step := range 100 {
			work(t, r, &x, model, universe)
			compare(t, &x, model, universe)
			if t.Failed() {
				t.Fatalf("seed %d, step %d", seed, step)
			}
		}
	}
}

func work(t *testing.T, r *rand.Rand, x *Index[int], model map[string]int, universe []string) {
	name := universe[r.IntN(len(universe))]
	switch r.IntN(5) {
	case 4:
		var some []string
		for range r.IntN(10) {
			some = append(some, universe[r.IntN(len(universe))])
		}
		x.DeleteAll(some)
		for _, name := range some {
			delete(model, name)
		}
	case 0, 1:
		v := r.Int()
		x.Put(name, v)
		model[name] = v
	case 2:
		_, held := model[name]
		if got := x.Delete(name); got != held {
			t.Errorf("Delete(%q) = %t, want %t", name, got, held)
		}
		delete(model, name)
	case 3:
		some := make(map[string]int)
		for range r.IntN(10) {
			some[universe[r.IntN(len(universe))]] = r.Int()
		}
		x.PutAll(maps.All(some))
		maps.Copy(model, some)
	}
}

func compare(t *testing.T, x *Index[int], model map[string]int, universe []string) {
	for _, name := range universe {
		v, ok := x.Lookup(name)
		want, held := modelLookup(model, name)
		if v != want || ok != held {
			t.Errorf("Lookup(%q) = %d, %t, want %d, %t", name, v, ok, want, held)
		}
	}
	if x.Len() != len(model) {
		t.Errorf("Len() = %d, want %d", x.Len(), len(model))
	}
	if all := maps.Collect(x.All()); !maps.Equal(all, model) {
		t.Errorf("All() = %v, want %v", all, model)
	}
}

// TestManyNames fills every shard, with so many names that Go's maps grow beyond their small forms.
func TestManyNames(t *testing.T) {
	held := append(names(exactFormat, 50_000), names(wildcardFormat, 50_000)...)
	var x Index[string]
	x.PutAll(func(yield func(string, string) bool) {
		for _, name := range held {
			if !yield(name, name) {
				return
			}
		}
	})
	if x.Len() != len(held) {
		t.Fatalf("Len() = %d, want %d", x.Len(), len(held))
	}
	for i, name := range held {
		asked := strings.Replace(name, "*", "www", 1)
		if got, ok := x.Lookup(asked); got != name || !ok {
			t.Fatalf("Lookup(%q) = %q, %t, want %q", asked, got, ok, name)
		}
		if i%20 == 0 && !x.Delete(name) {
			t.Fatalf("Delete(%q) = false", name)
		}
	}
	for i, name := range held {
		if _, ok := x.Lookup(strings.Replace(name, "*", "www", 1)); ok == (i%20 == 0) {
			t.Fatalf("after the deletion of every twentieth name, number %d: found is %t", i, ok)
		}
	}
}

// TestGrowth does random work among so many names that shards are split, by single names and by many at once.
func TestGrowth(t *testing.T) {
	universe := append(names(exactFormat, 6_000), names(wildcardFormat, 3_000)...)
	for seed := range uint64(3) {
		r := rand.New(rand.NewPCG(seed, 1))
		var x Index[int]
		model := make(map[string]int)
		for range 8 {
			for range 1_500 {
				work(t, r, &x, model, universe)
			}
			some := make(map[string]int)
			for range r.IntN(5_000) {
				some[universe[r.IntN(len(universe))]] = r.Int()
			}
			x.PutAll(maps.All(some))
			maps.Copy(model, some)
			compare(t, &x, model, universe)
			for _, tab := range []*table[int]{&x.current.Load().exact, &x.current.Load().wildcard} {
				for shard := range tab.distinct() {
					if shard.names > 2*maxShard {
						t.Errorf("a shard has %d names", shard.names)
					}
				}
			}
			if t.Failed() {
				t.FailNow()
			}
		}
		if s := x.current.Load(); len(s.exact.shards) < 4 || len(s.wildcard.shards) < 2 {
			t.Errorf("%d and %d shards: nothing was split", len(s.exact.shards), len(s.wildcard.shards))
		}
	}
}

func TestPutAllSequenceMayUseTheIndex(t *testing.T) {
	var x Index[int]
	x.Put("a.example", 1)
	x.PutAll(func(yield func(string, int) bool) {
		x.Put("b.example", 2)
		for name, v := range x.All() {
			if !yield("copy-of-"+name, v) {
				return
			}
		}
		yield("b.example", 3)
	})
	want := map[string]int{"a.example": 1, "b.example": 3, "copy-of-a.example": 1, "copy-of-b.example": 2}
	if got := maps.Collect(x.All()); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestAllSeesOneState(t *testing.T) {
	x := filled(names(exactFormat, 1_000))
	seen := 0
	for name := range x.All() {
		seen++
		x.Delete(name)
		x.Put("new."+name, nil)
	}
	if seen != 1_000 || x.Len() != 1_000 {
		t.Errorf("saw %d names while each was replaced, and %d after that, want 1000 both times", seen, x.Len())
	}
}

func TestAllStops(t *testing.T) {
	for _, format := range []string{exactFormat, wildcardFormat} {
		seen := 0
		for range filled(names(format, 100)).All() {
			if seen++; seen == 3 {
				break
			}
		}
		if seen != 3 {
			t.Errorf("saw %d names, want 3", seen)
		}
	}
}

// TestReadersAndWriters has readers check, while everything is written at once: that a name which is only ever
// replaced is never missed, and that PutAll is seen as a whole.
func TestReadersAndWriters(t *testing.T) {
	const rounds = 200
	format := "*.group-%02d.example.com"
	var x Index[int]
	group := func(v int) func(func(string, int) bool) {
		return func(yield func(string, int) bool) {
			for i := range 50 {
				if !yield(fmt.Sprintf(format, i), v) {
					return
				}
			}
		}
	}
	x.PutAll(group(0))
	var writers, readers sync.WaitGroup
	done := make(chan struct{})
	for w := range 2 {
		writers.Go(func() {
			for v := range rounds {
				x.PutAll(group(w*rounds + v))
			}
		})
		writers.Go(func() {
			for i := range rounds {
				name := fmt.Sprintf("other-%d-%d.example.org", w, i)
				x.Put(name, -1)
				if i%2 == 0 && !x.Delete(name) {
					t.Errorf("%s was lost", name)
				}
			}
		})
		readers.Go(func() {
			for checked := false; ; checked = true {
				select {
				case <-done:
					if checked {
						return
					}
				default:
				}
				read(t, &x, fmt.Sprintf(format, 7))
			}
		})
	}
	writers.Wait()
	close(done)
	readers.Wait()
	if want := 50 + rounds; x.Len() != want {
		t.Errorf("Len() = %d, want %d", x.Len(), want)
	}
}

func read(t *testing.T, x *Index[int], wildcard string) {
	if _, ok := x.Lookup("www" + wildcard[1:]); !ok {
		t.Errorf("%s was missed while it was replaced", wildcard)
	}
	want := -1
	for name, v := range x.All() {
		switch {
		case !strings.HasPrefix(name, "*."):
		case want == -1:
			want = v
		case v != want:
			t.Errorf("%s has value %d, another one of its PutAll has %d", name, v, want)
		}
	}
}

func TestLookupDoesNotAllocate(t *testing.T) {
	x := filled(append(names(exactFormat, 1_000), names(wildcardFormat, 1_000)...))
	asked := []string{
		"site-000007.example.com", "www.site-000007.example.com", "unknown.example.com",
		"", "localhost", strings.Repeat("a.", 53) + "example.com",
	}
	for _, name := range asked {
		allocations := testing.AllocsPerRun(1_000, func() { x.Lookup(name) })
		if allocations != 0 {
			t.Errorf("Lookup(%q) makes %v allocations, want 0", name, allocations)
		}
	}
}
