// Grpc is a gRPC server over TLS whose certificates a certmanager keeps: see README.md.
package main

import (
	"context"
	"errors"
	"flag"
	"log"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
)

// graceTime is how long calls under way may take when the server is told to end.
const graceTime = 30 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	listen := flag.String("listen", ":443", "`address` to serve gRPC on")
	ca := flag.String("ca", "", "directory `URL` of the CA (default Let's Encrypt)")
	agree := flag.Bool("agree", false, "you agree to the CA's terms of service")
	email := flag.String("email", "", "contact `address` of the account at the CA")
	folder := flag.String("storage", "/var/lib/example-grpc", "`folder` for account and certificates")
	preflight := flag.String("preflight", "warn", "check before the CA does whether it will succeed: warn, require or off")
	flag.Parse()
	err := run(ctx, *listen, certmanager.Config{
		Names:        flag.Args(),
		Issuers:      []certmanager.Issuer{&certmanager.ACME{DirectoryURL: *ca}},
		AgreeToTerms: *agree,
		Email:        *email,
		Storage:      storage.Dir(*folder),
		Preflight:    certmanager.Preflight(*preflight),
	})
	if err != nil {
		log.Fatal("grpc: ", err)
	}
}

// run serves until ctx ends or something fails.
func run(ctx context.Context, address string, config certmanager.Config) error {
	if len(config.Names) == 0 {
		return errors.New("name the domains to serve, such as api.example.com")
	}
	manager, err := certmanager.New(config)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	server, state := newServer(manager)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return manager.Run(ctx) })
	group.Go(func() error {
		log.Printf("serving at %v", listener.Addr())
		return server.Serve(listener) // nil when it is told to end
	})
	group.Go(func() error {
		<-ctx.Done()
		log.Printf("no new calls; those under way have %v", graceTime)
		state.Shutdown() // balancers that watch it look elsewhere
		ended := make(chan struct{})
		go func() {
			server.GracefulStop()
			close(ended)
		}()
		select {
		case <-ended:
		case <-time.After(graceTime):
			server.Stop()
		}
		return nil
	})
	return group.Wait()
}

// newServer returns the server, and what it tells of its health. Services of one's own are registered beside that.
func newServer(manager *certmanager.Manager) (*grpc.Server, *health.Server) {
	config := manager.TLSConfig()
	config.NextProtos = []string{"h2"} // clients of HTTP/1.1 are turned away, and a CA's validations answered all the same
	server := grpc.NewServer(
		grpc.Creds(credentials.NewTLS(config)),
		grpc.ConnectionTimeout(10*time.Second), // of a handshake
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: 15 * time.Minute}),
	)
	state := health.NewServer()
	grpc_health_v1.RegisterHealthServer(server, state)
	reflection.Register(server)
	return server, state
}
