package certmanager

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/storage"
)

// accountRecord is the account as it is stored: the key first, then, once registered, the URL. So any
// number of processes that start at once make one account.
type accountRecord struct {
	Version   int    `json:"version"`
	Directory string `json:"directory"`
	Key       string `json:"key"`           // PEM
	URL       string `json:"url,omitempty"` // empty until registered
}

// accountKey is the storage key of the account's record. An account bound to an external one is another
// account.
func (a *ACME) accountKey() string {
	if a.ExternalAccount == nil {
		return "accounts/" + a.ID() + "/default"
	}
	sum := sha256.Sum256([]byte(a.ExternalAccount.KeyID))
	return "accounts/" + a.ID() + "/external-" + hex.EncodeToString(sum[:8])
}

// registration is what a new account is made with.
func (a *ACME) registration() acme.Registration {
	r := acme.Registration{AgreeToTerms: a.AgreeToTerms, ExternalAccount: a.ExternalAccount}
	if a.Email != "" {
		r.Contact = []string{"mailto:" + a.Email}
	}
	return r
}

// deactivated says of an account that the CA does not take what to do about it.
func (a *ACME) deactivated(err error) error {
	return fmt.Errorf("%w: if the account was deactivated, delete the stored record %s: another account is made then, at the next attempt",
		err, a.accountKey())
}

// loadAccount returns the stored account. If there is none, it makes the key and stores it, unless
// another process is faster.
func (a *ACME) loadAccount(ctx context.Context, s storage.Store) (accountRecord, error) {
	item, err := s.Load(ctx, a.accountKey())
	if errors.Is(err, fs.ErrNotExist) {
		fresh, err := a.newAccount(ctx, s)
		if !errors.Is(err, storage.ErrConflict) {
			return fresh, err
		}
		item, err = s.Load(ctx, a.accountKey())
		if err != nil {
			return accountRecord{}, err
		}
	} else if err != nil {
		return accountRecord{}, err
	}
	var rec accountRecord
	if json.Unmarshal(item.Value, &rec) != nil || rec.Version != 1 {
		return rec, fmt.Errorf("the stored record %s can't be read: restore it, or delete it to make a new account", a.accountKey())
	}
	return rec, nil
}

// newAccount makes an account's key and stores it. The error is storage.ErrConflict if another process was faster.
func (a *ACME) newAccount(ctx context.Context, s storage.Store) (accountRecord, error) {
	rec := accountRecord{Version: 1, Directory: a.directoryURL()}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return rec, err
	}
	if rec.Key, err = encodeKey(key); err != nil {
		return rec, err
	}
	value, err := json.Marshal(rec)
	if err != nil {
		return rec, err
	}
	if _, err = s.Save(ctx, a.accountKey(), value, ""); err != nil {
		return rec, fmt.Errorf("store its key: %w", err)
	}
	return rec, nil
}

// saveAccount stores the URL of the account.
func (a *ACME) saveAccount(ctx context.Context, s storage.Store, rec accountRecord) error {
	_, err := storage.Update(ctx, s, a.accountKey(), func(old []byte) ([]byte, error) {
		var current accountRecord
		if json.Unmarshal(old, &current) == nil && current.Key != rec.Key {
			return nil, errors.New("its key was replaced meanwhile")
		}
		return json.Marshal(rec)
	})
	if err != nil {
		return fmt.Errorf("store its URL: %w", err)
	}
	return nil
}
