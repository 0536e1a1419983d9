package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
)

// A Journal is what is kept of the work on one certificate with one issuer: how far the issuance under way came, and
// what failed before.
type Journal struct {
	Key           Key    // of the certificate under way; zero: there is none
	Notes         []byte // the issuer's (Request.Journal); empty: none
	Refusals      int    // failures by the CA's word since the last certificate
	Rotation      int    // failures to prove control since the last certificate
	Interruptions int    // other failures since the last certificate or refusal
	Failure
}

// IsZero reports whether the journal says nothing.
func (j *Journal) IsZero() bool {
	return j.Key.IsZero() && len(j.Notes) == 0 && j.counts() == counts{} && j.Failure == Failure{}
}

func (j *Journal) counts() counts { return counts{j.Refusals, j.Rotation, j.Interruptions} }

type counts struct {
	Refusals      int `json:"refusals,omitempty"`
	Rotation      int `json:"rotation,omitempty"`
	Interruptions int `json:"interruptions,omitempty"`
}

func (c counts) check() error { return checkCounts(c.Refusals, c.Rotation, c.Interruptions) }

func checkCounts(all ...int) error {
	if slices.Min(all) < 0 {
		return errors.New("it counts fewer than no failures")
	}
	return nil
}

// A storedJournal is the journal as version 2 of the work's record has it. It has the notes as JSON, if they are that
// and stay the same byte for byte.
type storedJournal struct {
	storedKey
	Notes  json.RawMessage `json:"notes,omitempty"`
	Opaque []byte          `json:"notesBase64,omitempty"`
	counts
	Failure
}

func (j *Journal) store() (storedJournal, error) {
	key, err := j.Key.store()
	stored := storedJournal{storedKey: key, counts: j.counts(), Failure: j.bounded()}
	if isCompactJSON(j.Notes) {
		stored.Notes = j.Notes
	} else {
		stored.Opaque = j.Notes
	}
	return stored, err
}

func (s *storedJournal) load() (*Journal, error) {
	key, err := s.storedKey.load()
	switch {
	case err != nil:
		return nil, err
	case len(s.Notes) > 0 && len(s.Opaque) > 0:
		return nil, errors.New("it has the issuer's notes twice")
	}
	j := &Journal{key, slices.Concat(s.Notes, s.Opaque), s.Refusals, s.Rotation, s.Interruptions, s.bounded()}
	return j, s.check()
}

// isCompactJSON reports whether the text is JSON that package json writes into other JSON as it is, and finds there
// again: nested as deep as in a record, it must not be too deep.
func isCompactJSON(text []byte) bool {
	written, err := json.Marshal(json.RawMessage(text))
	return err == nil && bytes.Equal(written, text) && json.Valid(slices.Concat([]byte("[[["), text, []byte("]]]")))
}

// A journal1 is the record of the work with one issuer of version 1.
type journal1 struct {
	Version int    `json:"version"`
	Key     string `json:"key"`
	Notes   []byte `json:"notes"`
	counts
	Failure
}

// decodeJournal1 reads the value of a lease of version 1.
func decodeJournal1(data []byte) (*Journal, error) {
	var s journal1
	if json.Unmarshal(data, &s) != nil {
		return nil, errNoWork
	}
	key, err := storedKey{PEM: s.Key}.load()
	if err != nil {
		return nil, err
	}
	return &Journal{key, s.Notes, s.Refusals, s.Rotation, s.Interruptions, s.bounded()}, s.check()
}
