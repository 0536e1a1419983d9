package storagetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/everseal/everseal/storage"
)

// scanCases ask what [storage.Scan] gives: of stores that are no Scanner it is made of List and Load.
func scanCases() []testCase {
	return []testCase{
		{"Scan", "A process that starts serves what it scans. A record that is left out has no certificate, and one of " +
			"another prefix is another's.", testScan},
		{"ScanCursor", "A scan that is resumed by its cursor must not pass over a record, or the certificate in it is " +
			"never renewed.", testScanCursor},
		{"ScanWhileWriting", "A fleet writes at all times. A scan that fails for it, or that loses what nobody changes, " +
			"never ends well.", testScanWhileWriting},
	}
}

// scanned returns the values of the records that a scan yields, by their keys, and the cursors in their order.
func scanned(t *testing.T, s storage.Store, prefix, cursor string) (values map[string]string, cursors []string) {
	t.Helper()
	values = make(map[string]string)
	for record, err := range storage.Scan(t.Context(), s, prefix, cursor) {
		if err != nil {
			t.Fatalf("Scan(%q, %q): %v", prefix, cursor, err)
		}
		if _, twice := values[record.Key]; twice {
			t.Errorf("Scan(%q, %q) yields %q twice", prefix, cursor, record.Key)
		}
		if item := on(t, s).load(record.Key); item.Revision != record.Revision {
			t.Errorf("Scan(%q, %q) yields %q with the revision %q, Load has %q", prefix, cursor, record.Key, record.Revision, item.Revision)
		}
		if record.Cursor == "" {
			t.Errorf("Scan(%q, %q) yields %q without a cursor", prefix, cursor, record.Key)
		}
		values[record.Key] = string(record.Value)
		cursors = append(cursors, record.Cursor)
	}
	return values, cursors
}

func testScan(t *testing.T, s, other storage.Store) {
	if values, _ := scanned(t, s, "", ""); len(values) > 0 {
		t.Errorf("a scan of the empty store yields %q", values)
	}
	for _, key := range []string{"a", "a/b", "a/b/c", "a/*.example.com", "ab", "a.b", "b/a"} {
		on(t, other).save(key, "value of "+key, "")
	}
	for prefix, keys := range map[string][]string{
		"":      {"a", "a/b", "a/b/c", "a/*.example.com", "ab", "a.b", "b/a"},
		"a":     {"a", "a/b", "a/b/c", "a/*.example.com"},
		"a/b":   {"a/b", "a/b/c"},
		"a/b/c": {"a/b/c"},
		"b":     {"b/a"},
		"c":     nil,
	} {
		values, _ := scanned(t, s, prefix, "")
		for _, key := range keys {
			if values[key] != "value of "+key {
				t.Errorf("Scan(%q): %q has the value %q", prefix, key, values[key])
			}
		}
		if len(values) != len(keys) {
			t.Errorf("Scan(%q): %q, want the records of %q", prefix, values, keys)
		}
	}
	for record, err := range storage.Scan(t.Context(), s, "../a", "") {
		if !errors.Is(err, storage.ErrInvalidKey) || record.Key != "" {
			t.Errorf("Scan of an invalid prefix: %+v, %v", record, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var ended error
	for _, err := range storage.Scan(ctx, s, "", "") {
		ended = err
	}
	if !errors.Is(ended, context.Canceled) {
		t.Errorf("Scan under a cancelled context: %v", ended)
	}
}

func testScanCursor(t *testing.T, s, other storage.Store) {
	var keys []string
	for i := range 40 {
		keys = append(keys, fmt.Sprintf("records/%d", i*7919%1000))
		on(t, other).save(keys[i], "x", "")
	}
	all, cursors := scanned(t, s, "records", "")
	if len(all) != len(keys) {
		t.Fatalf("%d records, want %d", len(all), len(keys))
	}
	for _, n := range []int{0, 1, 20, 39} {
		rest, _ := scanned(t, other, "records", cursors[n])
		if len(rest) != len(keys)-n-1 {
			t.Errorf("after the cursor of record %d there are %d records, want %d", n+1, len(rest), len(keys)-n-1)
		}
	}
	// The record that the cursor is of need not be there any more.
	var first storage.Record
	for record, err := range storage.Scan(t.Context(), s, "records", "") {
		if err != nil {
			t.Fatal(err)
		}
		first = record
		break
	}
	if err := other.Delete(t.Context(), first.Key, first.Revision); err != nil {
		t.Fatal(err)
	}
	if rest, _ := scanned(t, s, "records", first.Cursor); len(rest) < len(keys)-1 {
		t.Errorf("after the cursor of a deleted record there are %d records, want %d", len(rest), len(keys)-1)
	}
}

func testScanWhileWriting(t *testing.T, s, other storage.Store) {
	const still = 30
	for i := range still {
		on(t, s).save(fmt.Sprintf("still/%d", i), "x", "")
		on(t, s).save(fmt.Sprintf("still/busy/%d", i), "x", "")
	}
	var got []string
	n := 0
	for record, err := range storage.Scan(t.Context(), s, "still", "") {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, record.Key)
		if n < still { // a writer between any two records
			key := fmt.Sprintf("still/busy/%d", n)
			item := on(t, other).load(key)
			if n%2 == 0 {
				on(t, other).save(key, "y", item.Revision)
			} else if err := other.Delete(t.Context(), key, item.Revision); err != nil {
				t.Fatal(err)
			}
			n++
		}
	}
	for i := range still {
		if key := fmt.Sprintf("still/%d", i); !slices.Contains(got, key) {
			t.Errorf("the scan passed over %q, which nobody had changed", key)
		}
	}
}
