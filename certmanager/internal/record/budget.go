package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// A Budget is what is kept of how often a CA was asked for something lately: a bucket of tokens, of which only the time is
// known at which it is full again.
type Budget struct {
	Full      time.Time // when it is full again, UTC
	Since     time.Time // since when it is not, UTC
	Corrected time.Time // when the CA said last that it is empty, UTC; zero: never
}

// storedBudget is version 1 of the record.
type storedBudget struct {
	Version   int       `json:"version"`
	Full      time.Time `json:"full,omitzero"`
	Since     time.Time `json:"since,omitzero"`
	Corrected time.Time `json:"corrected,omitzero"`
}

// BudgetPrefix is the prefix that lists the budgets.
const BudgetPrefix = "budgets"

// BudgetKey returns the storage key of what is counted by the account whose record is at the key, and of what:
// "budgets/<issuer>/<account>/<which>/<what>", or without the last part if that is empty.
func BudgetKey(accountKey, which, what string) string {
	key := BudgetPrefix + strings.TrimPrefix(accountKey, "accounts") + "/" + which
	if what != "" {
		key += "/" + what
	}
	return key
}

// SetName returns the part of a budget's key that stands for exactly these names, in any order: a hash.
func SetName(names []string) string { return shortHash([]byte(strings.Join(sortedNames(names), " "))) }

// Encode returns the record as it is stored.
func (b *Budget) Encode() ([]byte, error) {
	return json.Marshal(storedBudget{1, utc(b.Full), utc(b.Since), utc(b.Corrected)})
}

// DecodeBudget reads a stored record.
func DecodeBudget(data []byte) (Budget, error) {
	version, err := versionOf(data)
	if err != nil {
		return Budget{}, err
	}
	var s storedBudget
	switch {
	case version != 1:
		return Budget{}, &VersionError{fmt.Sprint(version)}
	case json.Unmarshal(data, &s) != nil:
		return Budget{}, errors.New("it is not the JSON of a budget, or a member of it has the wrong type")
	}
	return Budget{utc(s.Full), utc(s.Since), utc(s.Corrected)}, nil
}

// IsSpareBudget reports whether the value at the key is a budget that is of no more use to anybody: its bucket has been full
// for an hour, so that it is by every clock of a fleet. It may be deleted, with the revision that it was read with.
func IsSpareBudget(key string, value []byte, now time.Time) bool {
	if !strings.HasPrefix(key, BudgetPrefix+"/") {
		return false
	}
	b, err := DecodeBudget(value)
	return err == nil && b.Full.Add(time.Hour).Before(now)
}
