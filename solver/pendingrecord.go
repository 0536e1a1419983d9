package solver

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/everseal/everseal/solver/internal/dnsclient"
	"github.com/everseal/everseal/solver/internal/dnsserver"
	"github.com/everseal/everseal/storage"
)

// A pendingRecord is a record that a Responder answers with, as it is stored.
type pendingRecord struct {
	Name    string    `json:"name"` // bare
	Value   string    `json:"value"`
	Created time.Time `json:"created"` // UTC
}

// maxRecordValue bounds the value of a record in bytes, so that several fit into an answer.
const maxRecordValue = 4 << 10

// newPendingRecord returns the record as one that is created now.
func newPendingRecord(r Record) (pendingRecord, error) {
	p := pendingRecord{dnsclient.BareName(r.Name), r.Value, time.Now().UTC()}
	if p.Name == "" {
		return pendingRecord{}, errors.New("solver: Responder: the record has no name")
	}
	if _, err := dnsclient.QuestionName(p.Name); err != nil {
		return pendingRecord{}, fmt.Errorf("solver: Responder: %w", err)
	}
	if p.Value == "" || len(p.Value) > maxRecordValue {
		return pendingRecord{}, fmt.Errorf("solver: Responder: the record %.260q has a value of %d bytes, from 1 to %d are possible", p.Name, len(p.Value), maxRecordValue)
	}
	return p, nil
}

// pendingPrefix is what the keys of pending records begin with.
const pendingPrefix = "challenges/responder"

// key returns the key of the record. Values differ by case, which keys cannot have: hence the digest.
func (p pendingRecord) key() string {
	digest := sha256.Sum256([]byte(p.Name + " " + p.Value))
	return pendingPrefix + "/" + hex.EncodeToString(digest[:])
}

// isAs reports whether two are the same record of a zone.
func (p pendingRecord) isAs(other pendingRecord) bool {
	return p.Name == other.Name && p.Value == other.Value
}

// isAnswer reports whether the record answers one challenge: its value is a digest then (RFC 8555 §8.4).
func (p pendingRecord) isAnswer() bool {
	digest, err := base64.RawURLEncoding.DecodeString(p.Value)
	return err == nil && len(digest) == sha256.Size && p.Name != ""
}

// save stores the record. One that is there already is as if new: its time says that it is not left behind.
func (p pendingRecord) save(ctx context.Context, s storage.Store) error {
	encoded, err := json.Marshal(p)
	if err != nil {
		return err
	}
	_, err = s.Save(ctx, p.key(), encoded, "")
	if errors.Is(err, storage.ErrConflict) {
		_, err = storage.Update(ctx, s, p.key(), func([]byte) ([]byte, error) { return encoded, nil })
	}
	return err
}

// remove deletes the record if it is there.
func (p pendingRecord) remove(ctx context.Context, s storage.Store) error {
	for {
		item, err := s.Load(ctx, p.key())
		if err == nil {
			err = s.Delete(ctx, p.key(), item.Revision)
		}
		switch {
		case err == nil, errors.Is(err, fs.ErrNotExist):
			return nil
		case !errors.Is(err, storage.ErrConflict):
			return err
		}
	}
}

// parsePendingRecord reads one that was stored.
func parsePendingRecord(value []byte) (pendingRecord, error) {
	var p pendingRecord
	if err := json.Unmarshal(value, &p); err != nil {
		return pendingRecord{}, err
	}
	if p.Name == "" || p.Value == "" {
		return pendingRecord{}, errors.New("it has no name or no value")
	}
	return p, nil
}

// scanPending returns all pending records of a store. One that can't be read at all is passed over, as it would be for ever:
// it must not be in the way of the others.
func scanPending(ctx context.Context, s storage.Store) (pending []pendingRecord, err error) {
	for stored, err := range storage.Scan(ctx, s, pendingPrefix, "") {
		if errors.Is(err, storage.ErrSealed) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if p, err := parsePendingRecord(stored.Value); err == nil {
			pending = append(pending, p)
		}
	}
	return pending, nil
}

// answersOf returns the records as they are answered with.
func answersOf(pending ...[]pendingRecord) *dnsserver.Records {
	records := new(dnsserver.Records)
	for _, p := range slices.Concat(pending...) {
		records.Add(p.Name, p.Value)
	}
	return records
}
