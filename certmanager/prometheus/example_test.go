package prometheus_test

import (
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"

	prom "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/certmanager/prometheus"
	"github.com/everseal/everseal/storage"
)

// The manager's figures at /metrics.
func ExampleCollector() {
	m, err := certmanager.New(certmanager.Config{Names: []string{"example.com"}, AgreeToTerms: true, Storage: new(storage.Memory)})
	if err != nil {
		log.Fatal(err)
	}
	registry := prom.NewRegistry()
	registry.MustRegister(&prometheus.Collector{Manager: m})
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))

	answer := httptest.NewRecorder()
	mux.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for line := range strings.Lines(answer.Body.String()) {
		if strings.HasPrefix(line, "everseal_certificates{") {
			fmt.Print(line)
		}
	}
	// Output:
	// everseal_certificates{state="expired"} 0
	// everseal_certificates{state="obtaining"} 0
	// everseal_certificates{state="renewing"} 0
	// everseal_certificates{state="valid"} 0
	// everseal_certificates{state="waiting"} 1
}
