package statuspage

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/everseal/everseal/certmanager"
)

// span returns a length of time in words, by one unit.
func span(d time.Duration) string {
	switch d = d.Abs(); {
	case d >= 48*time.Hour:
		return counted(int64(d/(24*time.Hour)), "day") // no more than there are
	case d >= 90*time.Minute, d == time.Hour:
		return counted(int64(d.Round(time.Hour)/time.Hour), "hour")
	case d >= 90*time.Second, d == time.Minute:
		return counted(int64(d.Round(time.Minute)/time.Minute), "minute")
	}
	return counted(int64(d/time.Second), "second")
}

// counted returns a number with what is counted, which is a noun with a regular plural.
func counted[number int | int64](n number, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return grouped(n) + " " + noun + "s"
}

// grouped returns a number with commas between its thousands.
func grouped[number int | int64](n number) string {
	digits := strconv.FormatInt(int64(n), 10)
	for i := len(digits) - 3; i > 0 && digits[i-1] != '-'; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

func date(t time.Time) string { return t.UTC().Format("2 January 2006, 15:04 UTC") }

// shortened returns a text of no more than so many bytes, with "…" for the rest.
func shortened(text string, most int) string {
	if len(text) <= most {
		return text
	}
	for most > 0 && !utf8.RuneStart(text[most]) {
		most--
	}
	return text[:most] + "…"
}

// A moment is a time as the page shows it.
type moment struct {
	time.Time
	Words string
}

// Exact is the time for people who want to know.
func (m moment) Exact() string { return date(m.Time) }

// until returns how far away a time is, and since how long ago it was.
func until(t, now time.Time) moment {
	switch {
	case t.IsZero():
		return moment{}
	case t.After(now):
		return moment{t, span(t.Sub(now))}
	}
	return moment{t, span(now.Sub(t)) + " ago"}
}

// headline says in a sentence how things are.
func headline(s *certmanager.Stats) string {
	total, valid, expired := 0, s.States[certmanager.StateValid]+s.States[certmanager.StateRenewing], s.States[certmanager.StateExpired]
	for _, n := range s.States {
		total += n
	}
	switch {
	case total == 0:
		return "No certificates yet"
	case expired > 0:
		return of(expired, total) + be(expired, " has", " have") + " expired"
	case s.Failing > 0:
		return of(s.Failing, total) + be(s.Failing, " can’t", " can’t") + " be obtained or renewed"
	case valid < total:
		return of(total-valid, total) + be(total-valid, " is", " are") + " yet to be obtained"
	case total == 1:
		return "The certificate is valid"
	}
	return "All " + grouped(total) + " certificates are valid"
}

// of returns a part of all certificates, in words.
func of(n, total int) string {
	switch {
	case total == 1:
		return "The only certificate"
	case n == total:
		return "All " + grouped(total) + " certificates"
	}
	return grouped(n) + " of " + counted(total, "certificate")
}

func be(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// reasonWords returns why certificates wait, in words.
func reasonWords(r certmanager.Reason) string {
	switch r {
	case certmanager.ReasonBackoff:
		return "a while, after a failure of their own"
	case certmanager.ReasonIssuer:
		return "an issuer that fails for all names"
	case certmanager.ReasonProcess:
		return "another process, which does the work"
	case certmanager.ReasonStorage:
		return "the storage, which can’t be read or written"
	case certmanager.ReasonKeys:
		return "the key service, which fails"
	case certmanager.ReasonPolicy:
		return "leave to be obtained on demand"
	case certmanager.ReasonRole:
		return "another manager, whose role it is"
	case certmanager.ReasonBudget:
		return "a limit of the CA’s"
	case certmanager.ReasonPaused:
		return "a person who asks the CA to resume"
	case certmanager.ReasonGone:
		return "a client, for the name leads elsewhere"
	}
	return string(r)
}

// issuerWords returns an issuer's ID as people know it: that of a certmanager.ACME ends with a hash.
func issuerWords(id string) string {
	if i := len(id) - 9; i > 0 && id[i] == '-' && strings.Trim(id[i+1:], "0123456789abcdef") == "" {
		return id[:i]
	}
	return id
}

// keyWords returns a type of key as people write it.
func keyWords(k certmanager.KeyType) string {
	return strings.NewReplacer("ecdsa-p", "ECDSA P-", "rsa-", "RSA ").Replace(string(k))
}

// lead says in a sentence or two what comes next.
func lead(s *certmanager.Stats, now time.Time) string {
	var parts []string
	if s.EarliestEnd.After(now) {
		parts = append(parts, fmt.Sprintf("The first to end does so in %s, on %s.", span(s.EarliestEnd.Sub(now)), date(s.EarliestEnd)))
	} else if !s.EarliestEnd.IsZero() {
		parts = append(parts, fmt.Sprintf("The first has ended %s ago, on %s.", span(now.Sub(s.EarliestEnd)), date(s.EarliestEnd)))
	}
	if s.NextDue.After(now) {
		parts = append(parts, fmt.Sprintf("The next action is due in %s.", span(s.NextDue.Sub(now))))
	}
	return strings.Join(parts, " ")
}
