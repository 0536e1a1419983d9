// Fleet is a platform that serves its customers' domains over HTTPS, on demand, by any number of processes ("members") with
// one PostgreSQL. A member is
//
//	DATABASE_URL=postgres://… SEALING_SECRET=… fleet member -agree
//
// The table "domains" has the customers' domains. A certificate is obtained when the first client asks for one of them, by
// one member, and served by all; session tickets are shared, so that a client resumes its session with whichever member a
// balancer leads it to.
//
// Without "member" it is a demonstration: it starts PostgreSQL, a CA for tests, three members and a TCP balancer before
// them on this machine, and prints commands to try.
//
//	go run ./examples/fleet
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "fleet:", err)
		os.Exit(1)
	}
}

// run is a member, or the demonstration, until ctx ends.
func run(ctx context.Context, args []string) error {
	if len(args) > 0 && args[0] == "member" {
		o, err := parseMember(args[1:], os.Getenv)
		if err != nil {
			return err
		}
		return o.run(ctx)
	}
	f := flag.NewFlagSet("fleet", flag.ContinueOnError)
	var d demonstration
	f.StringVar(&d.address, "addr", "127.0.0.1:8443", "`address` of the balancer")
	f.StringVar(&d.control, "control", "127.0.0.1:8440", "`address` to add domains and to kill members at")
	f.StringVar(&d.database, "database", "", "`URL` of a PostgreSQL, of which a schema of its own is used (default: one that is started)")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("%q is neither \"member\" nor a flag", f.Arg(0))
	}
	return d.run(ctx, os.Stdout)
}
