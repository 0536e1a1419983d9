package diagnose

import (
	"context"
	"fmt"
	"sync"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver/internal/escape"
)

// maxElsewhere bounds the places that are asked for one diagnosis.
const maxElsewhere = 10

// elsewhere returns what is seen from other places, in their order; nil stands for one that could not look.
func (v Vantage) elsewhere(ctx context.Context, p acme.Proof) []*Report {
	places := v.Elsewhere[:min(len(v.Elsewhere), maxElsewhere)]
	reports := make([]*Report, len(places))
	var group sync.WaitGroup
	for i, look := range places {
		if look == nil {
			continue
		}
		group.Go(func() {
			if r, err := look(ctx, p); err == nil && r != nil {
				reports[i] = &Report{
					Identifier: escape.Text(r.Identifier, 260), ChallengeType: escape.Text(r.ChallengeType, 40), Seen: r.Seen,
					Cause: Cause(escape.Text(string(r.Cause), 40)), Reason: escape.Text(r.Reason, 600), Cure: escape.Text(r.Cure, 600),
				}
			}
		})
	}
	group.Wait()
	return reports
}

// weigh concludes from what is seen here and elsewhere, before the CA is told. What is wrong here alone is this network's
// own matter; what is wrong from another place may be so for the CA, too.
func (d *Report) weigh(elsewhere []*Report) {
	var wrong *Report
	looked := 0
	for _, r := range elsewhere {
		if r == nil {
			continue
		}
		d.Elsewhere = append(d.Elsewhere, r)
		looked++
		if r.Cause != "" && wrong == nil {
			wrong = r
		}
	}
	switch {
	case looked == 0:
	case wrong == nil:
		d.Cause, d.Reason, d.Cure, d.Seen = "", "", "", true
	case d.Cause == "":
		d.Cause, d.Seen = CauseVantagePoints, false
		d.Reason, d.Cure = fmt.Sprintf("all is right from here, but not from elsewhere: %s", wrong.Reason), wrong.Cure
	}
}
