package storagetest_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/storagetest"
)

// flawVariable names the flaw that the store of TestSuite has; without it, it has none.
const flawVariable = "EVERSEAL_STORAGETEST_FLAW"

func TestSuite(t *testing.T) {
	switch os.Getenv(flawVariable) {
	case "no suite":
		storagetest.Suite{}.Run(t)
	case "no function":
		storagetest.Run(t, nil)
	case "no store":
		storagetest.Run(t, func(*testing.T) storage.Store { return nil })
	}
	storagetest.Suite{
		Open: func(*testing.T) storage.Store {
			flaw := os.Getenv(flawVariable)
			if isSeam(flaw) {
				return &flawedSeams{flaw: flaw}
			}
			return &flawed{flaw: flaw, items: make(map[string]storage.Item)}
		},
		Reopen: func(_ *testing.T, s storage.Store) storage.Store { return s },
		Cut: func(_ *testing.T, s storage.Store) {
			if f, ok := s.(*flawedSeams); ok {
				f.CutWatches()
			}
		},
		Many: 3000,
	}.Run(t)
}

func TestRun(t *testing.T) {
	storagetest.Run(t, func(*testing.T) storage.Store { return new(storage.Memory) })
}

// TestFlawsAreFound runs TestSuite with each flaw: the cases named must fail and say why they exist.
func TestFlawsAreFound(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for flaw, cases := range map[string][]string{
		"zero revision overwrites":   {"Create", "ConcurrentCreate"},
		"revision ignored":           {"Create", "Swap", "ConcurrentSwap", "ConcurrentUpdate", "LeaseFenced", "LeaseRace", "LostAnswer", "LostAnswers"},
		"check, then write":          {"ConcurrentCreate", "ConcurrentSwap", "ConcurrentDelete", "ConcurrentUpdate", "LeaseRace"},
		"missing key upserted":       {"Create", "Delete"},
		"hash as revision":           {"Revisions"},
		"counter restarts":           {"Revisions"},
		"unconditional delete":       {"Delete"},
		"silent delete of nothing":   {"Delete", "ConcurrentDelete"},
		"string prefix":              {"List"},
		"prefix ignored":             {"List"},
		"listing goes on":            {"ListEarlyEnd"},
		"context ignored":            {"Context"},
		"wildcard mapped":            {"OddKeys"},
		"names cut":                  {"OddKeys"},
		"keys not checked":           {"HostileKeys"},
		"listed prefix not checked":  {"HostileKeys"},
		"values trimmed":             {"Values", "LeaseValue"},
		"empty value is absent":      {"Values", "Update"},
		"no limit":                   {"LargestValue"},
		"limit too low":              {"LargestValue", "LeaseValue"},
		"no room for sealing":        {"LargestValue"},
		"given slice kept":           {"Aliasing"},
		"own slice handed out":       {"Aliasing"},
		"loads from an old snapshot": {"Swap"},

		"equal value is a success":         {"LostAnswer"},
		"pattern of a listing":             {"EveryByte"},
		"plus is a space":                  {"EveryByte"},
		"half-written when cancelled":      {"Cancellation"},
		"cancellation hidden":              {"Cancellation"},
		"listing cut short when cancelled": {"Cancellation"},
		"listing ends when others write":   {"ListWhileWriting"},
		"one page of a listing":            {"Many"},

		"scan ignores the prefix":               {"Scan"},
		"scan loses what is below":              {"Scan"},
		"scan passes over one after the cursor": {"ScanCursor"},
		"scan ends when others write":           {"ScanWhileWriting"},
		"watch ignores the prefix":              {"Watch"},
		"watch does not say that it listens":    {"Watch"},
		"watch is deaf to deletions":            {"Watch"},
		"watch ends in silence":                 {"WatchEnds"},
		"watch ends in silence after a cut":     {"WatchCut"},
		"watch is deaf after a cut":             {"WatchCut"},
	} {
		t.Run(flaw, func(t *testing.T) {
			t.Parallel()
			for _, name := range cases {
				cmd := exec.CommandContext(t.Context(), program, "-test.run=^TestSuite$/^"+name+"$", "-test.timeout=20s")
				cmd.Env = append(os.Environ(), flawVariable+"="+flaw)
				out, err := cmd.CombinedOutput()
				if err == nil {
					t.Errorf("%s does not find it", name)
				}
				if !bytes.Contains(out, []byte("why this matters")) && !bytes.Contains(out, []byte("panic: ")) {
					t.Errorf("%s says only:\n%s", name, out)
				}
			}
		})
	}
}

// What gives no store is told so.
func TestNoStore(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for flaw, says := range map[string]string{
		"no suite": "Suite.Open is nil", "no function": "Suite.Open is nil", "no store": "Suite.Open returned nil",
	} {
		cmd := exec.CommandContext(t.Context(), program, "-test.run=^TestSuite$/^Create$", "-test.timeout=20s")
		cmd.Env = append(os.Environ(), flawVariable+"="+flaw)
		out, err := cmd.CombinedOutput()
		if err == nil || !bytes.Contains(out, []byte(says)) || bytes.Contains(out, []byte("panic: ")) {
			t.Errorf("%s: %v, want a failure that says %q:\n%s", flaw, err, says, out)
		}
	}
}

// flawed is a correct store but for one flaw, each seen in a real one.
type flawed struct {
	flaw string

	mu    sync.Mutex
	items map[string]storage.Item // guarded by mu
	old   map[string]storage.Item // guarded by mu; items as they were before the last save
	saves int                     // guarded by mu
}

func (f *flawed) check(ctx context.Context, key string) (string, error) {
	if f.flaw != "keys not checked" {
		if err := storage.CheckKey(key); err != nil {
			return "", err
		}
	}
	if f.flaw == "wildcard mapped" {
		key = strings.ReplaceAll(key, "*", "_")
	}
	if f.flaw == "plus is a space" { // a query that was not escaped
		key = strings.ReplaceAll(key, "+", "-")
	}
	if f.flaw == "names cut" {
		key = key[:min(len(key), 255)]
	}
	if f.flaw == "context ignored" {
		return key, nil
	}
	return key, ctx.Err()
}

func (f *flawed) Load(ctx context.Context, key string) (storage.Item, error) {
	key, err := f.check(ctx, key)
	if err != nil {
		return storage.Item{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	item, ok := f.items[key]
	if f.flaw == "loads from an old snapshot" && f.old != nil {
		item, ok = f.old[key]
	}
	if !ok || f.flaw == "empty value is absent" && len(item.Value) == 0 {
		return storage.Item{}, fs.ErrNotExist
	}
	if f.flaw != "own slice handed out" {
		item.Value = bytes.Clone(item.Value)
	}
	return item, nil
}

func (f *flawed) Save(ctx context.Context, key string, value []byte, old storage.Revision) (storage.Revision, error) {
	key, err := f.check(ctx, key)
	if err != nil {
		return "", err
	}
	limit := storage.MaxValue
	switch f.flaw {
	case "no limit":
		limit *= 2
	case "limit too low":
		limit /= 2
	case "values trimmed":
		value = bytes.TrimSpace(value)
	}
	if bytes.HasPrefix(value, []byte("everseal-sealed ")) && f.flaw != "no room for sealing" {
		limit += 256
	}
	if len(value) > limit {
		return "", storage.ErrTooLarge
	}
	if f.flaw != "given slice kept" {
		value = bytes.Clone(value)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if current := f.items[key]; f.flaw == "equal value is a success" && current.Revision != "" && bytes.Equal(current.Value, value) {
		return current.Revision, nil
	}
	if current := f.items[key].Revision; current != old &&
		!(f.flaw == "zero revision overwrites" && old == "") &&
		!(f.flaw == "missing key upserted" && current == "") &&
		f.flaw != "revision ignored" {
		return "", storage.ErrConflict
	}
	f.pause()
	f.saves++
	revision := fmt.Sprint(f.saves)
	switch f.flaw {
	case "hash as revision":
		revision = fmt.Sprintf("%x", sha256.Sum256(value))
	case "counter restarts":
		var n int
		fmt.Sscan(string(f.items[key].Revision), &n)
		revision = fmt.Sprint(n + 1)
	case "loads from an old snapshot":
		f.old = make(map[string]storage.Item)
		maps.Copy(f.old, f.items)
	}
	f.items[key] = storage.Item{Value: value, Revision: storage.Revision(revision)}
	if err := f.breakOff(ctx, key); err != nil {
		return "", err
	}
	return storage.Revision(revision), nil
}

// breakOff looks in the midst of a save whether its context has ended.
func (f *flawed) breakOff(ctx context.Context, key string) error {
	if f.flaw != "half-written when cancelled" && f.flaw != "cancellation hidden" {
		return nil
	}
	err := ctx.Err()
	item := f.items[key]
	switch {
	case err == nil:
	case f.flaw == "half-written when cancelled":
		item.Value = item.Value[:len(item.Value)/2]
		f.items[key] = item
	default:
		err = errors.New("driver: bad connection")
	}
	return err
}

// pause lets others in between the check of a revision and the change.
func (f *flawed) pause() {
	if f.flaw == "check, then write" {
		f.mu.Unlock()
		for range 100 {
			runtime.Gosched()
		}
		f.mu.Lock()
	}
}

func (f *flawed) Delete(ctx context.Context, key string, old storage.Revision) error {
	key, err := f.check(ctx, key)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	current := f.items[key].Revision
	switch {
	case f.flaw == "silent delete of nothing" && current == "":
		return nil
	case f.flaw == "unconditional delete":
	case old == "" || current != old:
		return storage.ErrConflict
	}
	f.pause()
	delete(f.items, key)
	return nil
}

func (f *flawed) List(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if prefix != "" && f.flaw != "listed prefix not checked" {
			if _, err := f.check(ctx, prefix); err != nil {
				yield("", err)
				return
			}
		}
		if err := ctx.Err(); err != nil && f.flaw != "context ignored" {
			yield("", err)
			return
		}
		for n, key := range f.keys(prefix) {
			if f.flaw == "listing cut short when cancelled" && ctx.Err() != nil || f.flaw == "one page of a listing" && n == 1000 {
				return
			}
			if !yield(key, nil) && f.flaw != "listing goes on" {
				return
			}
		}
	}
}

func (f *flawed) keys(prefix string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var keys []string
	for key := range f.items {
		if prefix == "" || key == prefix || strings.HasPrefix(key, prefix+"/") || f.flaw == "prefix ignored" ||
			f.flaw == "pattern of a listing" && matchPattern(key, prefix) ||
			f.flaw == "string prefix" && strings.HasPrefix(key, prefix) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// matchPattern reports whether key is or begins with prefix and "/", in which "_" stands for any byte.
func matchPattern(key, prefix string) bool {
	if len(key) < len(prefix) || len(key) > len(prefix) && key[len(prefix)] != '/' {
		return false
	}
	for i := range len(prefix) {
		if prefix[i] != '_' && prefix[i] != key[i] {
			return false
		}
	}
	return true
}
