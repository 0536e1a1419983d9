package kubernetes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strconv"
	"time"

	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/internal/wait"
)

const (
	watchPeriod   = 4 * time.Minute // for how long a server is asked to tell, before it is asked again: it forgets after five
	watchPatience = 30 * time.Second
	watchPause    = time.Second // between two requests, at least
	resumeTimeout = time.Minute // for how long it is tried to resume a watch
	maxEvent      = 2 << 20     // bytes, without data
)

// Watch yields the keys at or below the prefix that may have been changed; see [storage.Watcher]. It is a watch of the API
// server's, of metadata, which is resumed where it ended: at the server's wish, or because the connection has broken. It ends
// with an error if it can't be resumed within a minute, or if the server does not know any more what was changed meanwhile (410): what
// was changed then is seen by who watches again, and reads everything once more after the first "".
func (s *Store) Watch(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if err := storage.AdmitPrefix(ctx, prefix); err != nil {
			yield("", err)
			return
		}
		w := watch{store: s, prefix: prefix, yield: yield}
		if err := w.run(ctx); !errors.Is(err, errStopped) {
			yield("", s.failure(ctx, "watch", prefix, err))
		}
	}
}

// errStopped ends a watch that its caller does not want any more.
var errStopped = errors.New("the watch was ended")

// A watch is one call of Watch.
type watch struct {
	store   *Store
	prefix  string
	yield   func(string, error) bool
	version string // up to which all is told
	listens bool   // it was said
}

// run watches until an error ends it.
func (w *watch) run(ctx context.Context) error {
	query := w.store.selection(w.prefix)
	query.Set("limit", "1")
	p, err := w.store.page(ctx, query, "", listOfMetadata)
	if err != nil {
		return err
	}
	w.version = p.Metadata.ResourceVersion
	for told := time.Now(); ; {
		began := time.Now()
		err := w.follow(ctx)
		if err == nil {
			told = time.Now()
		} else if !w.listens || !isPassing(err) || time.Since(told) > resumeTimeout {
			return err
		}
		if err := wait.For(ctx, watchPause-time.Since(began)); err != nil {
			return err
		}
	}
}

// isPassing reports whether a watch may be resumed after the error: while an API server restarts, nothing is lost.
func isPassing(err error) bool {
	refusal, ok := errors.AsType[*StatusError](err)
	return ok && refusal.Code == http.StatusTooManyRequests || mayBeDone(err) && !errors.Is(err, errNoEvent) && !errors.Is(err, errStopped)
}

// follow yields what the server tells until the connection ends. An error is one for which the watch can't be resumed.
func (w *watch) follow(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, watchPeriod+watchPatience)
	defer cancel()
	query := w.store.selection(w.prefix)
	query.Set("watch", "true")
	query.Set("allowWatchBookmarks", "true")
	query.Set("resourceVersion", w.version)
	query.Set("timeoutSeconds", strconv.Itoa(int(watchPeriod.Seconds())))
	response, err := w.store.open(ctx, request{method: http.MethodGet, query: query, accept: eventsMetadata})
	if err != nil {
		return expiry(err)
	}
	defer response.Body.Close()
	if !w.listens && !w.yield("", nil) {
		return errStopped
	}
	w.listens = true
	bounded := &boundedReader{from: response.Body}
	events := json.NewDecoder(bounded)
	for {
		var e event
		bounded.left = maxEvent
		err := events.Decode(&e)
		if _, syntax := errors.AsType[*json.SyntaxError](err); syntax || errors.Is(err, errTooLarge) {
			return noEvent(err)
		}
		if err != nil {
			return nil // the server has ended it, or the connection broke: what was not told is told next
		}
		if err := w.tell(&e); err != nil {
			return err
		}
	}
}

// An event is one of a watch.
type event struct {
	Type   string          `json:"type"`
	Object json.RawMessage `json:"object"`
}

// tell yields the key that the event is about.
func (w *watch) tell(e *event) error {
	if e.Type == "ERROR" {
		var s status
		if err := json.Unmarshal(e.Object, &s); err != nil {
			return noEvent(err)
		}
		refusal := new(StatusError)
		refusal.set(&s)
		return expiry(refusal)
	}
	var about secret
	if err := json.Unmarshal(e.Object, &about); err != nil {
		return noEvent(err)
	}
	if key, ok := w.store.keyOf(&about.Metadata); ok && e.Type != "BOOKMARK" && storage.Within(key, w.prefix) && !w.yield(key, nil) {
		return errStopped
	}
	w.version = about.Metadata.ResourceVersion
	return nil
}

// expiry says of an error that changes have gone untold, if it is that.
func expiry(err error) error {
	if isExpired(err) {
		return fmt.Errorf("changes were not told, for the server does not know them any more: watch again, and read everything once more: %w", err)
	}
	return err
}

var (
	errNoEvent  = errors.New("the server tells what is no event of a watch")
	errTooLarge = errors.New("it is too large")
)

func noEvent(err error) error { return fmt.Errorf("%w: %w", errNoEvent, err) }

// A boundedReader reads up to a number of bytes, which is set anew before each event.
type boundedReader struct {
	from io.Reader
	left int
}

func (r *boundedReader) Read(p []byte) (int, error) {
	if r.left <= 0 {
		return 0, errTooLarge
	}
	n, err := r.from.Read(p[:min(len(p), r.left)])
	r.left -= n
	return n, err
}
