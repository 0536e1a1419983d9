package certmanager

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager/internal/record"
	"github.com/everseal/everseal/storage"
)

// accountKey is the storage key of the account's record.
func (a *ACME) accountKey() string {
	if a.ExternalAccount == nil {
		return record.AccountKey(a.ID(), "")
	}
	return record.AccountKey(a.ID(), a.ExternalAccount.KeyID)
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
func (a *ACME) loadAccount(ctx context.Context, s storage.Store) (record.Account, error) {
	item, err := s.Load(ctx, a.accountKey())
	if errors.Is(err, fs.ErrNotExist) {
		fresh, err := a.newAccount(ctx, s)
		if !errors.Is(err, storage.ErrConflict) {
			return fresh, err
		}
		item, err = s.Load(ctx, a.accountKey())
		if err != nil {
			return record.Account{}, err
		}
	} else if err != nil {
		return record.Account{}, err
	}
	rec, err := record.DecodeAccount(item.Value)
	if err == nil && rec.Key.Signer == nil {
		err = errors.New("its key is kept elsewhere, where this manager can't use it")
	}
	if err != nil {
		return rec, fmt.Errorf("the stored record %s can't be read: restore it, or delete it to make a new account: %w", a.accountKey(), err)
	}
	return rec, nil
}

// newAccount makes an account's key and stores it. The error is storage.ErrConflict if another process was faster.
func (a *ACME) newAccount(ctx context.Context, s storage.Store) (record.Account, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return record.Account{}, err
	}
	rec := record.Account{Directory: a.directoryURL(), Key: record.Key{Signer: key}}
	value, err := rec.Encode()
	if err != nil {
		return rec, err
	}
	if _, err = s.Save(ctx, a.accountKey(), value, ""); err != nil {
		return rec, fmt.Errorf("store its key: %w", err)
	}
	return rec, nil
}

// saveAccount stores the URL of the account.
func (a *ACME) saveAccount(ctx context.Context, s storage.Store, rec record.Account) error {
	_, err := storage.Update(ctx, s, a.accountKey(), func(old []byte) ([]byte, error) {
		if current, err := record.DecodeAccount(old); err == nil && !current.Key.Equal(rec.Key) {
			return nil, errors.New("its key was replaced meanwhile")
		}
		return rec.Encode()
	})
	if err != nil {
		return fmt.Errorf("store its URL: %w", err)
	}
	return nil
}
