package storage

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
)

// A SealingKey is a key of a [Sealed].
type SealingKey struct {
	ID     string // stands in the records: 1 to 64 letters, digits, "-", "." and "_"
	Secret []byte // 32 bytes, for AES-256; never shown
}

// String returns the key's ID.
func (k SealingKey) String() string { return k.ID }

// GoString names the key without its secret.
func (k SealingKey) GoString() string { return fmt.Sprintf("storage.SealingKey{ID:%q}", k.ID) }

// LogValue returns the key's ID.
func (k SealingKey) LogValue() slog.Value { return slog.StringValue(k.ID) }

// MarshalJSON fails: a key is not to be written with what it is found in.
func (k SealingKey) MarshalJSON() ([]byte, error) {
	return nil, errors.New("storage: a SealingKey is not written as JSON")
}

// A KeyFunc returns the key with the ID, or, for an empty ID, the one to seal with. It is called for each record, and
// concurrently: one that asks a key management service keeps what it got.
type KeyFunc func(ctx context.Context, id string) (SealingKey, error)

// SealingKeys returns the keys made of secrets of 32 random bytes: the first seals, all open. To rotate, put a new one
// in front on all machines once all of them have it at the end; after [Sealed].Rekey the old one can go. A key's ID
// is the beginning of a hash of it. Secrets of another length, and none, are errors.
func SealingKeys(secrets ...[]byte) (KeyFunc, error) {
	if len(secrets) == 0 {
		return nil, errors.New("storage: no sealing key is given: make one of 32 random bytes, and keep it apart from the storage")
	}
	keys := make([]SealingKey, len(secrets))
	for i, secret := range secrets {
		if len(secret) != 32 {
			return nil, fmt.Errorf("storage: sealing key %d has %d bytes, it needs 32 random ones (not a password)", i+1, len(secret))
		}
		sum := sha256.Sum256(append([]byte("everseal sealing key\n"), secret...))
		keys[i] = SealingKey{ID: hex.EncodeToString(sum[:8]), Secret: slices.Clone(secret)}
	}
	return func(_ context.Context, id string) (SealingKey, error) {
		for _, key := range keys {
			if id == "" || id == key.ID {
				return key, nil
			}
		}
		return SealingKey{}, fmt.Errorf("it is none of the %d keys given, the first of which is %s", len(keys), keys[0].ID)
	}, nil
}

func isKeyID(id string) bool {
	const bytes = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._"
	return id != "" && len(id) <= 64 && strings.Trim(id, bytes) == ""
}
