package prometheus

import (
	"slices"
	"strings"
	"testing"

	prom "github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/everseal/everseal/certmanager"
)

// Of many budgets those have series of which the least is left, whichever issuer they are of.
func TestBudgetsAreBounded(t *testing.T) {
	c := &Collector{MaxSeries: 2}
	budget := func(issuer, name string, left int) certmanager.Budget {
		return certmanager.Budget{Issuer: issuer, Kind: certmanager.BudgetDomain, Name: name, Count: 50, Left: left}
	}
	c.noteBudgets([]certmanager.Budget{budget("a", "a.example", 10), budget("a", "b.example", 20), budget("a", "c.example", 30),
		budget("b", "d.example", 0), budget("b", "e.example", 40)}, nil)
	ch := make(chan prom.Metric, 100)
	c.sendBudgets(ch)
	close(ch)
	var names []string
	for metric := range ch {
		var m dto.Metric
		if err := metric.Write(&m); err != nil {
			t.Fatal(err)
		}
		for _, label := range m.GetLabel() {
			if label.GetName() == "name" && strings.Contains(metric.Desc().String(), "budget_left") {
				names = append(names, label.GetValue())
			}
		}
	}
	if want := []string{"d.example", "a.example"}; !slices.Equal(names, want) {
		t.Errorf("series of %v, want %v", names, want)
	}
}
