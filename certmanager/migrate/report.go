package migrate

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
)

// A Report is what came of a migration. It marshals to JSON for programs.
type Report struct {
	DryRun bool   `json:"dryRun,omitempty"` // nothing was stored: Taken is what would be
	Taken  []Item `json:"taken"`
	Left   []Item `json:"left"`
}

// An Item is a certificate or an account that was found, or a file that should be one.
type Item struct {
	Kind   string `json:"kind"`   // "certificate" or "account"
	Source string `json:"source"` // where it was found, such as the path in the folder

	Names    []string  `json:"names,omitempty"`   // of the certificate, the first 100
	Serial   string    `json:"serial,omitempty"`  // of the certificate, hexadecimal
	NotAfter time.Time `json:"notAfter,omitzero"` // of the certificate, UTC
	Account  string    `json:"account,omitempty"` // URL of the account; empty: the source has none
	CA       string    `json:"ca,omitempty"`      // of both, as the source names it: the URL of its directory, or its host
	Issuer   string    `json:"issuer,omitempty"`  // ID of that one of Config.Issuers that the CA is; empty: none
	Present  bool      `json:"present,omitempty"` // it was taken before
	Reason   string    `json:"reason,omitempty"`  // why it is left, or what is to be known of what is taken
}

// The kinds of an [Item].
const (
	KindCertificate = "certificate"
	KindAccount     = "account"
)

// String returns a table for people: what was taken, then what is left, one line for each.
func (r *Report) String() string {
	if r == nil {
		return "nothing was looked at\n"
	}
	var b strings.Builder
	taken := "taken"
	if r.DryRun {
		taken = "would be taken"
	}
	there := 0
	for _, item := range r.Taken {
		if item.Present {
			there++
		}
	}
	fmt.Fprintf(&b, "%d %s, ", len(r.Taken)-there, taken)
	if there > 0 {
		fmt.Fprintf(&b, "%d there before, ", there)
	}
	fmt.Fprintf(&b, "%d left\n", len(r.Left))
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, item := range r.Taken {
		verb := taken
		if item.Present {
			verb = "was there"
		}
		item.write(w, verb)
	}
	for _, item := range r.Left {
		item.write(w, "left")
	}
	_ = w.Flush() // to memory
	return b.String()
}

// write writes a line of the table.
func (i *Item) write(w *tabwriter.Writer, verb string) {
	what := i.Account
	if i.Kind == KindCertificate {
		what = shortened(i.Names)
	}
	end := ""
	if !i.NotAfter.IsZero() {
		end = "until " + i.NotAfter.UTC().Format(time.DateOnly)
	}
	line := []string{verb, i.Kind, printable(what), printable(i.Source), end, printable(i.Reason)}
	fmt.Fprintln(w, strings.TrimRight(strings.Join(line, "\t"), "\t"))
}

// shortened returns the names, but not too many of them.
func shortened(names []string) string {
	const most = 3
	if len(names) <= most {
		return strings.Join(names, " ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], " "), len(names)-most)
}

// maxText bounds what is shown of one text of the source's, in runes.
const maxText = 400

// printable returns the text fit for a line, whoever wrote it.
func printable(text string) string {
	runes := []rune(text)
	if len(runes) > maxText {
		runes = append(runes[:maxText], '…')
	}
	for i, r := range runes {
		if !unicode.IsPrint(r) {
			runes[i] = unicode.ReplacementChar
		}
	}
	return string(runes)
}
