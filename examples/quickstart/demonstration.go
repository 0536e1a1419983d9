package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
)

// demonstrate serves the page on this machine, with certificates of a CA inside this program, until
// ctx ends.
func demonstrate(ctx context.Context, o *options, stdout io.Writer) error {
	n := &narrator{out: stdout}
	n.print("Everseal quickstart: a server that obtains its certificate itself, from a test CA inside this program.\n")
	var listen net.ListenConfig
	listener, err := listen.Listen(ctx, "tcp", o.addr)
	if err != nil {
		return fmt.Errorf("%w: choose another address with -addr", err)
	}
	defer listener.Close()
	store := storage.Dir(o.storage)
	ca, err := startCA(ctx, store, o.lifetime, n.complain)
	if err != nil {
		return fmt.Errorf("the CA can't be kept in the folder %s: %w: choose another folder with -storage", o.storage, err)
	}
	defer ca.Close()
	root, err := writeRoot(o.storage, ca.RootPEM())
	if err != nil {
		return fmt.Errorf("write the CA's root certificate: %w", err)
	}
	defer root.remove()

	name := nameFor(listener.Addr())
	ca.SetHost(name, loopback(listener.Addr()))
	n.curl = curlCommand(root.path, "https://"+hostPort(name, listener.Addr())+"/")
	n.say("The server listens on %v and keeps everything in %s.", listener.Addr(), o.storage)
	n.say("The CA's root certificate is %s.", root.path)

	manager, err := certmanager.New(certmanager.Config{
		Names:        []string{name},
		Issuers:      []certmanager.Issuer{&certmanager.ACME{DirectoryURL: ca.URL, HTTPClient: ca.Client()}},
		AgreeToTerms: true,
		Storage:      store,
		Preflight:    certmanager.PreflightOff, // the CA finds the server by its own table of hosts
		DefaultName:  name,
		Logger:       slog.New(slog.DiscardHandler), // the narrator says it instead
		OnEvent:      n.onEvent,
	})
	if err != nil {
		return err
	}
	if err := serve(ctx, manager, listener, n); err != nil {
		return err
	}
	n.say("Stopped.")
	return nil
}

// serve runs the manager beside a server of the program's own until ctx ends. It is what
// Manager.Serve does, for a listener that exists already.
func serve(ctx context.Context, manager *certmanager.Manager, listener net.Listener, n *narrator) error {
	server := &http.Server{Handler: newPageWithStatus(manager), ReadHeaderTimeout: 10 * time.Second, ErrorLog: n.errorLog()}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return manager.Run(ctx) })
	group.Go(func() error {
		if err := server.Serve(manager.Listener(listener)); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		if server.Shutdown(grace) != nil {
			return server.Close() // requests that don't end
		}
		return nil
	})
	return group.Wait()
}

// nameFor returns what the certificate is for: localhost, or the address where that leads elsewhere.
func nameFor(addr net.Addr) string {
	ip := addrPort(addr).Addr()
	if ip.IsUnspecified() || ip == netip.MustParseAddr("127.0.0.1") || ip == netip.IPv6Loopback() {
		return "localhost"
	}
	return ip.String()
}

// loopback returns where the CA, which is in this program, reaches the listener.
func loopback(addr net.Addr) string {
	a := addrPort(addr)
	if a.Addr().IsUnspecified() {
		a = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), a.Port())
	}
	return a.String()
}

func hostPort(host string, addr net.Addr) string {
	return net.JoinHostPort(host, fmt.Sprint(addrPort(addr).Port()))
}

func addrPort(addr net.Addr) netip.AddrPort {
	a := addr.(*net.TCPAddr).AddrPort()
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}
