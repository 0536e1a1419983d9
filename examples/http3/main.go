// Http3 serves a folder by HTTP/3 beside HTTP/2, with the same certificates, which one certmanager keeps: see README.md.
package main

import (
	"context"
	"errors"
	"flag"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"golang.org/x/sync/errgroup"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
)

// graceTime is how long requests under way may take when the server is told to end.
const graceTime = 30 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	listen := flag.String("listen", ":443", "`address` to serve at, by TCP and UDP")
	files := flag.String("files", "public", "`folder` to serve")
	ca := flag.String("ca", "", "directory `URL` of the CA (default Let's Encrypt)")
	agree := flag.Bool("agree", false, "you agree to the CA's terms of service")
	email := flag.String("email", "", "contact `address` of the account at the CA")
	folder := flag.String("storage", "/var/lib/example-http3", "`folder` for account and certificates")
	preflight := flag.String("preflight", "warn", "check before the CA does whether it will succeed: warn, require or off")
	flag.Parse()
	err := run(ctx, *listen, http.FileServer(http.Dir(*files)), certmanager.Config{
		Names:        flag.Args(),
		Issuers:      []certmanager.Issuer{&certmanager.ACME{DirectoryURL: *ca}},
		AgreeToTerms: *agree,
		Email:        *email,
		Storage:      storage.Dir(*folder),
		Preflight:    certmanager.Preflight(*preflight),
	})
	if err != nil {
		log.Fatal("http3: ", err)
	}
}

// run serves until ctx ends or something fails.
func run(ctx context.Context, address string, handler http.Handler, config certmanager.Config) error {
	if len(config.Names) == 0 {
		return errors.New("name the domains to serve, such as www.example.com")
	}
	manager, err := certmanager.New(config)
	if err != nil {
		return err
	}
	// The CA validates by TCP. Both share the session tickets: a client that came by TCP resumes its session by QUIC.
	fast := &http3.Server{
		Handler:   handler,
		TLSConfig: manager.TLSConfig(), // from which http3 makes one with its own protocol
		// What comes as 0-RTT data can be replayed by whoever has recorded it: without a QUICConfig it would be let in.
		QUICConfig:  &quic.Config{Allow0RTT: false},
		IdleTimeout: 2 * time.Minute,
	}
	server := &http.Server{
		Handler:           announce(fast, handler),
		TLSConfig:         manager.TLSConfig(),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	packets, err := net.ListenPacket("udp", address)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	defer packets.Close()

	log.Printf("serving at %v by TCP and %v by UDP", listener.Addr(), packets.LocalAddr())
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return manager.Run(ctx) })
	group.Go(func() error { return unlessClosed(server.ServeTLS(listener, "", "")) })
	group.Go(func() error { return unlessClosed(fast.Serve(packets)) })
	for _, shutdown := range []func(context.Context) error{server.Shutdown, fast.Shutdown} {
		group.Go(func() error {
			<-ctx.Done()
			grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), graceTime)
			defer cancel()
			return shutdown(grace)
		})
	}
	return group.Wait()
}

func unlessClosed(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// announce tells clients that they can come by HTTP/3, which they remember (Alt-Svc, RFC 7838).
func announce(fast *http3.Server, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = fast.SetQUICHeaders(w.Header()) // it fails as long as the server has not begun, or when it ends
		next.ServeHTTP(w, r)
	})
}
