package record_test

import (
	"strings"
	"testing"
	"time"

	"github.com/everseal/everseal/certmanager/internal/record"
)

// What makes no sense in a plan costs the plan, or what is odd of it, and not the work.
func TestPlanOutOfBounds(t *testing.T) {
	sound := goldenPlan().Plan
	for name, change := range map[string]func(p *record.Plan){
		"a long issuer":     func(p *record.Plan) { p.Issuer = strings.Repeat("x", 101) },
		"a long serial":     func(p *record.Plan) { p.Serial = strings.Repeat("0", 101) },
		"negative failures": func(p *record.Plan) { p.Failures = -1 },
		"negative early":    func(p *record.Plan) { p.Early = -1 },
	} {
		w := &record.Work{Attempts: 1, Plan: sound}
		change(&w.Plan)
		again, err := record.DecodeWork(encode(t, w), "ca")
		if err != nil || again.Plan != (record.Plan{}) || again.Attempts != 1 {
			t.Errorf("%s: %+v, %v", name, again, err)
		}
	}
	for _, text := range []string{
		"https://ca.example.com/" + strings.Repeat("x", 500), "javascript:alert(1)", "https://user@ca.example.com", "https://ca.example.com/ x", "https://ca.example.com/\x1b[1m",
		"https://ca.example.com/é", "//ca.example.com/", "https:///why", "why",
	} {
		w := &record.Work{Plan: sound}
		w.Plan.Explanation = text
		again, err := record.DecodeWork(encode(t, w), "ca")
		if err != nil || again.Plan.Explanation != "" || again.Plan.Serial != sound.Serial {
			t.Errorf("%q: %+v, %v", text, again.Plan, err)
		}
	}
	distant := &record.Work{Plan: sound}
	distant.Plan.End = time.Date(20000, 1, 1, 0, 0, 0, 0, time.UTC)
	if again, err := record.DecodeWork(encode(t, distant), "ca"); err != nil || !again.Plan.End.IsZero() {
		t.Errorf("%+v, %v", again.Plan, err)
	}
}

func TestPlanIs(t *testing.T) {
	p := record.Plan{Issuer: "ca", Serial: "0abc"}
	if !p.Is("ca", "0abc") || p.Is("ca", "0abd") || p.Is("other", "0abc") || new(record.Plan).Is("", "") {
		t.Error("the plan is taken for another certificate's")
	}
}
