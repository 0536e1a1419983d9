// Quickstart is an HTTPS server that obtains its certificate itself, serves it and renews it.
//
// Started without arguments it is a demonstration: it brings a test CA along, obtains a certificate
// for localhost from it, and shows a page about that certificate, with a status page of all that the
// manager knows beside it. The certificate lives two minutes (-lifetime), so that one sees it renewed.
// Started again while the certificate is fresh it orders nothing: everything is kept in the folder
// -storage.
//
//	go run ./examples/quickstart
//
// With -domain it is a production server for public names, with certificates of Let's Encrypt or the
// CA that -ca names. It needs ports 443 and 80:
//
//	quickstart -domain example.com,www.example.com -email admin@example.com -agree
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is the program. It returns its exit status: 2 where it was called wrongly.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parseOptions(args)
	if errors.Is(err, flag.ErrHelp) {
		o.usage(stdout)
		return 0
	}
	if err == nil {
		if len(o.domains) > 0 {
			err = production(ctx, o, stdout)
		} else {
			err = demonstrate(ctx, o, stdout)
		}
	}
	var wrong *usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &wrong):
		fmt.Fprintf(stderr, "quickstart: %v\nRun it with -h to see its flags.\n", err)
		return 2
	}
	fmt.Fprintf(stderr, "quickstart: %v\n", err)
	return 1
}
