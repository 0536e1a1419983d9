package storage

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"
)

// A Sealed is a [Store] that encrypts values before another store gets them, with AES-256-GCM: who reads or copies
// that store learns keys, sizes and times, but no private key. A value is bound to its key, so that nobody can put
// one record in another's place; that an old value is put back in its own place can't be seen.
//
// Watch, Scan and the owners of leases are those of the store around which it is. The fields are not changed after
// the first use.
//
// A record that was stored before there was a Sealed is refused by Load; [Sealed].Rekey seals it.
type Sealed struct {
	Store Store
	Keys  KeyFunc // see SealingKeys

	mu    sync.Mutex
	aeads map[string]cipher.AEAD // by the key's ID; guarded by mu
}

// ErrSealed reports a record that a [Sealed] can't open: its key is missing or wrong, or the record was
// changed, moved from another key, or never sealed.
var ErrSealed = errors.New("storage: the record can't be opened")

// The form of a sealed record: a line of text, then nonce and ciphertext. The line and the record's key are the
// associated data.
//
//	everseal-sealed 1 <key ID>
const (
	sealedName    = "everseal-sealed "
	sealedVersion = "1"
	nonceSize     = 12
	sealedExtra   = 256 // bytes that a sealed value may be longer: more than header, nonce and tag
)

// sealedHeader returns the line that a record sealed with the key begins with.
func sealedHeader(keyID string) string { return sealedName + sealedVersion + " " + keyID + "\n" }

// associatedData returns what a sealed record is bound to.
func associatedData(header, key string) []byte { return []byte(header + key) }

// Unwrap returns the store that has the sealed records.
func (s *Sealed) Unwrap() Store { return s.Store }

// Load opens what is stored under key; see [Store]. The error for what can't be opened wraps [ErrSealed].
func (s *Sealed) Load(ctx context.Context, key string) (Item, error) {
	if err := s.check(); err != nil {
		return Item{}, err
	}
	item, err := s.Store.Load(ctx, key)
	if err != nil {
		return Item{}, err
	}
	return s.opened(ctx, key, item)
}

// Save seals value and stores it; see [Store].
func (s *Sealed) Save(ctx context.Context, key string, value []byte, old Revision) (Revision, error) {
	if err := s.check(); err != nil {
		return "", err
	}
	if err := admitPlain(ctx, key, value); err != nil {
		return "", err
	}
	current, err := s.current(ctx, key)
	if err != nil {
		return "", err
	}
	sealed, err := s.seal(current, key, value)
	if err != nil {
		return "", err
	}
	return s.Store.Save(ctx, key, sealed, old)
}

// Delete removes key if the stored revision is old; see [Store].
func (s *Sealed) Delete(ctx context.Context, key string, old Revision) error {
	if err := s.check(); err != nil {
		return err
	}
	return s.Store.Delete(ctx, key, old)
}

// List yields the keys that are prefix or lie below it, also of records that can't be opened; see [Store].
func (s *Sealed) List(ctx context.Context, prefix string) iter.Seq2[string, error] {
	if err := s.check(); err != nil {
		return func(yield func(string, error) bool) { yield("", err) }
	}
	return s.Store.List(ctx, prefix)
}

// Scan opens the records that are prefix or lie below it; see [Scanner]. One that can't be opened comes with an
// error that wraps [ErrSealed].
func (s *Sealed) Scan(ctx context.Context, prefix, cursor string) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		if err := s.check(); err != nil {
			yield(Record{}, err)
			return
		}
		for record, err := range Scan(ctx, s.Store, prefix, cursor) {
			if err == nil {
				record.Item, err = s.opened(ctx, record.Key, record.Item)
			}
			if !yield(record, err) {
				return
			}
		}
	}
}

func (s *Sealed) check() error {
	switch {
	case s.Store == nil:
		return fmt.Errorf("storage: Sealed.Store: %w", inner{errNoStore})
	case s.Keys == nil:
		return errors.New("storage: Sealed.Keys is nil: see SealingKeys")
	}
	return nil
}

// current returns the key that seals now, for the record of a key.
func (s *Sealed) current(ctx context.Context, key string) (SealingKey, error) {
	current, err := s.Keys(ctx, "")
	if err != nil {
		return SealingKey{}, fmt.Errorf("storage: the key to seal %q with: %w", key, err)
	}
	return current, nil
}

// seal returns the value of a record sealed.
func (s *Sealed) seal(with SealingKey, key string, value []byte) ([]byte, error) {
	aead, err := s.aead(with)
	if err != nil {
		return nil, fmt.Errorf("storage: the key to seal %q with: %w", key, err)
	}
	header := sealedHeader(with.ID)
	sealed := make([]byte, len(header)+nonceSize, len(header)+nonceSize+len(value)+aead.Overhead())
	copy(sealed, header)
	nonce := sealed[len(header):]
	_, _ = rand.Read(nonce) // it does not fail
	return aead.Seal(sealed, nonce, value, associatedData(header, key)), nil
}

// opened returns the item with its value opened.
func (s *Sealed) opened(ctx context.Context, key string, item Item) (Item, error) {
	line, rest, _ := bytes.Cut(item.Value, []byte("\n"))
	keyID, ok := strings.CutPrefix(string(line[:min(len(line), 200)]), sealedName+sealedVersion+" ")
	switch {
	case !bytes.HasPrefix(line, []byte(sealedName)):
		return Item{}, fmt.Errorf("%w: %q is not sealed: Sealed.Rekey seals what was stored before", ErrSealed, key)
	case !ok:
		return Item{}, fmt.Errorf("%w: %q is sealed in a form that a newer version of this library may know", ErrSealed, key)
	case !isKeyID(keyID) || len(rest) < nonceSize:
		return Item{}, fmt.Errorf("%w: %q is damaged", ErrSealed, key)
	}
	sealing, err := s.Keys(ctx, keyID)
	if err != nil {
		return Item{}, fmt.Errorf("%w: %q is sealed with the key %s: %w", ErrSealed, key, keyID, err)
	}
	if sealing.ID != keyID {
		return Item{}, fmt.Errorf("%w: %q is sealed with the key %s, Sealed.Keys has %q instead", ErrSealed, key, keyID, sealing.ID)
	}
	aead, err := s.aead(sealing)
	if err != nil {
		return Item{}, fmt.Errorf("%w: %q is sealed with the key %s: %w", ErrSealed, key, keyID, err)
	}
	value, err := aead.Open(nil, rest[:nonceSize], rest[nonceSize:], associatedData(sealedHeader(keyID), key))
	if err != nil {
		return Item{}, fmt.Errorf("%w: %q: the key %s is another one than it was sealed with, or the record was changed or moved", ErrSealed, key, keyID)
	}
	return Item{Value: value, Revision: item.Revision}, nil
}

// aead returns the cipher for the key, which is made once.
func (s *Sealed) aead(key SealingKey) (cipher.AEAD, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if aead := s.aeads[key.ID]; aead != nil {
		return aead, nil
	}
	if !isKeyID(key.ID) {
		return nil, fmt.Errorf("the key's ID %.80q is not made of 1 to 64 letters, digits, \"-\", \".\" and \"_\"", key.ID)
	}
	if len(key.Secret) != 32 {
		return nil, fmt.Errorf("the key %s has %d bytes, AES-256 needs 32", key.ID, len(key.Secret))
	}
	block, err := aes.NewCipher(key.Secret)
	if err != nil {
		return nil, fmt.Errorf("the key %s: %w", key.ID, err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("the key %s: %w", key.ID, err)
	}
	if s.aeads == nil {
		s.aeads = make(map[string]cipher.AEAD)
	}
	s.aeads[key.ID] = aead
	return aead, nil
}
