package acme

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestReadTime(t *testing.T) {
	noon := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		`"2026-01-02T12:00:00Z"`:      noon,
		`"2026-01-02T12:00:00z"`:      noon,
		`"2026-01-02t12:00:00z"`:      noon,
		`"2026-01-02T14:00:00+02:00"`: noon,
		`"2026-01-02t12:00:00-00:00"`: noon,
		`"2026-01-02T12:00:00.5Z"`:    noon.Add(time.Second / 2),
		`"2026-01-02T12:00:00"`:       noon,
		`"2026-01-02T12:00:00.5"`:     noon.Add(time.Second / 2),
		`"2026-01-02 12:00:00Z"`:      noon,
		`" 2026-01-02T12:00:00Z\n"`:   noon,
		`"2026-01-03T12:59:00+24:59"`: noon,
		`"9999-12-31T23:00:00-02:00"`: {},
		`"0001-01-01T01:00:00+02:00"`: {},
		`""`:                          {},
		``:                            {},
		`null`:                        {},
		`1767355200`:                  {},
		`["2026-01-02T12:00:00Z"]`:    {},
		`{}`:                          {},
		`"2026-01-02"`:                {},
		`"2026-13-02T12:00:00Z"`:      {},
		`"20260-01-02T12:00:00Z"`:     {},
		`"noon"`:                      {},
		`"2026-01-02T12:00:00.` + strings.Repeat("0", 1<<20) + `Z"`: {},
	} {
		if got := readTime(json.RawMessage(text)); !got.Equal(want) || got.IsZero() != want.IsZero() {
			t.Errorf("%.60s is %v, want %v", text, got, want)
		} else if _, err := json.Marshal(got); err != nil {
			t.Errorf("%.60s can't be written again: %v", text, err)
		}
	}
}

func TestLooseBool(t *testing.T) {
	for text, want := range map[string]bool{
		`true`: true, `"true"`: true, `"True"`: true,
		`false`: false, `"false"`: false, `null`: false, `1`: false, `""`: false, `["true"]`: false, `{}`: false,
	} {
		var got looseBool
		if err := json.Unmarshal([]byte(text), &got); err != nil || bool(got) != want {
			t.Errorf("%s is %t, want %t; error %v", text, got, want, err)
		}
	}
}
