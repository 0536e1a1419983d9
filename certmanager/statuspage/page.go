package statuspage

import (
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/hex"
	"html/template"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/everseal/everseal/certmanager"
)

var (
	//go:embed page.html
	pageText string
	//go:embed page.css
	styleText string
	//go:embed page.js
	scriptText string
)

func newTemplate() *template.Template {
	functions := template.FuncMap{
		"style": func() template.CSS { return template.CSS(styleText) }, "script": func() template.JS { return template.JS(scriptText) },
		"count": grouped[int], "count64": grouped[int64], "date": date, "reason": reasonWords,
		"clock": func(t time.Time) string { return t.UTC().Format("15:04:05 UTC") },
	}
	return template.Must(template.New("page").Funcs(functions).Parse(pageText))
}

// newPolicy returns a Content-Security-Policy that lets the page's own style and script work, and nothing else.
func newPolicy() string {
	return strings.Join([]string{
		"default-src 'none'", "style-src " + hashOf(styleText), "script-src " + hashOf(scriptText), "connect-src 'self'", "img-src data:",
		"form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'",
	}, "; ")
}

func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// A page is a report as the template needs it.
type page struct {
	*report
	Query *query
}

// Headline says in a sentence how things are.
func (p *page) Headline() string { return headline(&p.Stats) }

// Lead says what comes next.
func (p *page) Lead() string { return lead(&p.Stats, p.Time) }

// A figure is a number with its name.
type figure struct {
	Name  string
	Count int
	URL   string // of what it counts
	Tone  string // "good", "busy", "bad" or "zero"; empty: none
}

// Figures are those that come first.
func (p *page) Figures() []figure {
	state := func(name string, s certmanager.State, tone string) figure {
		return figure{name, p.Stats.States[s], p.Query.With("state", string(s)), tone}
	}
	all := []figure{
		state("Valid", certmanager.StateValid, "good"), state("Renewing", certmanager.StateRenewing, "busy"),
		state("Obtaining", certmanager.StateObtaining, "busy"), state("Waiting", certmanager.StateWaiting, "busy"),
		state("Expired", certmanager.StateExpired, "bad"), {"Failing", p.Stats.Failing, p.Query.With("state", failing), "bad"},
		{"Overdue", p.Stats.Overdue, p.Query.With("state", overdue), "busy"},
	}
	for i := range all {
		if all[i].Count == 0 {
			all[i].Tone = "zero"
		}
	}
	return all
}

// A choice is one of several in a form.
type choice struct {
	Value, Words string
	Chosen       bool
}

// Filters are the states to choose from.
func (p *page) Filters() []choice {
	all := []choice{{"", "any state", p.Query.State == ""}}
	for _, name := range filters() {
		all = append(all, choice{name, name, p.Query.State == name})
	}
	return all
}

// A column is one of the table's.
type column struct {
	Name, Sort, URL string
	Sorted          string // as aria-sort has it; empty: it is not
}

// Columns are the columns of the table.
func (p *page) Columns() []column {
	all := []column{{Name: "Ready"}, {Name: "Names", Sort: "name"}, {Name: "State", Sort: "state"}, {Name: "Issuer", Sort: "issuer"},
		{Name: "Expires in", Sort: "expires"}, {Name: "Scheduled in", Sort: "next"}, {Name: "Age", Sort: "age"}}
	for i := range all {
		c := &all[i]
		switch {
		case c.Sort == "":
		case c.Sort == p.Query.Sort:
			c.Sorted, c.URL = "ascending", p.Query.With("sort", "")
		default:
			c.URL = p.Query.With("sort", c.Sort)
		}
	}
	return all
}

// Rows are the certificates of the table.
func (p *page) Rows() []row {
	rows := make([]row, 0, len(p.Certificates))
	for i := range p.Certificates {
		rows = append(rows, newRow(&p.Certificates[i], p.Time))
	}
	return rows
}

// First returns the position of the first row among all that match; 0: there is none.
func (p *page) First() int { return min((p.Page-1)*p.Limit+1, p.Matching) }

// Last returns that of the last row.
func (p *page) Last() int { return (p.Page-1)*p.Limit + len(p.Certificates) }

// Previous returns the URL of the page before; empty: there is none.
func (p *page) Previous() string {
	if p.Page == 1 {
		return ""
	}
	return p.Query.At(p.Page - 1)
}

// Following returns the URL of the page after; empty: there is none.
func (p *page) Following() string {
	if p.Page >= p.Pages {
		return ""
	}
	return p.Query.At(p.Page + 1)
}

// Here returns the URL of this page.
func (p *page) Here() string { return p.Query.At(p.Page) }

// JSON returns the URL of the same as JSON.
func (p *page) JSON() string { return p.Query.At(p.Page) + "&format=json" }

// Waits are the reasons that certificates wait for, the most common first.
func (p *page) Waits() []figure {
	var all []figure
	for reason, n := range p.Stats.Deferred {
		all = append(all, figure{Name: reasonWords(reason), Count: n, URL: p.Query.With("reason", string(reason))})
	}
	slices.SortFunc(all, func(a, b figure) int { return cmp.Or(cmp.Compare(b.Count, a.Count), strings.Compare(a.Name, b.Name)) })
	return all
}

// InFlight are the issuers with what they are asked for at the moment.
func (p *page) InFlight() []figure {
	var all []figure
	for _, id := range slices.Sorted(maps.Keys(p.Stats.InFlight)) {
		all = append(all, figure{Name: p.issuerName(id), Count: p.Stats.InFlight[id], URL: p.Query.With("issuer", id)})
	}
	return all
}

// ExpiryPicture shows when certificates end.
func (p *page) ExpiryPicture() *picture { return pictureOfExpiries(p.Expiries) }

// WorkPicture shows what was done lately.
func (p *page) WorkPicture() *picture { return pictureOfDays(&p.Counts) }

// idOf returns what tells one row of a page from another, for the script.
func idOf(s *certmanager.Status) string {
	sum := sha256.Sum256([]byte(strings.Join(s.Names, " ") + " " + string(s.KeyType)))
	return "c-" + hex.EncodeToString(sum[:6])
}
