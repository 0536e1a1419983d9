package solver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"
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
// To append what is there already, and to delete what is not, is to succeed. An exit status other than 0 is
// a failure; the end of what the program printed stands in the error then, without the values of Env that
// have five bytes or more. The program has this process's own environment too, and what it prints of that
// is not left out: give secrets by Env. A program is run for several records at once: a script that must not
// be takes a lock first (flock).
//
// The scripts of acme.sh (dnsapi/dns_*.sh) do as they are, by two lines for the program, with the name of the
// script, such as "cf", in Args:
//
//	#!/usr/bin/env bash
//	. ~/.acme.sh/acme.sh _initpath; . ~/.acme.sh/dnsapi/dns_$1.sh; case $2 in append) dns_$1_add "$3" "$4";; delete) dns_$1_rm "$3" "$4";; esac
type Exec struct {
	Path string   // of the program, looked up in PATH where it has no slash; the only required field
	Args []string // before those of the record
	Env  []string // as "NAME=value", in addition to this process's own

	// Timeout is for one run of the program. Then, or when the context ends, it is killed together with the
	// programs that it has started, as far as the system can do that. Zero: two minutes.
	Timeout time.Duration
}

const (
	execTimeout = 2 * time.Minute
	execGrace   = 2 * time.Second // for what the program leaves running to let go of its output
	mostOutput  = 64 << 10        // bytes of the program's output that are kept
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

func (e *Exec) run(ctx context.Context, action string, r Record) error {
	if e.Path == "" {
		return errors.New("solver: Exec.Path is empty: name the program to run")
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
	command.WaitDelay = execGrace
	killTogether(command)
	err := command.Run()
	if errors.Is(err, exec.ErrWaitDelay) && running.Err() == nil {
		err = nil // it succeeded, and left something running that holds its output
	}
	printed := peerError{output.last(e.Env)}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("solver: %s %s was stopped: %w; it printed last: %w", e.Path, action, context.Cause(ctx), printed)
	case running.Err() != nil:
		return fmt.Errorf("solver: %s %s was stopped after %v: %w; give it more time by Exec.Timeout; it printed last: %w", e.Path, action, timeout, running.Err(), printed)
	}
	return fmt.Errorf("solver: %s %s: %w; it printed last: %w", e.Path, action, err, printed)
}

// A tail keeps the end of what is written to it.
type tail struct{ bytes.Buffer }

func (t *tail) Write(p []byte) (int, error) {
	if t.Len() > mostOutput {
		t.Next(t.Len() - mostOutput/2)
	}
	return t.Buffer.Write(p)
}

// last returns the last bytes written, as an error for peerError to wrap. The values of the environment are
// left out.
func (t *tail) last(environment []string) error {
	const (
		most     = 250
		shortest = 5 // bytes; less is no secret, but in many words
	)
	text := t.String()
	// The longest first: one may begin as another does.
	environment = slices.SortedFunc(slices.Values(environment), func(a, b string) int { return len(valueOf(b)) - len(valueOf(a)) })
	for _, variable := range environment {
		if name, value, ok := strings.Cut(variable, "="); ok && len(value) >= shortest {
			text = strings.ReplaceAll(text, value, "<"+name+">")
		}
	}
	text = strings.TrimSpace(text)
	if text == "" {
		return errors.New("nothing")
	}
	return errors.New(text[max(0, len(text)-most):])
}

// valueOf returns the value of "NAME=value".
func valueOf(variable string) string {
	_, value, _ := strings.Cut(variable, "=")
	return value
}
