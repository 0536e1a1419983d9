package statuspage

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
)

const (
	defaultLimit = 50
	maxLimit     = 1000
	maxPage      = 1_000_000
	maxText      = 300 // bytes of a text to search for
)

// What "state" selects besides the states.
const (
	failing = "failing" // those whose last attempt failed
	overdue = "overdue" // those that should have been obtained or renewed by now, as Stats.Overdue counts them
)

// A query is which certificates to show.
type query struct {
	Name   string // part of a name
	State  string // a certmanager.State, failing or overdue
	Reason string // a certmanager.Reason that they wait for
	Issuer string // ID
	Sort   string // see order
	Page   int    // from 1
	Limit  int    // certificates on a page
}

// parseQuery reads the query of a URL. Its errors are for people.
func parseQuery(values url.Values) (query, error) {
	q := query{
		Name: strings.TrimSpace(values.Get("name")), State: values.Get("state"), Reason: values.Get("reason"),
		Issuer: values.Get("issuer"), Sort: values.Get("sort"),
	}
	for _, text := range []string{q.Name, q.Reason, q.Issuer} {
		if len(text) > maxText {
			return q, fmt.Errorf("a text to search for is longer than %d bytes", maxText)
		}
	}
	if q.State != "" && !slices.Contains(filters(), q.State) {
		return q, fmt.Errorf("state must be one of %s", strings.Join(filters(), ", "))
	}
	if q.Sort != "" && orderOf(q.Sort) == nil {
		return q, fmt.Errorf("sort must be one of %s", strings.Join(sorts(), ", "))
	}
	if format := values.Get("format"); format != "" && format != "json" && format != "html" {
		return q, errors.New("format must be json or html")
	}
	var err error
	if q.Page, err = parseNumber(values, "page", 1, maxPage); err == nil {
		q.Limit, err = parseNumber(values, "limit", defaultLimit, maxLimit)
	}
	return q, err
}

func parseNumber(values url.Values, name string, otherwise, most int) (int, error) {
	text := values.Get(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most {
		return 0, fmt.Errorf("%s must be a number from 1 to %d", name, most)
	}
	return n, nil
}

// filters are the values of "state".
func filters() []string {
	return []string{
		string(certmanager.StateValid), string(certmanager.StateRenewing), string(certmanager.StateObtaining), string(certmanager.StateWaiting),
		string(certmanager.StateExpired), failing, overdue,
	}
}

// With returns the URL of the page with another value of one of the query's, and the first of its pages.
func (q query) With(name, value string) string {
	values := make(url.Values)
	for key, text := range map[string]string{"name": q.Name, "state": q.State, "reason": q.Reason, "issuer": q.Issuer, "sort": q.Sort} {
		if text != "" {
			values.Set(key, text)
		}
	}
	if limit := q.OtherLimit(); limit != "" {
		values.Set("limit", limit)
	}
	values.Set(name, value)
	if value == "" {
		values.Del(name)
	}
	return "?" + values.Encode()
}

// OtherLimit returns the limit, unless it is what it is without one.
func (q query) OtherLimit() string {
	if q.Limit == defaultLimit {
		return ""
	}
	return strconv.Itoa(q.Limit)
}

// At returns the URL of one of the query's pages.
func (q query) At(page int) string { return q.With("page", strconv.Itoa(page)) }

// Narrowed reports whether certificates are left out.
func (q query) Narrowed() bool {
	return q.Name != "" || q.State != "" || q.Reason != "" || q.Issuer != ""
}

// matcher returns what reports whether a certificate is to be shown.
func (q *query) matcher(now time.Time) func(*certmanager.Status) bool {
	name := strings.ToLower(q.Name)
	if id, err := acme.ParseIdentifier(name); err == nil {
		name = id.Value // as certificates have it, also of a name that is not in ASCII
	}
	_, parent, _ := strings.Cut(name, ".")
	return func(s *certmanager.Status) bool {
		switch {
		case q.State != "" && !isIn(s, q.State, now):
			return false
		case q.Reason != "" && (string(s.Reason) != q.Reason || !s.Next.After(now)), q.Issuer != "" && s.Issuer != q.Issuer:
			return false
		}
		return name == "" || slices.ContainsFunc(s.Names, func(of string) bool {
			return strings.Contains(of, name) || parent != "" && strings.HasPrefix(of, "*.") && of[2:] == parent
		})
	}
}

// isIn reports whether the certificate is in what "state" selects.
func isIn(s *certmanager.Status, state string, now time.Time) bool {
	switch state {
	case failing:
		return s.Failure != nil
	case overdue:
		return !s.Renewal.After(now) // zero: there is none yet
	}
	return string(s.State) == state
}

// An order compares two certificates.
type order func(a, b *certmanager.Status) int

func sorts() []string { return []string{"name", "state", "issuer", "expires", "next", "age"} }

// orderOf returns the order that "sort" names: without it, what needs attention comes first, and then what ends first. It
// returns nil if there is none of the name.
func orderOf(sort string) order {
	var by order
	switch sort {
	case "":
		by = func(a, b *certmanager.Status) int {
			return cmp.Or(cmp.Compare(calm(a), calm(b)), a.NotAfter.Compare(b.NotAfter))
		}
	case "name":
		by = func(*certmanager.Status, *certmanager.Status) int { return 0 }
	case "state":
		by = func(a, b *certmanager.Status) int { return cmp.Compare(a.State, b.State) }
	case "issuer":
		by = func(a, b *certmanager.Status) int { return cmp.Compare(a.Issuer, b.Issuer) }
	case "expires":
		by = func(a, b *certmanager.Status) int { return a.NotAfter.Compare(b.NotAfter) }
	case "next":
		by = func(a, b *certmanager.Status) int { return a.Next.Compare(b.Next) }
	case "age":
		by = func(a, b *certmanager.Status) int { return b.NotBefore.Compare(a.NotBefore) }
	default:
		return nil
	}
	return func(a, b *certmanager.Status) int {
		return cmp.Or(by(a, b), slices.Compare(a.Names, b.Names), cmp.Compare(a.KeyType, b.KeyType))
	}
}

// calm returns how little attention a certificate needs.
func calm(s *certmanager.Status) int {
	switch {
	case s.State == certmanager.StateExpired:
		return 0
	case s.Failure != nil && !ready(s):
		return 1
	case s.Failure != nil:
		return 2
	case !ready(s):
		return 3
	}
	return 4
}

// ready reports whether a certificate that is valid is served.
func ready(s *certmanager.Status) bool {
	return s.State == certmanager.StateValid || s.State == certmanager.StateRenewing
}
