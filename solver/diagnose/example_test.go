package diagnose_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"syscall"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/solver/diagnose"
)

// proofOf returns what package acme hands to a solver.
func proofOf(challengeType string) acme.Proof {
	return acme.Proof{
		Challenge:        acme.Challenge{Type: challengeType, Token: "evaGxfADs6pSRb2LAv9IZf17"},
		Identifier:       acme.Identifier{Type: acme.TypeDNS, Value: "example.com"},
		KeyAuthorization: "evaGxfADs6pSRb2LAv9IZf17.9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI",
	}
}

// A CA complains, and the reason is a content delivery network in front of the server.
func ExampleAfter() {
	network := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Server", "cloudflare")
		http.Error(w, "no such page", http.StatusNotFound)
	}))
	defer network.Close()

	proof := proofOf(acme.TypeHTTP01)
	proof.Identifier = acme.Identifier{Type: acme.TypeIP, Value: "192.0.2.1"}
	from := diagnose.Vantage{
		Dial: func(ctx context.Context, via, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, via, network.Listener.Addr().String())
		},
	}
	complaint := &acme.Problem{Type: acme.ErrUnauthorized, Detail: "192.0.2.1: Invalid response: 404"}

	d := diagnose.After(context.Background(), proof, complaint, from)
	fmt.Println(d.Cause)
	fmt.Println(d)
	for _, visit := range d.Visits {
		fmt.Println(visit.Address, visit.Hops[0].Status, visit.Hops[0].Headers)
	}

	withoutTime := func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}
	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: withoutTime}))
	logger.Error("no certificate", "error", complaint, "diagnosis", d)
	// Output:
	// cdn
	// 192.0.2.1 answers from Cloudflare (server: cloudflare), not from this process: let the CDN forward /.well-known/acme-challenge/
	// 192.0.2.1 404 Not Found map[Server:cloudflare]
	// level=ERROR msg="no certificate" error="192.0.2.1: Invalid response: 404 (unauthorized)" diagnosis.seen=false diagnosis.cause=cdn diagnosis.reason="192.0.2.1 answers from Cloudflare (server: cloudflare), not from this process" diagnosis.cure="let the CDN forward /.well-known/acme-challenge/" diagnosis.visits="[192.0.2.1; http://192.0.2.1/.well-known/acme-challenge/evaGxfADs6pSRb2LAv9IZf17 404 Not Found, server: cloudflare, body: no such page\\n]"
}

// The preflight finds out that a server could not answer before a failed validation does.
func ExampleVisible() {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS() // with a tls.Config that knows nothing of ALPNProto
	defer server.Close()

	from := diagnose.Vantage{
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, server.Listener.Addr().String())
		},
	}
	err := diagnose.Visible(context.Background(), proofOf(acme.TypeTLSALPN01), from)
	fmt.Println(errors.Is(err, diagnose.CauseNoALPN))
	// Output:
	// true
}

// Nothing listens on port 80 yet, which is found out before a failed validation tells.
func ExampleBefore() {
	proof := proofOf(acme.TypeHTTP01)
	proof.Identifier = acme.Identifier{Type: acme.TypeIP, Value: "192.0.2.1"}
	from := diagnose.Vantage{
		Dial: func(context.Context, string, string) (net.Conn, error) { return nil, syscall.ECONNREFUSED },
	}

	report := diagnose.Before(context.Background(), proof, from)
	fmt.Println(report.Cause)
	fmt.Println(report.Reason)
	fmt.Println(report.Cure)
	// Output:
	// port-closed
	// port 80 of 192.0.2.1 at 192.0.2.1 is closed: connections are refused
	// let a server listen on port 80 of every address, or forward it to this process
}

// In a split-horizon network, the resolvers of the Internet tell where a CA is led, and a dialer gets there.
func ExampleVantage() {
	outside := &solver.DNS{Resolvers: []string{"192.0.2.53", "[2001:db8::53]:5353"}}
	byTheGateway := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1)}}

	vantage := diagnose.Vantage{DNS: outside, Dial: byTheGateway.DialContext}
	if d := diagnose.Before(context.Background(), proofOf(acme.TypeHTTP01), vantage); d.Cause != "" {
		log.Print(d)
	}
}
