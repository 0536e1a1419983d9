package certmanager

import (
	"fmt"
	"testing"
	"time"

	"github.com/everseal/everseal/certmanager/internal/ca"
)

// The page on CAs says of each directory that package acme names what the manager goes by.
func TestCAsAreAllOnThePage(t *testing.T) {
	rows := namedRows(t, "cas.md", "Public CAs")
	directories := make(map[string]string) // constants, by URL
	for name, directory := range addressesIn(t, "../acme") {
		directories[directory] = "acme." + name
	}
	if len(directories) < 8 {
		t.Fatalf("only %d directories were found in package acme", len(directories))
	}
	for directory, name := range directories {
		known := ca.At(directory)
		cells := rows[name]
		if len(cells) != 6 {
			t.Errorf("cas.md lacks a row of six cells after %s", name)
			continue
		}
		external, addresses, staging := "no", "not known", "none"
		if known.ExternalAccount {
			external = "yes"
		}
		switch {
		case known.NoAddresses:
			addresses = "no"
		case len(known.Profiles) > 0:
			addresses = "yes"
		}
		if known.Staging != "" {
			staging = "`" + directories[known.Staging] + "`"
		}
		want := []string{known.Name, external, addresses, staging}
		if got := []string{cells[0], cells[1], cells[2], cells[4]}; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("cas.md says of %s %q, the code %q", name, got, want)
		}
		delete(rows, name)
	}
	for name := range rows {
		t.Errorf("cas.md has %s, which package acme has not", name)
	}
}

func TestProfilesAreAllOnThePage(t *testing.T) {
	rows := namedRows(t, "cas.md", "Profiles")
	for _, profile := range ca.At(defaultDirectory()).Profiles {
		addresses := "no"
		if profile.Addresses {
			addresses = "yes"
		}
		cells := rows[profile.Name]
		if len(cells) != 3 || cells[0] != fmt.Sprint(profile.MaxNames) || cells[1] != addresses {
			t.Errorf("cas.md says of the profile %s %q, the code %+v", profile.Name, cells, profile)
		}
		delete(rows, profile.Name)
	}
	if len(rows) > 0 {
		t.Errorf("cas.md has profiles that the code has not: %v", rows)
	}
}

// The page on limits has those that are counted.
func TestLimitsAreThoseOnThePage(t *testing.T) {
	production := ca.At(defaultDirectory())
	staging := ca.At(production.Staging)
	of := func(l ca.Limits) []ca.Limit {
		return []ca.Limit{l.AccountsPerAddress, l.AccountsPerNetwork, l.Orders, l.CertificatesPerDomain, l.CertificatesPerSet, l.Failures, l.FailuresInRow}
	}
	rows := tableRows(t, "limits.md", "Let's Encrypt's limits")
	if len(rows) != 7 {
		t.Fatalf("limits.md has %d limits", len(rows))
	}
	for i, cells := range rows {
		for j, limit := range []ca.Limit{of(production.Limits)[i], of(staging.Limits)[i]} {
			if want := limitOnPage(limit); cells[1+j] != want {
				t.Errorf("limits.md says of %s %q, the code %q", cells[0], cells[1+j], want)
			}
		}
	}
}

// limitOnPage is a limit as the page has it.
func limitOnPage(l ca.Limit) string {
	const day = 24 * time.Hour
	switch {
	case l.Per == time.Duration(l.Count)*day:
		return fmt.Sprintf("%d, and 1 back a day", l.Count)
	case l.Per%day == 0:
		return fmt.Sprintf("%d in %d days", l.Count, l.Per/day)
	case l.Per == time.Hour:
		return fmt.Sprintf("%d in 1 hour", l.Count)
	case l.Per%time.Hour == 0:
		return fmt.Sprintf("%d in %d hours", l.Count, l.Per/time.Hour)
	}
	return fmt.Sprintf("%d in %d second", l.Count, l.Per/time.Second)
}

// defaultDirectory is that of an issuer of which nothing is said.
func defaultDirectory() string { return new(ACME).directoryURL() }
