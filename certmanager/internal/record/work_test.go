package record_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/everseal/everseal/certmanager/internal/record"
)

func TestWorkRoundTrip(t *testing.T) {
	const seed = 2
	random := rand.New(rand.NewPCG(seed, seed))
	number := func() int { return random.IntN(3) * random.IntN(1000) }
	instant := func() time.Time {
		if random.IntN(2) == 0 {
			return time.Time{}
		}
		return time.Unix(random.Int64N(1<<33), random.Int64N(1e9)).UTC()
	}
	notes := []string{"", "{}", "null", "7", `"\u003c"`, `"<&>"`, "\"\u2028\"", `{"a":[1,2,{"b":null}]}`, "{ }", "[1,\n2]", "no JSON", "\x00\xff", `"` + "\xff" + `"`,
		`{"a":1,"a":2}`, "1e400", "-0", strings.Repeat("[", 9998) + strings.Repeat("]", 9998), "1],[2", "", " 7", `"\ud800"`}
	key := newKey(t)
	keys := []record.Key{{}, {Signer: key}, {Reference: "kms://7"}}
	failure := func() record.Failure {
		return record.Failure{Next: instant(), Failed: instant(), Error: []string{"", "a <\"error\">\n", "\u2028é"}[random.IntN(3)], Kind: []string{"", "rateLimit"}[random.IntN(2)], Paused: random.IntN(2) == 0}
	}
	for range 500 {
		w := record.Work{Attempts: number(), Failure: failure()}
		for i := range random.IntN(4) {
			j := w.Journal(fmt.Sprintf("issuer%d", i))
			*j = record.Journal{Key: keys[random.IntN(3)], Refusals: number(), Rotation: number(), Interruptions: number(), Failure: failure()}
			if n := notes[random.IntN(len(notes))]; n != "" {
				j.Notes = []byte(n)
			}
		}
		again, err := record.DecodeWork(encode(t, &w), "other")
		if err != nil || shown(again) != shown(w) {
			t.Fatalf("%s\nis read as (%v)\n%s", shown(w), err, shown(again))
		}
	}
}

// Notes in JSON can be read in the record.
func TestNotesAreReadable(t *testing.T) {
	for notes, want := range map[string]string{
		`{"orderURL":"https://ca.example.com/7"}`: `"notes":{"orderURL":"https://ca.example.com/7"}`,
		`{"orderURL": 7}`:                         `"notesBase64":"eyJvcmRlclVSTCI6IDd9"`,
		"no JSON":                                 `"notesBase64":"bm8gSlNPTg=="`,
	} {
		w := record.Work{Journals: map[string]*record.Journal{"ca": {Notes: []byte(notes)}}}
		if value := encode(t, &w); !bytes.Contains(value, []byte(want)) {
			t.Errorf("%s is written as %s", notes, value)
		}
	}
}

// What says nothing is not written, and costs nothing to read.
func TestEmptyWork(t *testing.T) {
	w, err := record.DecodeWork(nil, "ca")
	if err != nil || w.Journals != nil {
		t.Errorf("%+v, %v", w, err)
	}
	if j := w.Journal("ca"); !j.IsZero() || w.Journal("ca") != j {
		t.Error("the journal is not empty, or not the work's own")
	}
	w.Journals["none"] = nil
	if j := w.Journal("none"); j == nil {
		t.Error("there is no journal")
	}
	w.Journals["none"] = nil
	if value := string(encode(t, &w)); value != `{"version":2}` {
		t.Errorf("it is written as %s", value)
	}
	for _, j := range []record.Journal{{Key: record.Key{Reference: "7"}}, {Notes: []byte("7")}, {Refusals: 1}, {Rotation: 1}, {Interruptions: 1},
		{Failure: record.Failure{Error: "7"}}, {Failure: record.Failure{Next: begin}}, {Failure: record.Failure{Failed: begin}}} {
		if j.IsZero() {
			t.Errorf("%+v is taken for an empty one", j)
		}
	}
}

func TestErrorIsBounded(t *testing.T) {
	const limit = 4 << 10
	for _, text := range []string{strings.Repeat("x", limit), strings.Repeat("x", limit+1), strings.Repeat("é", limit), "x" + strings.Repeat("é", limit),
		"xx" + strings.Repeat("🔒", limit), strings.Repeat("\x80", 2*limit), "x\xff"} {
		failure := record.Failure{Error: text}
		w, err := record.DecodeWork(encode(t, &record.Work{Failure: failure, Journals: map[string]*record.Journal{"ca": {Failure: failure}}}), "other")
		if err != nil {
			t.Fatal(err)
		}
		for _, got := range []string{w.Error, w.Journal("ca").Error} {
			if len(got) > limit || len(got) < min(len(text), limit)-3 && text[len(text)-1] != 0x80 || !utf8.ValidString(got) || !strings.HasPrefix(text, got) {
				t.Errorf("of %d bytes %.10q… %d are kept, %.10q…", len(text), text, len(got), got)
			}
		}
	}
	long := `{"version":1,"error":"` + strings.Repeat("x", limit+1) + `"}`
	if w, err := record.DecodeWork([]byte(long), "ca"); err != nil || len(w.Journal("ca").Error) != limit {
		t.Errorf("%v: %d bytes are read", err, len(w.Journal("ca").Error))
	}
}

// A time that a record can be read with, but not be written with, would keep the work from being written for ever.
func TestTimesOfNoYear(t *testing.T) {
	for _, at := range []string{"9999-12-31T23:59:59-01:00", "0000-01-01T00:00:00+01:00"} {
		w, err := record.DecodeWork([]byte(`{"version":2,"next":"`+at+`","failed":"2026-01-02T04:04:05+01:00"}`), "ca")
		if err != nil || !w.Next.IsZero() || w.Failed != begin {
			t.Errorf("%s is read as %+v, %v", at, w.Failure, err)
		}
		encode(t, &w)
	}
	encode(t, &record.Work{Failure: record.Failure{Next: begin.AddDate(10000, 0, 0)}})
}

func TestWorkRefused(t *testing.T) {
	secret := []byte("c2VjcmV0")
	key := block("PRIVATE KEY", secret)
	quoted := fmt.Sprintf("%q", key)
	many := new(strings.Builder)
	for i := range 65 {
		fmt.Fprintf(many, `%s"i%d":{"refusals":1}`, []string{",", ""}[min(1, 1/(i+1))], i)
	}
	for value, want := range map[string]string{
		"\x00\x1b[31mgarbage":                 "not JSON with a version",
		`{"version":1,"key":"-----BEGIN PRIV`: "not JSON with a version",
		`{"version":"1"}`:                     "not JSON with a version",
		`[]`:                                  "not JSON with a version",
		`{}`:                                  `version "0" is not known`,
		`{"version":3}`:                       `version "3" is not known`,
		`{"version":-1}`:                      `version "-1" is not known`,
		`{"version":1,"notes":{}}`:            "not the JSON of a record of work",
		`{"version":1,"next":"` + strings.Repeat("x", 5000) + `"}`:                       "not the JSON of a record of work",
		`{"version":1,"refusals":-5}`:                                                    "fewer than no failures",
		`{"version":1,"rotation":-5}`:                                                    "fewer than no failures",
		`{"version":1,"interruptions":-5}`:                                               "fewer than no failures",
		`{"version":1,"key":"no PEM"}`:                                                   "its private key: a block of PEM does not begin",
		`{"version":1,"key":` + quoted + `}`:                                             "not PKCS #8",
		`{"version":2,"journals":[]}`:                                                    "not the JSON of a record of work",
		`{"version":2,"attempts":-1}`:                                                    "fewer than no failures",
		`{"version":2,"journals":{"a\u001b":{"refusals":-1}}}`:                           "journal for the issuer a\ufffd: it counts fewer",
		`{"version":2,"journals":{"` + strings.Repeat("a", 5000) + `":{"rotation":-1}}}`: "it counts fewer",
		`{"version":2,"journals":{"a":{"key":` + quoted + `}}}`:                          "not PKCS #8",
		`{"version":2,"journals":{"a":{"key":` + quoted + `,"keyReference":"7"}}}`:       "both a private key and a reference",
		`{"version":2,"journals":{"a":{"notes":7,"notesBase64":"bm8gSlNPTg=="}}}`:        "notes twice",
		`{"version":2,"journals":{` + many.String() + `}}`:                               "more than 64 issuers",
	} {
		w, err := record.DecodeWork([]byte(value), "ca")
		wantRefusal(t, err, want, secret, []byte(key[30:40]))
		if version := new(record.VersionError); errors.As(err, &version) != strings.Contains(want, "is not known") {
			t.Errorf("the error is %#v", err)
		}
		if len(w.Journals) > 0 {
			t.Errorf("%.100s: is refused and read as %v", value, w.Journals)
		}
	}
	sound := fmt.Sprintf("%q", encodedKey(t)+block("PRIVATE KEY", secret))
	_, err := record.DecodeWork([]byte(`{"version":1,"key":`+sound+`}`), "ca")
	wantRefusal(t, err, "more than a private key", secret)
	w := new(record.Work)
	for i := range 65 {
		w.Journal(fmt.Sprint(i)).Refusals = 1
	}
	_, err = w.Encode()
	wantRefusal(t, err, "more than 64 issuers")
	if w, err := record.DecodeWork([]byte(`{"version":2,"journals":{"a":null}}`), "ca"); err != nil || !w.Journal("a").IsZero() {
		t.Errorf("a journal that is null: %v, %v", w, err)
	}
}

// encodedKey returns a key in PEM.
func encodedKey(t *testing.T) string {
	text := string(encode(t, newTestCA(t).record(t, newKey(t), "example.com")))
	return text[strings.Index(text, "-----BEGIN PRIV"):strings.Index(text, "-----BEGIN CERT")]
}

func TestAdopt(t *testing.T) {
	var w record.Work
	w.Journal("first").Refusals = 1
	for _, nothing := range []string{"", `{"version":2,"journals":{"second":{"refusals":7}}}`} {
		if found, err := w.Adopt("second", []byte(nothing)); found || err != nil || len(w.Journals) != 1 {
			t.Errorf("%s: %t, %v, %v", nothing, found, err, w.Journals)
		}
	}
	old := []byte(`{"version":1,"notes":"e30=","refusals":2,"error":"an error"}`)
	for range 2 {
		if found, err := w.Adopt("second", old); !found || err != nil || string(w.Journal("second").Notes) != "{}" || w.Journal("second").Refusals != 2 {
			t.Errorf("%v, %s", err, shown(w))
		}
	}
	w.Journal("second").Refusals = 3
	if found, err := w.Adopt("second", old); !found || err != nil || w.Journal("second").Refusals != 3 {
		t.Errorf("what is under way is replaced by what was before: %v, %s", err, shown(w))
	}
	for value, want := range map[string]string{
		`{"version":3}`:               "is not known",
		`{"version":1,"refusals":-1}`: "fewer than no failures",
		`none`:                        "not JSON",
	} {
		found, err := w.Adopt("third", []byte(value))
		if found {
			t.Errorf("%s is adopted", value)
		}
		wantRefusal(t, err, want)
	}
	if len(w.Journals) != 2 || w.Journal("first").Refusals != 1 {
		t.Errorf("what was refused left %s", shown(w))
	}
}
