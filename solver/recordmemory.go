package solver

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/everseal/everseal/solver/internal/escape"
	"github.com/everseal/everseal/storage"
)

// A recordMemory remembers in a store which records were created for the challenges at one name: those of
// all orders side by side, and more than one for a value if the name's CNAME or zone changed between two
// attempts.
type recordMemory struct {
	store storage.Store
	key   string
}

// A createdRecord is a record that was created, or was about to be.
type createdRecord struct {
	Record
	Created time.Time `json:"created"` // UTC
}

// storedRecords is what is stored.
type storedRecords struct {
	Records []createdRecord `json:"records"`
}

// leftBehindPeriod is when a record counts as left behind, by a process that was killed or a provider that
// failed: no CA keeps an authorization pending for longer.
const leftBehindPeriod = 7 * 24 * time.Hour

// memoryOf returns the memory of what was created for challenges at a name.
func memoryOf(s storage.Store, name string) recordMemory {
	digest := sha256.Sum256([]byte(name))
	return recordMemory{s, "challenges/dns-01/" + hex.EncodeToString(digest[:])}
}

// during notes a record, has it created, and forgets it if it was not; one that was noted before may be there since then.
func (m recordMemory) during(ctx context.Context, r Record, create func(context.Context, Record) error) error {
	note, known, err := m.add(ctx, r)
	if err != nil {
		return fmt.Errorf("remember the TXT record %.260q before it is created: %w", r.Name, err)
	}
	err = create(ctx, r)
	if errors.Is(err, ErrNotCreated) && !known {
		_ = m.change(ctx, func(records []createdRecord) []createdRecord { // otherwise it is deleted
			return slices.DeleteFunc(records, note.isAs)
		})
	}
	return err
}

// add notes that a record is about to be created, and reports whether it was known.
func (m recordMemory) add(ctx context.Context, r Record) (note createdRecord, known bool, err error) {
	note = createdRecord{r, time.Now().UTC()}
	err = m.change(ctx, func(records []createdRecord) []createdRecord {
		count := len(records)
		records = slices.DeleteFunc(records, func(other createdRecord) bool {
			return other.Zone == r.Zone && other.Name == r.Name && other.Value == r.Value
		})
		known = len(records) < count
		return append(records, note)
	})
	return note, known, err
}

// isAs reports whether both are one note, and not one of a record that was presented anew.
func (r createdRecord) isAs(other createdRecord) bool {
	return r.Record == other.Record && r.Created.Equal(other.Created)
}

// clear has the records deleted that have the value, and those left behind, and then the memory of them.
// One that could not be deleted stays remembered; it will count as left behind.
func (m recordMemory) clear(ctx context.Context, value string, deleteRecord func(context.Context, Record) error) error {
	records, _, err := m.load(ctx)
	if err != nil {
		return fmt.Errorf("read which TXT records were created: %w", err)
	}
	var failed escape.Errors
	var deleted []createdRecord
	for _, r := range records {
		if r.Value != value && time.Since(r.Created) < leftBehindPeriod {
			continue
		}
		if err := deleteRecord(ctx, r.Record); err != nil {
			failed = append(failed, fmt.Errorf("delete the TXT record %.260q from the zone %.260q: %w", r.Name, r.Zone, escape.Error(inner{err})))
			continue
		}
		deleted = append(deleted, r)
	}
	if len(deleted) > 0 {
		err = m.change(ctx, func(records []createdRecord) []createdRecord {
			// One presented anew meanwhile has another time, and is its presenter's to delete.
			return slices.DeleteFunc(records, func(r createdRecord) bool { return slices.Contains(deleted, r) })
		})
		if err != nil {
			failed = append(failed, fmt.Errorf("forget which TXT records were created: %w", err))
		}
	}
	if len(failed) > 0 {
		return failed
	}
	return nil
}

// change stores what f makes of the records, by compare-and-swap; if none are left, nothing is stored.
func (m recordMemory) change(ctx context.Context, f func([]createdRecord) []createdRecord) error {
	for {
		records, revision, err := m.load(ctx)
		if err != nil {
			return err
		}
		if records = f(records); len(records) > 0 {
			var value []byte
			if value, err = json.Marshal(storedRecords{records}); err == nil {
				_, err = m.store.Save(ctx, m.key, value, revision)
			}
		} else if revision != "" {
			err = m.store.Delete(ctx, m.key, revision)
		}
		if !errors.Is(err, storage.ErrConflict) {
			return err
		}
	}
}

// load returns the records, of which there may be none.
func (m recordMemory) load(ctx context.Context) ([]createdRecord, storage.Revision, error) {
	item, err := m.store.Load(ctx, m.key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", err
	}
	var stored storedRecords
	if err := json.Unmarshal(item.Value, &stored); err != nil {
		return nil, "", fmt.Errorf("%s in the storage can't be read; delete it, and then by hand the TXT records that are no longer needed: %w", m.key, err)
	}
	return stored.Records, item.Revision, nil
}
