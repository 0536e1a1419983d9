package record_test

import (
	"strings"
	"testing"
	"time"

	"github.com/everseal/everseal/certmanager/internal/record"
	"github.com/everseal/everseal/storage"
)

func TestBudgetKeys(t *testing.T) {
	longest := strings.Repeat("a", 63) + "." + strings.Repeat("b", 63) + "." + strings.Repeat("c", 63) + "." + strings.Repeat("d", 61)
	issuer := strings.Repeat("i", 100)
	for _, test := range []struct{ got, want string }{
		{record.BudgetKey(record.AccountKey("ca", ""), "orders", ""), "budgets/ca/default/orders"},
		{record.BudgetKey(record.AccountKey("ca", ""), "domain", "2001:db8:1:2::"), "budgets/ca/default/domain/2001:db8:1:2::"},
		{record.BudgetKey(record.AccountKey(issuer, "kid-1"), "failures", longest), ""},
		{record.SetName([]string{"b.example", "a.example"}), record.SetName([]string{"a.example", "b.example", "b.example"})},
	} {
		if test.want != "" && test.got != test.want {
			t.Errorf("%s, want %s", test.got, test.want)
		}
		if err := storage.CheckKey(test.got); err != nil {
			t.Error(err)
		}
	}
	if record.SetName([]string{"a.example"}) == record.SetName([]string{"b.example"}) {
		t.Error("two sets have one name")
	}
}

// Only what is full by every clock is deleted, and nothing else than budgets.
func TestIsSpareBudget(t *testing.T) {
	encoded := func(b record.Budget) []byte { return encode(t, &b) }
	full := encoded(record.Budget{Full: begin, Since: begin.Add(-time.Hour)})
	for _, test := range []struct {
		key   string
		value []byte
		after time.Duration
		want  bool
	}{
		{"budgets/ca/default/orders", full, 2 * time.Hour, true},
		{"budgets/ca/default/orders", full, 50 * time.Minute, false},
		{"budgets/ca/default/orders", full, -time.Minute, false},
		{"work/ca/default/orders", full, 2 * time.Hour, false},
		{"budgets/ca/default/orders", []byte(`{"version":7}`), 2 * time.Hour, false},
		{"budgets/ca/default/orders", []byte(`{"version":2,"full":"2020-01-01T00:00:00Z"}`), 2 * time.Hour, false},
		{"budgets/ca/default/orders", nil, 2 * time.Hour, false},
	} {
		if got := record.IsSpareBudget(test.key, test.value, begin.Add(test.after)); got != test.want {
			t.Errorf("%s, %s, %v after it is full: %v", test.key, test.value, test.after, got)
		}
	}
}

func FuzzDecodeBudget(f *testing.F) {
	addGolden(f, "budget")
	f.Add([]byte(`{"version":1}`))
	f.Add([]byte(`{"version":1,"full":"9999-12-31T23:59:59Z","since":"0000-01-01T00:00:00Z"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := record.DecodeBudget(data)
		if err != nil {
			checkError(t, data, err)
			return
		}
		encoded := encode(t, &b)
		if again, err := record.DecodeBudget(encoded); err != nil || again != b {
			t.Errorf("%s is read as %+v (%v), want %+v", encoded, again, err, b)
		}
	})
}
