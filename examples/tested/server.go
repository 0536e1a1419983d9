// Package tested is a web server in the form in which its test can run it without sockets and with a clock of its own: the
// listener and the certmanager's configuration come from outside. See README.md.
package tested

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/everseal/everseal/certmanager"
)

// graceTime is how long requests under way may take when the server is told to end.
const graceTime = 30 * time.Second

// Serve answers over TLS what comes to the listener, with the certificates that config says, until ctx ends or something
// fails. In a program the listener is net.Listen("tcp", ":443"), and config names the domains.
func Serve(ctx context.Context, listener net.Listener, config certmanager.Config) error {
	manager, err := certmanager.New(config)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	server := &http.Server{Handler: pages(), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	secure := manager.Listener(listener)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return manager.Run(ctx) })
	group.Go(func() error {
		if err := server.Serve(secure); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), graceTime)
		defer cancel()
		return server.Shutdown(grace)
	})
	return group.Wait()
}

// pages is what one's own server is about.
func pages() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "Welcome to %s!\n", r.Host)
	})
	return mux
}
