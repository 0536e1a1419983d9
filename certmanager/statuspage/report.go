package statuspage

import (
	"time"

	"github.com/everseal/everseal/certmanager"
)

// A report is what the page shows, as JSON has it.
type report struct {
	Time         time.Time            `json:"time"` // when it was made, in UTC
	Stats        certmanager.Stats    `json:"stats"`
	Counts       certmanager.Counts   `json:"counts"`
	Budgets      []certmanager.Budget `json:"budgets"`                // those with the least left first
	BudgetsError string               `json:"budgetsError,omitempty"` // why not all could be read
	Expiries     []expiries           `json:"expiries"`               // of the next 90 days
	Matching     int                  `json:"matching"`               // certificates that match the query
	Page         int                  `json:"page"`
	Pages        int                  `json:"pages"`
	Limit        int                  `json:"limit"`        // certificates on a page
	Certificates []certificate        `json:"certificates"` // those of this page
}

// A certificate is one with its status.
type certificate struct {
	Ready bool `json:"ready"` // it is served, and valid
	certmanager.Status
}

// Expiries are how many certificates end on a day.
type expiries struct {
	Date    time.Time `json:"date"` // when the day begins, in UTC
	Count   int       `json:"count"`
	Failing int       `json:"failing"` // those of them whose last attempt failed
}

const expiryDays = 90

// newReport goes through all certificates once for those to show and once for the figures.
func newReport(s source, q *query, now time.Time) *report {
	r := &report{Time: now, Stats: s.Stats(), Counts: s.Counts(), Limit: q.Limit, Expiries: make([]expiries, expiryDays)}
	today := now.Truncate(24 * time.Hour)
	for i := range r.Expiries {
		r.Expiries[i].Date = today.AddDate(0, 0, i)
	}
	matches := q.matcher(now)
	best := selection{order: orderOf(q.Sort), most: q.Page * q.Limit}
	var status certmanager.Status // one for all: what is kept is copied
	for status = range s.All() {
		if day := int(status.NotAfter.Sub(today) / (24 * time.Hour)); status.NotAfter.After(now) && day < expiryDays {
			r.Expiries[day].Count++
			if status.Failure != nil {
				r.Expiries[day].Failing++
			}
		}
		if matches(&status) {
			r.Matching++
			best.add(&status)
		}
	}
	r.Pages = max((r.Matching+q.Limit-1)/q.Limit, 1)
	r.Page = min(q.Page, r.Pages)
	r.Certificates = []certificate{}
	for _, shown := range best.after((r.Page - 1) * q.Limit) {
		r.Certificates = append(r.Certificates, certificate{ready(shown), *shown})
	}
	return r
}
