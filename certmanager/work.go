package certmanager

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
)

// A work is what is kept of the work on one certificate: a journal for each issuer of the chain. It is the value of the
// work's lease, so that only the lease's holder changes it and whoever takes over finds it.
type work struct {
	Version  int                 `json:"version"`
	Journals map[string]*journal `json:"journals"` // by Issuer.ID

	stored []byte // as it is in the storage, if it is not known to be otherwise
}

const workVersion = 2

// decodeWork reads a stored record; nil is an empty one. That of version 1 was a journal, of the first issuer.
func decodeWork(data []byte, first string) (work, error) {
	w := work{Version: workVersion, Journals: make(map[string]*journal), stored: data}
	if len(data) == 0 {
		return w, nil
	}
	var version struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(data, &version); err != nil {
		return w, errors.New("it is not the JSON of a work record")
	}
	var err error
	switch version.Version {
	case 1:
		err = json.Unmarshal(data, w.journal(first))
	case workVersion:
		err = json.Unmarshal(data, &w)
	default:
		err = fmt.Errorf("its version %d is not known here", version.Version)
	}
	for _, j := range w.Journals {
		if err == nil && (j == nil || j.Refusals < 0 || j.Interruptions < 0 || j.Rotation < 0) {
			err = errors.New("it counts fewer than no failures")
		}
	}
	if err != nil {
		empty, _ := decodeWork(nil, first)
		empty.stored = data
		return empty, err
	}
	return w, nil
}

// journal returns the issuer's, and makes one if there is none.
func (w *work) journal(issuer string) *journal {
	j := w.Journals[issuer]
	if j == nil {
		j = new(journal)
		w.Journals[issuer] = j
	}
	return j
}

// done forgets the work with an issuer that has issued.
func (w *work) done(issuer string) { delete(w.Journals, issuer) }

// encode returns the record as it is stored; nil if there is nothing to be kept.
func (w *work) encode() ([]byte, error) {
	maps.DeleteFunc(w.Journals, func(_ string, j *journal) bool { return j.isEmpty() })
	if len(w.Journals) == 0 {
		return nil, nil
	}
	return json.Marshal(w)
}

// recall takes over what this process remembers of attempts that the storage did not take. If the record has changed
// since, another process went on from what was stored: of the remembered, the longer pauses count.
func (w *work) recall(remembered work) {
	if bytes.Equal(w.stored, remembered.stored) {
		w.Journals = remembered.Journals
		return
	}
	for issuer, old := range remembered.Journals {
		j := w.journal(issuer)
		if old.Next.After(j.Next) && old.Failed.After(j.Failed) {
			j.Next, j.Failed, j.Error = old.Next, old.Failed, old.Error
			j.Refusals, j.Interruptions = max(j.Refusals, old.Refusals), max(j.Interruptions, old.Interruptions)
		}
	}
}

// readWork finds how far the work came.
func (a *attempt) readWork(ctx context.Context) error {
	value, first := a.lease.Value(), a.issuers[0].ID()
	w, err := decodeWork(value, first)
	if err != nil {
		e := a.entry
		if err := a.setAside(ctx, workKey(a.issuers[0], &e.subject), value, Event{Names: e.names(), Issuer: first, Err: err}); err != nil {
			return err
		}
	}
	if remembered, ok := a.entry.remembered(); ok {
		w.recall(remembered)
	}
	for issuer, j := range w.Journals {
		if j.isFor(a.stored[issuer]) { // a process was killed after it had stored the certificate
			w.done(issuer)
		}
	}
	a.work = w
	return nil
}

// saveWork stores how far the work came. What the storage does not take is remembered here.
func (a *attempt) saveWork(ctx context.Context) error {
	value, err := a.work.encode()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	err = persist(ctx, func() error { return a.lease.Save(ctx, value) })
	if err == nil {
		a.work.stored = value
	}
	a.entry.remember(a.work, err)
	return err
}
