package prometheus_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	prom "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/everseal/everseal/certmanager/prometheus"
)

// promtool runs Prometheus's own checker.
func promtool(t *testing.T, stdin []byte, args ...string) {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("promtool is missing: it is in Debian's package prometheus")
		}
		t.Skip("promtool is missing: it is in Debian's package prometheus")
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Stdin = bytes.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil || bytes.Contains(out, []byte("FAILED")) {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// served returns what a scrape over HTTP gets of a manager at work.
func served(t *testing.T) []byte {
	t.Helper()
	registry := prom.NewPedanticRegistry()
	registry.MustRegister(&prometheus.Collector{Manager: run(t, config("example.com"))})
	w := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	return w.Body.Bytes()
}

func TestMetricsAreNamedAsPrometheusWants(t *testing.T) {
	promtool(t, served(t), "check", "metrics")
}

func TestAlerts(t *testing.T) {
	promtool(t, nil, "check", "rules", "alerts.yml")
	promtool(t, nil, "test", "rules", "testdata/alerts_test.yml")
}

// metrics returns the names of all metrics that a collector has.
func metrics(t *testing.T) map[string]bool {
	t.Helper()
	ch := make(chan *prom.Desc, 1000)
	new(prometheus.Collector).Describe(ch)
	close(ch)
	names := make(map[string]bool)
	for d := range ch {
		name, ok := strings.CutPrefix(d.String(), `Desc{fqName: "`)
		name, _, cut := strings.Cut(name, `"`)
		if !ok || !cut {
			t.Fatalf("a description has another form: %s", d)
		}
		names[name] = true
	}
	return names
}

// What the alerts, their test, the dashboard and the documentation name exists; the documentation and one of alerts and dashboard
// have all of it.
func TestMetricsExist(t *testing.T) {
	exists, named := metrics(t), make(map[string]map[string]bool)
	name := regexp.MustCompile(`\beverseal_[a-z_]+`)
	for _, file := range []string{"alerts.yml", "testdata/alerts_test.yml", "dashboard.json", "doc.go"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		named[file] = make(map[string]bool)
		for _, found := range name.FindAllString(string(text), -1) {
			metric := found
			if !exists[metric] { // of a histogram
				metric = strings.TrimSuffix(metric, "_bucket")
			}
			named[file][metric] = true
			if !exists[metric] {
				t.Errorf("%s names %s, which does not exist", file, found)
			}
		}
		if len(named[file]) == 0 {
			t.Errorf("%s names nothing", file)
		}
	}
	if len(exists) == 0 {
		t.Error("there is no metric")
	}
	for metric := range exists {
		if !named["doc.go"][metric] {
			t.Errorf("doc.go lacks %s", metric)
		}
	}
}

// A panel is one of a dashboard.
type panel struct {
	ID      int    `json:"id"`
	Title   string `json:"title"`
	Type    string `json:"type"`
	GridPos struct{ X, Y, W, H int }
	Targets []struct {
		Expr  string `json:"expr"`
		RefID string `json:"refId"`
	} `json:"targets"`
}

// The dashboard is JSON, its panels have a place of their own, and Prometheus understands what they ask for.
func TestDashboard(t *testing.T) {
	text, err := os.ReadFile("dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Title  string  `json:"title"`
		Panels []panel `json:"panels"`
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	if dashboard.Title == "" || len(dashboard.Panels) == 0 {
		t.Error("the dashboard is empty")
	}
	taken, ids := make(map[[2]int]string), make(map[int]bool)
	var rules strings.Builder
	rules.WriteString("groups:\n- name: dashboard\n  rules:\n")
	overFleet := regexp.MustCompile(`\bsum( by \((state|reason|issuer)\) )?\(everseal_`)
	variables := strings.NewReplacer("$instance", ".*", "$__rate_interval", "5m")
	for _, p := range dashboard.Panels {
		if ids[p.ID] || p.Title == "" || len(p.Targets) == 0 {
			t.Errorf("panel %d %q: its ID is another's too, or it shows nothing", p.ID, p.Title)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" || x >= 24 {
					t.Fatalf("panel %q lies on %q, or beside the page", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		for _, target := range p.Targets {
			if overFleet.MatchString(target.Expr) {
				t.Errorf("panel %q adds up what each member of a fleet has of the same certificates", p.Title)
			}
			quoted, err := json.Marshal(variables.Replace(target.Expr)) // which is YAML, too
			if err != nil {
				t.Fatal(err)
			}
			rules.WriteString("  - record: checked:" + strings.ToLower(target.RefID) + "\n    expr: " + string(quoted) + "\n    labels: {panel: \"" + p.Title + "\"}\n")
		}
	}
	file := t.TempDir() + "/rules.yml"
	if err := os.WriteFile(file, []byte(rules.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, nil, "check", "rules", file)
}

// BenchmarkScrape scrapes 100,000 certificates, each time with a walk through all of them.
func BenchmarkScrape(b *testing.B) {
	names := make([]string, 100_000)
	for i := range names {
		names[i] = fmt.Sprintf("site-%06d.example.com", i)
	}
	m := run(b, config(names...))
	b.ReportAllocs()
	for b.Loop() {
		s := gather(b, &prometheus.Collector{Manager: m})
		if s["everseal_certificates{state=valid}"] != 100_000 || len(s.of("everseal_certificate_ready")) != 1000 {
			b.Fatalf("%v certificates, %d series", s["everseal_certificates{state=valid}"], len(s.of("everseal_certificate_ready")))
		}
	}
}
