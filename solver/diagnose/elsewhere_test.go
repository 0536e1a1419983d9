package diagnose_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver/diagnose"
	"github.com/everseal/everseal/solver/internal/solvertest"
)

// TestElsewhere weighs what is seen here against what others see.
func TestElsewhere(t *testing.T) {
	type look = func(context.Context, acme.Proof) (*diagnose.Report, error)
	right := func(context.Context, acme.Proof) (*diagnose.Report, error) { return &diagnose.Report{Seen: true}, nil }
	filtered := func(_ context.Context, p acme.Proof) (*diagnose.Report, error) {
		return &diagnose.Report{Identifier: p.Identifier.Value, Cause: diagnose.CausePortFiltered, Reason: "port 80 is \x1b[31m not answered" + strings.Repeat("!", 10000), Cure: "open it"}, nil
	}
	fails := func(context.Context, acme.Proof) (*diagnose.Report, error) { return nil, errors.New("out of order") }
	for _, test := range []struct {
		name   string
		broken bool // from here
		places []look
		want   diagnose.Cause
		told   int
	}{
		{"nobody else", false, nil, "", 0},
		{"all right", false, []look{right, right}, "", 2},
		{"wrong elsewhere", false, []look{right, filtered}, diagnose.CauseVantagePoints, 2},
		{"wrong here alone", true, []look{right, fails}, "", 1},
		{"wrong here and elsewhere", true, []look{right, filtered}, diagnose.CauseOtherServer, 2},
		{"others can't look", true, []look{fails, nil}, diagnose.CauseOtherServer, 0},
		{"others can't look, and all is right", false, []look{fails}, "", 0},
		{"a hundred others", false, func() (many []look) {
			for range 100 {
				many = append(many, right)
			}
			return many
		}(), "", 10},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			site := w.answering()
			if test.broken {
				site = http.NotFoundHandler()
			}
			w.site(site)
			p := proofOf(acme.TypeHTTP01)
			solvertest.Present(t, w.http01, p)
			from := w.vantage()
			from.Elsewhere = test.places
			d := diagnose.Before(t.Context(), p, from)
			if d.Cause != test.want || len(d.Elsewhere) != test.told {
				t.Errorf("%v: %q with %d others, want %q with %d", d, d.Cause, len(d.Elsewhere), test.want, test.told)
			}
			if test.want == diagnose.CauseVantagePoints && (!strings.Contains(d.Reason, "port 80") || d.Cure != "open it" || strings.Contains(d.Reason, "\x1b") || len(d.Reason) > 1000) {
				t.Errorf("the words of others are told as %q", d)
			}
		})
	}
}
