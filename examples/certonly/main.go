// Certonly obtains certificates, keeps them as files for other servers, and renews them: see usage.txt.
//
// It is made of package certmanager, not of acme, as a timer starts it again and again: an order that was interrupted is
// resumed with its key, failures wait as long as the CA wants, and limits are kept, over all starts and beside others on the same
// folder.
package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/everseal/everseal/storage"
)

//go:embed usage.txt
var usage string

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// A usageError reports that the program was called wrongly.
type usageError struct{ error }

// run is the program. It returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	p := &program{stdout: stdout, stderr: stderr}
	err := p.run(ctx, args)
	switch _, wrong := errors.AsType[usageError](err); {
	case err == nil:
		return 0
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stdout, usage)
		return 0
	case wrong:
		fmt.Fprintf(stderr, "certonly: %v\nSee certonly -h.\n", err)
		return 2
	}
	fmt.Fprintln(stderr, "certonly:", err)
	return 1
}

// A program is one call of it.
type program struct {
	stdout, stderr io.Writer
	dir            string
	verbose        bool
}

func (p *program) run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return usageError{errors.New("name a command: obtain, renew or run")}
	}
	commands := map[string]func(context.Context, []string) error{"obtain": p.obtain, "renew": p.renew, "run": p.keep}
	command, ok := commands[args[0]]
	switch {
	case ok:
		return command(ctx, args[1:])
	case args[0] == "-h" || args[0] == "-help" || args[0] == "--help":
		return flag.ErrHelp
	}
	return usageError{fmt.Errorf("%q is no command: there are obtain, renew and run", args[0])}
}

// flags returns those of a command that all have.
func (p *program) flags(command string) *flag.FlagSet {
	f := flag.NewFlagSet(command, flag.ContinueOnError)
	f.SetOutput(io.Discard) // run prints the error, once
	f.StringVar(&p.dir, "dir", "/var/lib/certonly", "")
	f.BoolVar(&p.verbose, "v", false, "")
	return f
}

// parse parses the arguments of a command.
func parse(f *flag.FlagSet, args []string) error {
	err := f.Parse(args)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		return usageError{err}
	}
	return err
}

func (p *program) store() storage.Store { return storage.Dir(filepath.Join(p.dir, "state")) }

// logger returns one that tells of errors alone, or of what is done, too. What fails is returned besides.
func (p *program) logger() *slog.Logger {
	level := slog.LevelError
	if p.verbose {
		level = slog.LevelInfo
	}
	return slog.New(slog.NewTextHandler(p.stderr, &slog.HandlerOptions{Level: level}))
}
