package statuspage

import (
	"bytes"
	"context"
	"encoding/json"
	"html/template"
	"iter"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/everseal/everseal/certmanager"
)

// Handler returns what shows the certificates of a manager, as a page or as JSON, at whatever path it is mounted. It answers
// GET and HEAD alone, and changes nothing. It has no access control of its own: see the package's documentation.
func Handler(m *certmanager.Manager) http.Handler {
	if m == nil {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "statuspage: Handler was given no manager", http.StatusInternalServerError)
		})
	}
	return newHandler(m)
}

// A source is what the page shows: a certmanager.Manager.
type source interface {
	All() iter.Seq[certmanager.Status]
	Stats() certmanager.Stats
	Counts() certmanager.Counts
	Budgets(ctx context.Context) ([]certmanager.Budget, error)
}

type handler struct {
	source source
	page   *template.Template
	policy string        // Content-Security-Policy
	turn   chan struct{} // is full while a report is made: to go through a million certificates takes memory and seconds

	budgets budgets // of whose turn it is
}

func newHandler(s source) *handler {
	return &handler{source: s, page: newTemplate(), policy: newPolicy(), turn: make(chan struct{}, 1)}
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Content-Security-Policy", h.policy)
	header.Set("Cache-Control", "no-store")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("X-Frame-Options", "DENY") // for what does not know frame-ancestors
	header.Set("Vary", "Accept")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		header.Set("Allow", "GET, HEAD")
		http.Error(w, "the status page is only read: by GET or HEAD", http.StatusMethodNotAllowed)
		return
	}
	q, err := parseQuery(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	shown, err := h.report(r.Context(), &q)
	if err != nil {
		return // the client has gone
	}
	var body bytes.Buffer
	if wantsJSON(r) {
		header.Set("Content-Type", "application/json")
		err = json.NewEncoder(&body).Encode(shown)
	} else {
		header.Set("Content-Type", "text/html; charset=utf-8")
		err = h.page.Execute(&body, &page{report: shown, Query: &q})
	}
	if err != nil {
		http.Error(w, "the status page can't be made: "+err.Error(), http.StatusInternalServerError)
		return
	}
	header.Set("Content-Length", strconv.Itoa(body.Len()))
	_, _ = body.WriteTo(w) // fails when the client has gone
}

// report waits for its turn and makes the report.
func (h *handler) report(ctx context.Context, q *query) (*report, error) {
	select {
	case h.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-h.turn }()
	now := time.Now().UTC()
	r := newReport(h.source, q, now)
	h.budgets.read(ctx, h.source, now)
	r.Budgets, r.BudgetsError = h.budgets.left, h.budgets.failure
	return r, nil
}

// wantsJSON reports whether the client wants JSON rather than a page: it says so by format=json, by a path that ends with
// ".json", or by accepting that and no HTML.
func wantsJSON(r *http.Request) bool {
	if format := r.URL.Query().Get("format"); format != "" {
		return format == "json"
	}
	accept := strings.Join(r.Header.Values("Accept"), ",")
	return strings.HasSuffix(r.URL.Path, ".json") || strings.Contains(accept, "application/json") && !strings.Contains(accept, "text/html")
}
