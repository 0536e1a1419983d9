package sql

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/internal/server"
)

// durables are an engine of each sort: a file, a server, a folder.
var durables = []struct {
	name   string
	target func(t testing.TB) target
}{
	{"SQLite", newSQLiteTarget},
	{"PostgreSQL", newPostgresTarget},
	{"Dir", newDirTarget},
}

// A mortal is the way of a process to its storage and its CA. It prints each step that others can find, a write or a
// request, once that is done, and kills the process after one of them, before it is told what came of it.
type mortal struct {
	storage.Store
	ca   http.RoundTripper
	last int // the one after which the process is killed; 0: none

	mu   sync.Mutex
	done []string // guarded by mu
}

// note notes a step. Who asks the CA again whether an order is ready has done nothing more.
func (m *mortal) note(what string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := len(m.done); n > 0 && what == "order" && m.done[n-1] == what {
		return
	}
	m.done = append(m.done, what)
	fmt.Println("step", what)
	if len(m.done) != m.last {
		return
	}
	self, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = self.Kill()
	}
	fmt.Fprintln(os.Stderr, err)
	select {}
}

func (m *mortal) Unwrap() storage.Store { return m.Store }

func (m *mortal) Save(ctx context.Context, key string, value []byte, old storage.Revision) (storage.Revision, error) {
	revision, err := m.Store.Save(ctx, key, value, old)
	m.note("save " + firstPart(key))
	return revision, err
}

func (m *mortal) Delete(ctx context.Context, key string, old storage.Revision) error {
	err := m.Store.Delete(ctx, key, old)
	m.note("delete " + firstPart(key))
	return err
}

// RoundTrip sends a request to the CA.
func (m *mortal) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := m.ca.RoundTrip(r)
	m.note(firstPart(strings.TrimPrefix(r.URL.Path, "/")))
	return response, err
}

func firstPart(path string) string {
	first, _, _ := strings.Cut(path, "/")
	return first
}

// childDie obtains certificates until it has done the given number of steps. It prints them, and which certificates it has obtained.
func childDie(ctx context.Context, arguments []string) error {
	ctx, cancel := whileParentLives(ctx)
	defer cancel()
	last, err := strconv.Atoi(arguments[len(arguments)-1])
	if err != nil {
		return err
	}
	store, end, err := openAny(ctx, arguments[:len(arguments)-1])
	if err != nil {
		return err
	}
	defer end()
	config, err := managerConfig(store, arguments)
	if err != nil {
		return err
	}
	client := config.Issuers[0].(*certmanager.ACME).HTTPClient
	way := &mortal{Store: store, ca: client.Transport, last: last}
	config.Storage, client.Transport = way, way
	m, err := certmanager.New(config)
	if err != nil {
		return err
	}
	return m.Run(ctx)
}

// A process is killed after each of its steps in turn, from its start until its certificate is stored and its lease given
// back: what it had written and asked for is there, and it has not been told so. (After a step is before the next.) Another
// process takes over: by the same key, by the same order unless the process died before it could write down its URL, with
// one certificate.
func TestKilledAtEachStep(t *testing.T) {
	if raceDetector || testing.Short() {
		t.Skip("it starts a hundred processes")
	}
	t.Parallel() // with the other tests that mostly wait
	for _, engine := range durables {
		t.Run(engine.name, func(t *testing.T) {
			t.Parallel()
			all := stepsOf(t, engine.target(t))
			t.Logf("%d steps: %s", len(all), strings.Join(all, ", "))
			for n := range all {
				k := newTrial(t, engine.target(t), "www.example.com")
				c := startChild(t, "die", append(k.arguments(), strconv.Itoa(n+1))...)
				done := c.steps(t)
				c.kill() // if it is not dead
				if !slices.Equal(done, all[:n+1]) {
					t.Logf("the first %d steps are %s here", n+1, strings.Join(done, ", "))
				}
				k.examine(t)
				lost := k.finish(t)
				// A request goes to the CA again while its answer is not written down.
				unknown := slices.Index(done, "newOrder") == len(done)-1
				if lost > 1 || lost == 1 && !unknown {
					t.Errorf("%d orders are lost", lost)
				}
				if t.Failed() {
					t.Fatalf("killed after step %d: %s", n+1, strings.Join(done, ", "))
				}
			}
		})
	}
}

// stepsOf returns what one process does that nobody kills.
func stepsOf(t *testing.T, d target) []string {
	t.Helper()
	k := newTrial(t, d, "www.example.com")
	c := startChild(t, "die", append(k.arguments(), "0")...)
	all := c.steps(t)
	c.kill()
	for _, want := range []string{"save work", "newAccount", "save accounts", "newOrder", "save challenges", "challenge", "finalize", "certificate", "save certificates", "delete challenges"} {
		if !slices.Contains(all, want) {
			t.Fatalf("no step is %q: %q", want, all)
		}
	}
	if all[len(all)-1] != "save work" {
		t.Fatalf("the last step is not to give the lease back: %q", all)
	}
	return all
}

// steps returns the steps of the child, until it dies or has obtained its certificate.
func (c *child) steps(t *testing.T) (all []string) {
	t.Helper()
	for {
		select {
		case line, ok := <-c.lines:
			kind, what, _ := strings.Cut(line, " ")
			switch {
			case !ok || kind == string(certmanager.EventObtained):
				return all
			case kind == "step":
				all = append(all, what)
			}
		case <-time.After(3 * server.Patience):
			t.Fatalf("the child says nothing after %q", all)
		}
	}
}

// seedVariable is for the seed of TestKilledAtAnyMoment: that of an earlier run kills after as many requests as there.
const seedVariable = "EVERSEAL_KILL_SEED"

// Processes that are at work on many names are killed at random moments, 200 in all. The last one finishes what they began.
func TestKilledAtAnyMoment(t *testing.T) {
	if raceDetector || testing.Short() {
		t.Skip("it starts 200 processes")
	}
	t.Parallel() // with the other tests that mostly wait
	seed, err := strconv.ParseUint(cmp.Or(os.Getenv(seedVariable), strconv.FormatUint(rand.Uint64(), 10)), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s=%d", seedVariable, seed)
	for i, engine := range durables {
		t.Run(engine.name, func(t *testing.T) {
			t.Parallel()
			const kills = 67
			k := newTrial(t, engine.target(t), manyNames(atOnce*(kills+1))...)
			all := k.names
			k.hear(dawdling(40 * time.Millisecond))
			random := rand.New(rand.NewPCG(seed, uint64(i)))
			issued := 0
			for n := range kills {
				k.names = all[:issued+atOnce]
				k.killOnce(t, random)
				k.examine(t)
				if t.Failed() {
					t.Fatalf("after %d kills", n+1)
				}
				issued = len(k.ca.Certificates())
			}
			lost := k.finish(t)
			t.Logf("%d kills; certificates for %d of %d names were issued by then; of %d orders nobody had heard", kills, issued, len(k.names), lost)
		})
	}
}

// atOnce is how many names TestKilledAtAnyMoment has under way.
const atOnce = 5

// killOnce starts a process and kills it a moment after one of its requests to the CA, or after it has obtained all.
func (k *trial) killOnce(t *testing.T, random *rand.Rand) {
	t.Helper()
	// For all names under way the CA gets some 45 requests.
	requests, pause := random.IntN(30), time.Duration(random.Int64N(int64(20*time.Millisecond)))
	moment := k.after(requests)
	c := startChild(t, "manage", k.arguments()...)
	c.line(t) // its address
	for served, due := 0, false; served < len(k.names) && !due; {
		select {
		case _, ok := <-c.lines:
			if !ok {
				t.Fatal("the child has ended")
			}
			served++
		case <-moment:
			due = true
		case <-time.After(server.Patience):
			t.Fatalf("the child has obtained %d of %d certificates", served, len(k.names))
		}
	}
	<-time.After(pause)
	c.kill()
}
