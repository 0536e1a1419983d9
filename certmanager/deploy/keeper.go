package deploy

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// A keeper is a Deployer at work. One goroutine, that of run, has all of it; a command that runs has one of its own.
type keeper struct {
	settings
	logger   *slog.Logger
	onResult func(Result)

	targets  map[string]*target // by name
	dirFails backoff
	inUse    time.Time    // since when another process is at work in Dir; zero: it is not
	busy     bool         // a command runs
	ended    chan outcome // what it has come to
}

const (
	passInterval = 30 * time.Second // at most, between two comparisons of all files with what is served
	passPause    = time.Second      // at least, whatever happens
	settlePeriod = 5 * time.Second  // for which the command waits for more that changes, with Together
	filesPause   = time.Minute      // at most, after failures to write files
	longestUse   = time.Minute      // of Dir by another process, before that is a failure
	commandPause = 10 * time.Minute // at most, after failures of the command
)

// run compares and runs commands until ctx ends.
func (k *keeper) run(ctx context.Context, woken <-chan struct{}) {
	next, last := time.Now(), time.Time{}
	for {
		if now := time.Now(); ctx.Err() == nil && !now.Before(next) {
			k.pass(ctx)
			last = time.Now()
			next = k.nextPass(last)
		}
		k.startCommand(ctx)
		wake := time.NewTimer(time.Until(k.nextCommand(next)))
		select {
		case <-ctx.Done():
			if k.busy {
				k.finish(ctx, <-k.ended)
			}
			wake.Stop()
			return
		case <-wake.C:
		case <-woken:
			if soon := last.Add(passPause); soon.Before(next) {
				next = soon
			}
		case o := <-k.ended:
			k.finish(ctx, o)
		}
		wake.Stop()
	}
}

// once compares one time, and runs the command until it has succeeded or failed for all that it is due for.
func (k *keeper) once(ctx context.Context) error {
	var errs []error
	told := k.onResult
	k.onResult = func(r Result) {
		errs = append(errs, r.Err)
		if told != nil {
			told(r)
		}
	}
	for k.pass(ctx); !k.inUse.IsZero() && !k.dirFails.waits(time.Now()); k.pass(ctx) {
		wait := time.NewTimer(passPause)
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return ctx.Err()
		}
	}
	for _, t := range k.targets {
		if t.isDue() {
			t.due = time.Now()
		}
	}
	for k.startCommand(ctx); k.busy; k.startCommand(ctx) {
		k.finish(ctx, <-k.ended)
	}
	return errors.Join(append(errs, ctx.Err())...)
}

// nextPass returns when the pass after the last one is due: what failed is tried again at its time.
func (k *keeper) nextPass(last time.Time) time.Time {
	next := last.Add(passInterval)
	for _, t := range k.targets {
		if t.files.waits(last) && t.files.next.Before(next) {
			next = t.files.next
		}
	}
	if k.dirFails.waits(last) && k.dirFails.next.Before(next) {
		next = k.dirFails.next
	}
	return next
}

// pass compares all files with what is served, and writes those that differ.
func (k *keeper) pass(ctx context.Context) {
	if k.dirFails.waits(time.Now()) {
		return
	}
	err := inFolder(k.dir, func(root *os.Root) {
		k.dirFails, k.inUse = backoff{}, time.Time{}
		seen := make(map[string]bool)
		for name := range k.wanted() {
			if ctx.Err() != nil {
				return
			}
			if !seen[name] { // it has a status for each kind of key
				seen[name] = true
				k.bring(ctx, root, name)
			}
		}
		maps.DeleteFunc(k.targets, func(name string, t *target) bool { return !seen[name] && !t.isDue() })
	})
	if errors.Is(err, errInUse) && !k.isStuck(time.Now()) {
		k.logger.LogAttrs(ctx, slog.LevelDebug, "another process deploys in the same folder", slog.String("path", k.dir))
		return
	}
	if err != nil {
		k.dirFails.fail(filesPause)
		k.report(ctx, Result{Err: fmt.Errorf("deploy: Dir: %w", err), Attempts: k.dirFails.attempts, Next: k.dirFails.next})
	}
}

// isStuck reports whether another process is at work in Dir for longer than a pass takes. It notes when that began.
func (k *keeper) isStuck(now time.Time) bool {
	if k.inUse.IsZero() {
		k.inUse = now
	}
	return now.Sub(k.inUse) >= longestUse
}

// wanted returns the names whose certificates are to have files, some of them more than once.
func (k *keeper) wanted() iter.Seq[string] {
	if len(k.names) > 0 {
		return slices.Values(k.names)
	}
	return func(yield func(string) bool) {
		for s := range k.manager.All() {
			if s.Serial != "" && !yield(chief(s.Names)) {
				return
			}
		}
	}
}

// bring has the files of a name hold what is served.
func (k *keeper) bring(ctx context.Context, root *os.Root, name string) {
	t, err := k.target(name)
	if err == nil && !t.files.waits(time.Now()) {
		err = k.update(ctx, root, t)
	}
	if err == nil || ctx.Err() != nil {
		return
	}
	t.files.fail(filesPause)
	k.report(ctx, Result{Names: []string{name}, Paths: []string{k.path(t)}, Err: fmt.Errorf("deploy: %s: %w", name, err), Attempts: t.files.attempts, Next: t.files.next})
}

// target returns that of the name, which may be new.
func (k *keeper) target(name string) (*target, error) {
	t := k.targets[name]
	if t == nil {
		t = &target{name: name}
		k.targets[name] = t
	}
	var err error
	if t.lineage == "" {
		t.lineage, err = lineageOf(name)
	}
	return t, err
}

// path returns where the files of a target are.
func (k *keeper) path(t *target) string { return filepath.Join(k.dir, k.layout.path(t.lineage)) }

// update compares the files with what is served, and writes them if they differ.
func (k *keeper) update(ctx context.Context, root *os.Root, t *target) error {
	status, isManaged := k.manager.Status(t.name)
	if !isManaged {
		return errors.New("it is not managed: name it in Config.Names or by Manager.Manage, or leave it out of Deployer.Names")
	}
	served, isServed := identityOf(k.manager, t.name, status)
	if !isServed {
		return nil
	}
	var files []file
	if t.sums == nil || !served.is(t.served) || !k.layout.has(root, t.lineage, t.sums) {
		var err error
		if files, err = k.export(ctx, t); err != nil {
			return err
		}
	}
	before := t.sums
	if files != nil {
		t.sums = sumOf(files)
		if !k.layout.has(root, t.lineage, t.sums) {
			t.changed = true
			if err := k.install(root, t, files); err != nil {
				t.sums = nil
				return err
			}
		}
	}
	t.served, t.names, t.files = served, status.Names, backoff{}
	if t.changed || !slices.Equal(before, t.sums) && !k.isDone(root, t) { // another process may have written them, and crashed
		k.installed(ctx, t)
	}
	return nil
}

// export returns what the files of a target are to hold.
func (k *keeper) export(ctx context.Context, t *target) ([]file, error) {
	chain, key, err := k.manager.Export(ctx, t.name)
	if err != nil {
		return nil, err
	}
	v, err := newVersion(chain, key)
	if err != nil {
		return nil, err
	}
	return k.layout.files(t.lineage, v), nil
}

// install writes the files. The record that the command was run for them goes first: however this ends, it is run again.
func (k *keeper) install(root *os.Root, t *target, files []file) error {
	if err := removeDurably(root, k.layout.record(t.lineage)); err != nil {
		return err
	}
	return k.layout.install(root, t.lineage, files)
}

// installed is for files that have come to hold a certificate: the command is due.
func (k *keeper) installed(ctx context.Context, t *target) {
	t.changed = false
	t.generation++
	if len(k.command) == 0 {
		k.report(ctx, Result{Names: []string{t.name}, Paths: []string{k.path(t)}})
		return
	}
	t.command = backoff{}
	t.due = time.Now()
	if k.together {
		t.due = t.due.Add(settlePeriod)
	}
}

// report tells of a result.
func (k *keeper) report(ctx context.Context, r Result) {
	if r.Err == nil {
		k.logger.LogAttrs(ctx, slog.LevelInfo, "certificate deployed", slog.Any("names", r.Names), slog.Any("paths", r.Paths))
	} else {
		k.warn(ctx, r)
	}
	if k.onResult != nil {
		k.onResult(r)
	}
}

func (k *keeper) warn(ctx context.Context, r Result) {
	k.logger.LogAttrs(ctx, slog.LevelWarn, "certificate not deployed", slog.Any("names", r.Names), slog.Any("paths", r.Paths),
		slog.Int("attempts", r.Attempts), slog.Time("next", r.Next), slog.String("error", r.Err.Error()))
}
