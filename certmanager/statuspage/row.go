package statuspage

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/everseal/everseal/certmanager"
)

// maxMessage bounds the text of a failure in the table; the rest is in the JSON.
const maxMessage = 1000

// A row is a certificate as the table shows it.
type row struct {
	ID      string
	Ready   bool
	Name    string // the first
	More    int    // how many others there are
	State   certmanager.State
	Tone    string // of the state: "good", "busy" or "bad"
	Issuer  string
	Expires moment
	Next    string // what comes next; empty: nothing is scheduled, for it is under way
	When    moment // when that is
	Age     moment
	Failure *failure // the last attempt's; nil: none
	Facts   []fact
}

// A failure is why the last attempt failed.
type failure struct {
	Summary string   // how often, and since when
	Causes  []remedy // what was found, or else what the error says
	Error   string   // the error's own words; empty: they are among the causes
}

// A remedy is what is wrong and what to do.
type remedy struct{ Cause, Cure string }

// A fact is one of the details.
type fact struct {
	Name, Value string
	Link        string // an address of the web; empty: none
}

func newRow(c *certificate, now time.Time) row {
	s := &c.Status
	r := row{ID: idOf(s), Ready: c.Ready, State: s.State, Tone: toneOf(s), Issuer: issuerWords(s.Issuer), Expires: until(s.NotAfter, now), Age: until(s.NotBefore, now)}
	r.Age.Words = strings.TrimSuffix(r.Age.Words, " ago")
	if len(s.Names) > 0 {
		r.Name, r.More = s.Names[0], len(s.Names)-1
	}
	if s.State != certmanager.StateRenewing && s.State != certmanager.StateObtaining {
		r.Next, r.When = string(s.Action), until(s.Next, now)
		if !s.Next.After(now) {
			r.When.Words = "now"
		}
	}
	r.Failure = failureOf(s, now)
	r.Facts = factsOf(s, now)
	return r
}

func toneOf(s *certmanager.Status) string {
	switch {
	case s.State == certmanager.StateExpired, s.Failure != nil:
		return "bad"
	case s.State == certmanager.StateValid:
		return "good"
	}
	return "busy"
}

func failureOf(s *certmanager.Status, now time.Time) *failure {
	if s.Failure == nil {
		return nil
	}
	f := &failure{Summary: "The last attempt failed " + until(s.Failure.Time, now).Words}
	if s.Attempts > 1 {
		f.Summary = fmt.Sprintf("%s failed, the last %s", counted(s.Attempts, "attempt"), until(s.Failure.Time, now).Words)
	}
	for _, d := range s.Failure.Diagnoses {
		if d == nil || d.Cause == "" {
			continue
		}
		if found := (remedy{d.Reason, d.Cure}); !slices.Contains(f.Causes, found) {
			f.Causes = append(f.Causes, found)
		}
	}
	if s.Failure.Err == nil {
		return f
	}
	text := shortened(strings.TrimPrefix(s.Failure.Err.Error(), "certmanager: "), maxMessage)
	if f.Causes == nil {
		f.Causes = []remedy{{Cause: text}}
	} else {
		f.Error = text
	}
	return f
}

// factsOf returns the details of a certificate, as far as there are any.
func factsOf(s *certmanager.Status, now time.Time) []fact {
	var facts []fact
	add := func(name, value string) {
		if value != "" {
			facts = append(facts, fact{Name: name, Value: value})
		}
	}
	addTime := func(name string, t time.Time) {
		if !t.IsZero() {
			add(name, date(t))
		}
	}
	if len(s.Names) > 1 {
		add("All names", strings.Join(s.Names, ", "))
	}
	add("Issuer", s.Issuer)
	add("Key", keyWords(s.KeyType))
	add("Serial number", s.Serial)
	addTime("Valid from", s.NotBefore)
	addTime("Valid until", s.NotAfter)
	add("Ends with", s.EndOf)
	if s.Imported {
		add("Origin", "imported; its successor comes from an issuer of this manager’s")
	}
	if s.OnDemand {
		add("Managed", "on demand: a client asked for it")
	}
	if len(s.Challenges) > 0 {
		add("Proved by", strings.Join(s.Challenges, ", "))
	}
	addTime("Proved at", s.Validated)
	addTime("Copied at", s.Copied)
	if !s.Next.IsZero() {
		add("Next", string(s.Action)+": "+date(s.Next))
	}
	if s.Reason != "" && s.Next.After(now) {
		add("Waits for", reasonWords(s.Reason))
	}
	if !s.Renewal.Equal(s.Next) {
		addTime("Renewal due", s.Renewal)
	}
	add("Because", shortened(s.Deferred, maxMessage))
	addTime("Failing since", s.Since)
	return append(facts, advice(s)...)
}

// advice is what the issuer suggests for the renewal.
func advice(s *certmanager.Status) []fact {
	var facts []fact
	if !s.Window.Start.IsZero() || !s.Window.End.IsZero() {
		facts = append(facts, fact{Name: "Renewal window", Value: date(s.Window.Start) + " to " + date(s.Window.End)})
	}
	if s.ExplanationURL != "" {
		why := fact{Name: "Explained at", Value: shortened(s.ExplanationURL, maxMessage)}
		if strings.HasPrefix(s.ExplanationURL, "https://") {
			why.Link = s.ExplanationURL
		}
		facts = append(facts, why)
	}
	if !s.NextPoll.IsZero() {
		facts = append(facts, fact{Name: "Issuer asked next", Value: date(s.NextPoll)})
	}
	return facts
}
