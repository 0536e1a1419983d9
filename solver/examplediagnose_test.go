package solver_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver"
)

// A CA complains, and the reason is a content delivery network in front of the server.
func ExampleDiagnose() {
	network := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Server", "cloudflare")
		http.Error(w, "no such page", http.StatusNotFound)
	}))
	defer network.Close()

	proof := exampleProof(acme.TypeHTTP01)
	proof.Identifier = acme.Identifier{Type: acme.TypeIP, Value: "192.0.2.1"}
	from := solver.Vantage{
		Dial: func(ctx context.Context, via, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, via, network.Listener.Addr().String())
		},
	}
	complaint := &acme.Problem{Type: acme.ErrUnauthorized, Detail: "192.0.2.1: Invalid response: 404"}

	d := solver.Diagnose(context.Background(), proof, complaint, from)
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
