package record

import (
	"encoding/json"
	"errors"
	"fmt"
)

// maxJournals bounds the issuers of one record.
const maxJournals = 64

var (
	errNoWork = errors.New("it is not the JSON of a record of work, or a member of it has the wrong type")
	errCount  = fmt.Errorf("it has journals for more than %d issuers", maxJournals)
)

// Work is what is kept of the work on one certificate. It is the value of the work's lease, so that only the lease's
// holder changes it, and whoever takes over finds it. The zero value says that there is nothing under way.
type Work struct {
	Journals map[string]*Journal // by Issuer.ID, of the chain of issuers

	// Attempts that failed since the last certificate by none of the issuers' fault, and the last of them.
	Attempts int
	Failure

	Plan    Plan       // when the certificate that is served is to be renewed by its issuer's word
	Absence Absence    // of a name that was wanted on demand
	Unused  UnusedKeys // of certificates that were replaced, and of orders that were lost
}

// Journal returns the journal for the issuer: an empty one, which it adds, if there is none.
func (w *Work) Journal(issuer string) *Journal {
	j := w.Journals[issuer]
	if j == nil {
		j = new(Journal)
		if w.Journals == nil {
			w.Journals = make(map[string]*Journal)
		}
		w.Journals[issuer] = j
	}
	return j
}

// HasBegun reports whether the issuer has left notes on an issuance under way.
func (w *Work) HasBegun(issuer string) bool {
	j := w.Journals[issuer]
	return j != nil && len(j.Notes) > 0
}

// Done forgets the work with an issuer that has issued.
func (w *Work) Done(issuer string) {
	delete(w.Journals, issuer)
	w.Attempts, w.Failure, w.Absence = 0, Failure{}, Absence{}
	w.Plan = Plan{}
}

// storedWork is version 2 of the record.
type storedWork struct {
	Version  int `json:"version"`
	Attempts int `json:"attempts,omitempty"`
	Failure
	Plan     Plan                     `json:"plan,omitzero"`
	Absence  Absence                  `json:"absence,omitzero"`
	Journals map[string]storedJournal `json:"journals,omitempty"`
	Unused   UnusedKeys               `json:"unusedKeys,omitempty"`
}

// Encode returns the record as it is stored, of version 2. Journals that say nothing are left out.
func (w *Work) Encode() ([]byte, error) {
	stored := storedWork{Version: 2, Attempts: w.Attempts, Failure: w.Failure.bounded(), Plan: w.Plan.bounded(), Absence: w.Absence.bounded(),
		Journals: make(map[string]storedJournal), Unused: w.Unused.bounded()}
	for issuer, j := range w.Journals {
		if j == nil || j.IsZero() {
			continue
		}
		s, err := j.store()
		if err != nil {
			return nil, err
		}
		stored.Journals[issuer] = s
	}
	if len(stored.Journals) > maxJournals {
		return nil, errCount
	}
	return json.Marshal(stored)
}

// DecodeWork reads the value of the lease at the work's key. An empty one is that of work not begun. Version 1 knows one
// issuer, whose own key it was at: it becomes the journal of the first.
func DecodeWork(data []byte, firstIssuer string) (Work, error) {
	if len(data) == 0 {
		return Work{}, nil
	}
	var stored storedWork
	if json.Unmarshal(data, &stored) == nil && stored.Version == 2 {
		return stored.work()
	}
	version, err := versionOf(data)
	if err != nil {
		return Work{}, err
	}
	if version == 2 {
		return Work{}, errNoWork
	}
	j, err := decodeJournal1(data)
	if err != nil {
		return Work{}, err
	}
	return Work{Journals: map[string]*Journal{firstIssuer: j}}, nil
}

// work returns what is stored.
func (stored *storedWork) work() (Work, error) {
	if len(stored.Journals) > maxJournals {
		return Work{}, errCount
	}
	if err := checkCounts(stored.Attempts); err != nil {
		return Work{}, err
	}
	w := Work{Attempts: stored.Attempts, Failure: stored.Failure.bounded(), Plan: stored.Plan.bounded(), Absence: stored.Absence.bounded(), Unused: stored.Unused.bounded()}
	for issuer, s := range stored.Journals {
		j, err := s.load()
		if err != nil {
			return Work{}, fmt.Errorf("its journal for the issuer %s: %w", printable(issuer, 100), err)
		}
		*w.Journal(issuer) = *j
	}
	return w, nil
}

// Adopt takes over what version 1 has at the key of another issuer than the first, and reports whether there was anything. What
// w has for that issuer already stays, so that it can be done twice. A later version is that of the work of another chain of
// issuers, which begins with this one: it is left alone.
func (w *Work) Adopt(issuer string, data []byte) (found bool, err error) {
	if len(data) == 0 {
		return false, nil
	}
	if version, err := versionOf(data); err != nil || version != 1 {
		return false, err
	}
	j, err := decodeJournal1(data)
	if err != nil {
		return false, err
	}
	if w.Journal(issuer).IsZero() {
		*w.Journal(issuer) = *j
	}
	return true, nil
}
