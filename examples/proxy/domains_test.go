package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/certmanager"
)

// What the database says is believed for a while, and longer while it can't be asked; how many names are known is bounded.
func TestDomains(t *testing.T) { testDomains(t, filepath.Join(t.TempDir(), "domains.db")) }

func testDomains(t *testing.T, database string) {
	synctest.Test(t, func(t *testing.T) {
		d := newDomains()
		d.fixed["fixed.example"] = "192.0.2.1:80"
		if err := d.open(t.Context(), database); err != nil {
			t.Fatal(err)
		}
		defer d.db.Close()
		change := func(statement string) {
			t.Helper()
			if _, err := d.db.ExecContext(t.Context(), statement); err != nil {
				t.Fatal(err)
			}
		}
		want := func(name, upstream string) {
			t.Helper()
			if got, err := d.upstream(t.Context(), name); err != nil || got != upstream {
				t.Errorf("%s: %q, %v; want %q", name, got, err, upstream)
			}
			if err := d.allow(t.Context(), certmanager.Question{Name: name}); errors.Is(err, certmanager.ErrDenied) != (upstream == "") {
				t.Errorf("%s with the upstream %q: the policy says %v", name, upstream, err)
			}
		}
		want("fixed.example", "192.0.2.1:80")
		want("one.example", "")
		change("INSERT INTO domains VALUES ('one.example', '192.0.2.2:80')")
		want("one.example", "")
		time.Sleep(freshPeriod)
		want("one.example", "192.0.2.2:80")
		change("DELETE FROM domains")
		want("one.example", "192.0.2.2:80")
		time.Sleep(freshPeriod)
		want("one.example", "")

		for i := range 2 * maxKnown {
			d.known[fmt.Sprint(i)] = answer{until: time.Now()}
		}
		want("two.example", "")
		if len(d.known) > maxKnown {
			t.Errorf("%d names are known", len(d.known))
		}
		change("INSERT INTO domains VALUES ('three.example', '192.0.2.3:80')")
		want("three.example", "192.0.2.3:80")
		change("DROP TABLE domains")
		time.Sleep(freshPeriod)
		want("three.example", "192.0.2.3:80")
		err := d.allow(t.Context(), certmanager.Question{Name: "four.example"})
		if err == nil || errors.Is(err, certmanager.ErrDenied) {
			t.Errorf("a name that the database was never asked for, while it can't be: %v", err)
		}
	})
}
