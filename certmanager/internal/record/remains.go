package record

import (
	"bytes"
	"encoding/json"
	"time"
)

// SaysNothing reports whether the value of the lease at a work's key, of a version known here, has nothing that who takes over
// the work would need. A member that is not known here says something.
func SaysNothing(data []byte) bool {
	if len(data) == 0 {
		return true
	}
	if _, err := versionOf(data); err != nil {
		return false
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(data, &members) != nil {
		return false
	}
	for name, value := range members {
		switch {
		case name == "version":
		case !isEmpty(value):
			return false
		}
	}
	return true
}

// isEmpty reports whether a value of JSON is as a zero one of Go is written.
func isEmpty(value json.RawMessage) bool {
	switch string(bytes.TrimSpace(value)) {
	case `""`, "null", "0", "false", "{}", "[]":
		return true
	}
	return false
}

// LatestTime returns the latest of all times that a record of JSON has, in whatever member: until then whoever wrote it was at
// work, or wanted to be. Zero: it has none.
func LatestTime(data []byte) time.Time {
	var value any
	if json.Unmarshal(data, &value) != nil {
		return time.Time{}
	}
	return latest(value)
}

func latest(value any) (last time.Time) {
	later := func(t time.Time) {
		if t.After(last) {
			last = t
		}
	}
	switch v := value.(type) {
	case string:
		if t, err := time.Parse(time.RFC3339, v); err == nil {
			later(t)
		}
	case []any:
		for _, member := range v {
			later(latest(member))
		}
	case map[string]any:
		for _, member := range v {
			later(latest(member))
		}
	}
	return last
}
