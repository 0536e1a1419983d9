package deploy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// A job is a version of a target that the command is run for.
type job struct {
	*target
	generation int
}

// An outcome is what a run of the command has come to.
type outcome struct {
	jobs []job
	err  error
}

// isDue reports whether the command is to be run for the target, sooner or later.
func (t *target) isDue() bool { return !t.due.IsZero() }

// ready returns when the command is to be run for the target.
func (t *target) ready() time.Time {
	if t.command.next.After(t.due) {
		return t.command.next
	}
	return t.due
}

// nextCommand returns when the command is to be run next, if that is before the time.
func (k *keeper) nextCommand(before time.Time) time.Time {
	if k.busy {
		return before
	}
	for _, t := range k.targets {
		if t.isDue() && t.ready().Before(before) {
			before = t.ready()
		}
	}
	return before
}

// startCommand runs the command, if it is due for a target and does not run: for the one that has waited longest, or for
// all that have changed.
func (k *keeper) startCommand(ctx context.Context) {
	if k.busy || ctx.Err() != nil {
		return
	}
	var jobs []job
	isReady, now := false, time.Now()
	for _, t := range k.targets {
		if t.isDue() && (k.together || !t.ready().After(now)) {
			jobs = append(jobs, job{t, t.generation})
			isReady = isReady || !t.ready().After(now)
		}
	}
	if !isReady {
		return
	}
	slices.SortFunc(jobs, func(a, b job) int {
		if c := a.ready().Compare(b.ready()); c != 0 {
			return c
		}
		return strings.Compare(a.name, b.name)
	})
	if !k.together {
		jobs = jobs[:1]
	}
	jobs = k.fitting(jobs)
	command := k.prepare(jobs)
	k.busy = true
	go func() { k.ended <- outcome{jobs, command.run(ctx, k.timeout)} }()
}

// maxVariable is how many bytes a variable has for several targets. Linux takes 128 KiB, Windows 32,767 characters. One target's
// hundred names always fit.
const maxVariable = 32_000

// fitting returns the first targets whose paths and names fit the variables: one at least. The next run is for the others.
func (k *keeper) fitting(jobs []job) []job {
	paths, domains := 0, 0
	for i, j := range jobs {
		paths += len(k.path(j.target)) + 1
		for _, name := range j.names {
			domains += len(name) + 1
		}
		if i > 0 && max(paths, domains) > maxVariable {
			return jobs[:i]
		}
	}
	return jobs
}

// prepare returns the command for some targets.
func (k *keeper) prepare(jobs []job) *command {
	var paths, domains []string
	for _, j := range jobs {
		paths = append(paths, k.path(j.target))
		for _, name := range j.names {
			if !slices.Contains(domains, name) {
				domains = append(domains, name)
			}
		}
	}
	environment := append(os.Environ(), "RENEWED_LINEAGE="+strings.Join(paths, "\n"), "RENEWED_DOMAINS="+strings.Join(domains, " "))
	return &command{k.command, environment}
}

// finish notes what the command has come to. What has changed again meanwhile is still due.
func (k *keeper) finish(ctx context.Context, o outcome) {
	k.busy = false
	if o.err != nil && ctx.Err() != nil {
		k.logger.LogAttrs(ctx, slog.LevelInfo, "the command was stopped, and is run at the next start", slog.Any("command", k.command))
		return
	}
	r := Result{Err: o.err}
	for _, j := range o.jobs {
		r.Names, r.Paths = append(r.Names, j.name), append(r.Paths, k.path(j.target))
		if o.err == nil && j.target.generation == j.generation {
			j.due, j.command = time.Time{}, backoff{}
			continue
		}
		if o.err != nil {
			j.command.fail(commandPause)
			if r.Attempts = max(r.Attempts, j.command.attempts); r.Next.IsZero() || j.command.next.Before(r.Next) {
				r.Next = j.command.next
			}
		}
	}
	if o.err != nil {
		r.Err = fmt.Errorf("deploy: the files of %s are written, but: %w", strings.Join(r.Names[:min(len(r.Names), 5)], ", "), o.err)
		k.report(ctx, r)
		return
	}
	if err := inFolder(k.dir, func(root *os.Root) { k.note(ctx, root, o.jobs) }); err != nil {
		k.logger.LogAttrs(ctx, slog.LevelWarn, "it can't be noted that the command was run: it is run again at the next start", slog.String("error", err.Error()))
	}
	k.report(ctx, r)
}

// note records for which versions the command was run.
func (k *keeper) note(ctx context.Context, root *os.Root, jobs []job) {
	for _, j := range jobs {
		if j.target.generation != j.generation || j.sums == nil {
			continue
		}
		record := file{k.layout.record(j.lineage), recordOf(j.sums), publicMode}
		if err := (access{gid: -1}).replace(root, record); err != nil {
			k.logger.LogAttrs(ctx, slog.LevelWarn, "it can't be noted that the command was run: it is run again at the next start",
				slog.String("name", j.name), slog.String("error", err.Error()))
		}
	}
}

// isDone reports whether the command was run for what the files hold.
func (k *keeper) isDone(root *os.Root, t *target) bool {
	if len(k.command) == 0 {
		return true
	}
	content, err := readFile(root, k.layout.record(t.lineage), len(recordOf(t.sums)))
	return err == nil && string(content) == string(recordOf(t.sums))
}

// recordOf returns the record that the command was run for files.
func recordOf(sums []sum) []byte {
	hash := sha256.New()
	for _, s := range sums {
		hash.Write(s[:])
	}
	return []byte("the command was run for " + hex.EncodeToString(hash.Sum(nil)) + "\n")
}

// A command is one run of a program.
type command struct {
	words, environment []string
}

const gracePeriod = 2 * time.Second // for what the program leaves running to let go of its output

// run runs the program. The error has the end of what it printed, without secrets.
func (c *command) run(ctx context.Context, timeout time.Duration) error {
	running, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	program := exec.CommandContext(running, c.words[0], c.words[1:]...)
	program.Env = c.environment
	var printed tail
	program.Stdout, program.Stderr = &printed, &printed
	program.WaitDelay = gracePeriod
	killTogether(program)
	err := program.Run()
	if errors.Is(err, exec.ErrWaitDelay) && running.Err() == nil {
		err = nil // it succeeded, and left something running that holds its output
	}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("%s was stopped: %w", c.words[0], context.Cause(ctx))
	case running.Err() != nil:
		return fmt.Errorf("%s was stopped after %v: %w; give it more time by Deployer.Timeout; it printed last: %s", c.words[0], timeout, running.Err(), printed.last(c.environment))
	}
	return fmt.Errorf("%s: %w; it printed last: %s", c.words[0], err, printed.last(c.environment))
}
