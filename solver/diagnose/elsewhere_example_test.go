package diagnose_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/http/httptest"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver/diagnose"
)

// A machine in another network looks, too, when it is asked over HTTP. It answers those alone who are its own: whoever may
// ask has it visit what the proof names.
func ExampleVantage_elsewhere() {
	guarded := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Server", "cloudflare")
		http.Error(w, "checking your browser", http.StatusForbidden)
	}))
	defer guarded.Close()
	there := diagnose.Vantage{Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, guarded.Listener.Addr().String())
	}}
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var p acme.Proof
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 10<<10)).Decode(&p); err != nil {
			http.Error(w, "no proof", http.StatusBadRequest)
			return
		}
		_ = json.NewEncoder(w).Encode(diagnose.Before(r.Context(), p, there))
	}))
	defer other.Close()

	look := func(ctx context.Context, p acme.Proof) (*diagnose.Report, error) {
		encoded, err := json.Marshal(p)
		if err != nil {
			return nil, err
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, other.URL, bytes.NewReader(encoded))
		if err != nil {
			return nil, err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return nil, err
		}
		defer response.Body.Close()
		report := new(diagnose.Report)
		return report, json.NewDecoder(http.MaxBytesReader(nil, response.Body, 1<<20)).Decode(report)
	}
	proof := proofOf(acme.TypeHTTP01)
	proof.Identifier = acme.Identifier{Type: acme.TypeIP, Value: "192.0.2.1"}
	report, err := look(context.Background(), proof)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(report.Cause)
	fmt.Println(len(diagnose.Vantage{Elsewhere: []func(context.Context, acme.Proof) (*diagnose.Report, error){look}}.Elsewhere), "place more to look from")
	// Output:
	// cdn
	// 1 place more to look from
}
