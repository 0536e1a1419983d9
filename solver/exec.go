package solver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/everseal/everseal/solver/internal/escape"
)

// Exec is a [Provider] that runs a program: a script for a DNS service that nothing else speaks to. The
// program is run once for each record, after Args with the arguments
//
//	append|delete <name> <value>
//
// where name has no final dot, and with these variables in its environment:
//
//	EVERSEAL_ACTION  append or delete
//	EVERSEAL_ZONE    the zone that the record is in, such as example.com
//	EVERSEAL_NAME    the record's full name, such as _acme-challenge.www.example.com
//	EVERSEAL_LABEL   the name without the zone, such as _acme-challenge.www; @ for the zone itself
//	EVERSEAL_VALUE   its value, without quotes
//	EVERSEAL_TTL     its time to live in seconds
//
// To append what is there already, and to delete what is not, is to succeed. A program is run for several
// records at once: a script that must not be takes a lock first (flock). The value may begin with a hyphen,
// name and zone do not: a record whose do, as by a CNAME, is an error.
//
// An exit status other than 0 is a failure, after which the program is told to delete what it may have created; the end of what the program printed stands in the error then. In
// the place of what may be secret stands its name, such as <CF_Token> or <Args[0]>: values of Env, and of
// Args but for the names of options, from five bytes on; and from eight bytes on those of the environment that
// the program has from this process. Parts of the record are none, nor are files that there are, nor what is
// in variables such as HOME, LANG, PATH or those whose name ends in ENV.
//
// The scripts of acme.sh (dnsapi/dns_*.sh) do as they are, by two lines for the program, with the name of the
// script, such as "cf", in Args:
//
//	#!/usr/bin/env bash
//	. ~/.acme.sh/acme.sh _initpath; . ~/.acme.sh/dnsapi/dns_$1.sh; case $2 in append) dns_$1_add "$3" "$4";; delete) dns_$1_rm "$3" "$4";; esac
type Exec struct {
	Path string   // of the program, looked up in PATH if it has no slash; the only required field
	Args []string // before those of the record
	Env  []string // as "NAME=value", in addition to this process's own

	// Timeout is for one run of the program. Then, or when the context ends, it is killed together with the
	// programs that it has started, as far as the system can do that. Zero: two minutes.
	Timeout time.Duration
}

const (
	execTimeout     = 2 * time.Minute
	execGracePeriod = 2 * time.Second // for what the program leaves running to let go of its output
	maxOutput       = 64 << 10        // bytes of the program's output that are kept
	minInherited    = 8               // bytes of an inherited variable that may be a secret
)

// AppendRecord runs the program to create the record.
func (e *Exec) AppendRecord(ctx context.Context, r Record) error { return e.run(ctx, "append", r) }

// DeleteRecord runs the program to take the record away.
func (e *Exec) DeleteRecord(ctx context.Context, r Record) error { return e.run(ctx, "delete", r) }

// String names the program without its arguments and environment, in which there may be secrets.
func (e Exec) String() string {
	if e.Path == "" {
		return "program without a path"
	}
	return "program " + e.Path
}

// GoString does as String.
func (e Exec) GoString() string { return e.String() }

// LogValue does as String.
func (e Exec) LogValue() slog.Value { return slog.StringValue(e.String()) }

// Ready reports what keeps the program from being run.
func (e *Exec) Ready() error {
	if e.Path == "" {
		return errors.New("solver: Exec.Path is empty: name the program to run")
	}
	if _, err := exec.LookPath(e.Path); err != nil {
		return fmt.Errorf("solver: Exec.Path: %w: set it to a program that can be run", err)
	}
	return nil
}

func (e *Exec) run(ctx context.Context, action string, r Record) error {
	if err := e.Ready(); err != nil {
		return err
	}
	for _, name := range []string{r.Name, r.Zone} {
		if strings.HasPrefix(name, "-") {
			return notCreated{fmt.Errorf("solver: the name %.260q begins with a hyphen, so that %s may take it for an option: choose another for where the CNAME leads", name, e.Path)}
		}
	}
	timeout := e.Timeout
	if timeout <= 0 {
		timeout = execTimeout
	}
	running, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	command := exec.CommandContext(running, e.Path, append(slices.Clone(e.Args), action, r.Name, r.Value)...)
	command.Env = append(append(os.Environ(), e.Env...),
		"EVERSEAL_ACTION="+action, "EVERSEAL_ZONE="+r.Zone, "EVERSEAL_NAME="+r.Name, "EVERSEAL_LABEL="+r.label(),
		"EVERSEAL_VALUE="+r.Value, "EVERSEAL_TTL="+strconv.Itoa(r.seconds()))
	var output tail
	command.Stdout, command.Stderr = &output, &output
	command.WaitDelay = execGracePeriod
	killTogether(command)
	err := command.Run()
	if errors.Is(err, exec.ErrWaitDelay) && running.Err() == nil {
		err = nil // it succeeded, and left something running that holds its output
	}
	if err == nil {
		return nil
	}
	printed := escape.Error(output.last(e.secrets(r)))
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("solver: %s %s was stopped: %w; it printed last: %w", e.Path, action, context.Cause(ctx), printed)
	case running.Err() != nil:
		return fmt.Errorf("solver: %s %s was stopped after %v: %w; give it more time by Exec.Timeout; it printed last: %w", e.Path, action, timeout, running.Err(), printed)
	}
	err = fmt.Errorf("solver: %s %s: %w; it printed last: %w", e.Path, action, err, printed)
	if command.Process == nil { // it was not started
		return notCreated{err}
	}
	return err
}

// secrets returns what the program may have been told in confidence.
func (e *Exec) secrets(r Record) secrets {
	var all secrets
	add := func(name, value string) {
		if !strings.Contains(r.Name+" "+r.Value, value) && !isFile(value) {
			all.add(name, value)
		}
	}
	for _, variable := range e.Env {
		name, value, _ := strings.Cut(variable, "=")
		add(name, value)
	}
	for i, argument := range e.Args {
		name := fmt.Sprintf("Args[%d]", i)
		if _, value, ok := strings.Cut(argument, "="); ok {
			add(name, value)
		}
		if !strings.HasPrefix(argument, "--") {
			add(name, argument)
		}
	}
	for _, variable := range os.Environ() {
		if name, value, _ := strings.Cut(variable, "="); len(value) >= minInherited && !isOrdinary(name) {
			add(name, value)
		}
	}
	return all
}

// isOrdinary reports whether a variable is one of those that are set for every program, and hold no secret.
func isOrdinary(variable string) bool {
	switch variable = strings.ToUpper(variable); variable {
	case "HOME", "HOSTNAME", "LANG", "LOGNAME", "OLDPWD", "PATH", "PWD", "SHELL", "TERM", "TMPDIR", "TZ", "USER":
		return true
	}
	return strings.HasPrefix(variable, "LC_") || strings.HasSuffix(variable, "ENV")
}

// isFile reports whether a text is the path of a file or folder. The text alone does not tell: base64 has
// slashes too.
func isFile(text string) bool {
	if !filepath.IsAbs(text) {
		return false
	}
	_, err := os.Lstat(text)
	return err == nil
}

// A tail keeps the end of what is written to it.
type tail struct {
	kept []byte
	cut  bool // there was more before
}

func (t *tail) Write(p []byte) (int, error) {
	const maxKept = maxOutput / 2 // of either: cut seldom, and then much
	last := p[max(0, len(p)-maxKept):]
	t.cut = t.cut || len(last) < len(p)
	if len(t.kept)+len(last) > maxOutput {
		t.cut = true
		t.kept = append(t.kept[:0], t.kept[len(t.kept)-maxKept:]...)
	}
	t.kept = append(t.kept, last...)
	return len(p), nil
}

// last returns the last bytes written, as an error for peerError to wrap.
func (t *tail) last(s secrets) error {
	const maxReported = 250
	text := s.mask(string(t.kept))
	if t.cut {
		text = s.maskCut(string(t.kept), true)
	}
	text = strings.TrimSpace(text)
	if text == "" {
		return errors.New("nothing")
	}
	return errors.New(text[max(0, len(text)-maxReported):])
}
