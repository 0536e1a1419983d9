package certmanager

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

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

// deactivated says of an account that the CA does not take what to do about it, after the CA's own words: what package acme advises
// besides is for who keeps the key.
func (a *ACME) deactivated(err error) error {
	words := err.Error()
	if problem, ok := errors.AsType[*acme.Problem](err); ok {
		words = problem.Error()
	}
	words += ": if the account was deactivated, delete the stored record " + a.accountKey() + ": another account is made then, at the next attempt"
	return &cause{words, err}
}

// An accountRecord is where the account of an issuer is kept.
type accountRecord struct {
	issuer  *ACME
	store   storage.Store
	keyring *keyring
}

// recordOf returns where an account is kept.
func recordOf(a *account, s storage.Store) *accountRecord { return &accountRecord{a.issuer, s, a.keys} }

// accountKeyType is the kind of account keys: all CAs take it (RFC 8555 §6.2).
const accountKeyType = ECDSAP256

// newKey returns a key for the account: one that is made here, or the reference to one that Config.Keys is to make once it
// is stored.
func (a *accountRecord) newKey(ctx context.Context, t KeyType) (record.Key, error) {
	if a.keyring.keys != nil {
		return record.Key{Reference: newReference("account")}, nil
	}
	key, err := a.keyring.generate(ctx, t)
	return record.Key{Signer: key}, err
}

// load returns the stored account with its key. If there is none, it stores one, unless another process is faster. One that
// was deactivated is an error.
func (a *accountRecord) load(ctx context.Context) (record.Account, error) {
	rec, err := a.read(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		if err = a.add(ctx); err == nil || errors.Is(err, storage.ErrConflict) {
			rec, err = a.read(ctx)
		}
	}
	if err != nil {
		return rec, err
	}
	if !rec.Deactivated.IsZero() {
		return rec, fmt.Errorf("the account was deactivated at %s: delete the stored record %s, and another is made at the next attempt: %w",
			rec.Deactivated.Format(time.RFC3339), a.issuer.accountKey(), acme.ErrUnauthorized)
	}
	if rec.Key.Signer == nil && rec.URL == "" {
		return a.makeKey(ctx)
	}
	return rec, a.keyring.openKey(ctx, &rec.Key)
}

// read returns the stored account. A key that is kept elsewhere is not opened.
func (a *accountRecord) read(ctx context.Context) (record.Account, error) {
	item, err := a.store.Load(ctx, a.issuer.accountKey())
	if err != nil {
		return record.Account{}, err
	}
	return a.decode(item.Value)
}

func (a *accountRecord) decode(data []byte) (record.Account, error) {
	rec, err := record.DecodeAccount(data)
	if err == nil && rec.Key.Signer == nil && a.keyring.keys == nil {
		err = errNoKeys
	}
	if err != nil {
		return rec, fmt.Errorf("the stored record %s can't be read: restore it, or delete it to make a new account: %w", a.issuer.accountKey(), err)
	}
	return rec, nil
}

// add stores an account that is not registered yet. The error is storage.ErrConflict if another process was faster.
func (a *accountRecord) add(ctx context.Context) error {
	key, err := a.newKey(ctx, accountKeyType)
	if err != nil {
		return err
	}
	rec := record.Account{Directory: a.issuer.directoryURL(), Key: key}
	value, err := rec.Encode()
	if err != nil {
		return err
	}
	if _, err = a.store.Save(ctx, a.issuer.accountKey(), value, ""); err != nil {
		return fmt.Errorf("store its key: %w", err)
	}
	return nil
}

// makeKey has Config.Keys make the key of an account that is not registered yet: one process at a time does, for there may be
// no telling which of two keys is the right one.
func (a *accountRecord) makeKey(ctx context.Context) (rec record.Account, err error) {
	err = a.locked(ctx, func(ctx context.Context) error {
		if rec, err = a.read(ctx); err != nil {
			return err
		}
		return a.keyring.openOrMake(ctx, &rec.Key, accountKeyType)
	})
	return rec, err
}

// locked calls f while no other process changes the account. Its ctx ends if that can't be said any longer.
func (a *accountRecord) locked(ctx context.Context, f func(context.Context) error) error {
	lease, err := storage.Acquire(ctx, a.store, record.AccountLeaseKey(a.issuer.accountKey()), leaseTerm)
	if err != nil {
		return storageFailure(err)
	}
	err = f(lease.Context())
	if released := attend(ctx, endPatience, lease.Release); err == nil && released != nil {
		err = storageFailure(released)
	}
	return err
}

// change stores the account as f changes it, and returns it.
func (a *accountRecord) change(ctx context.Context, f func(*record.Account) error) (rec record.Account, err error) {
	_, err = storage.Update(ctx, a.store, a.issuer.accountKey(), func(old []byte) ([]byte, error) {
		if rec, err = a.decode(old); err != nil {
			return nil, err
		}
		if err = f(&rec); err != nil {
			return nil, err
		}
		return rec.Encode()
	})
	return rec, err
}

// saveURL stores where the account is registered.
func (a *accountRecord) saveURL(ctx context.Context, registered record.Account) error {
	_, err := a.change(ctx, func(rec *record.Account) error {
		if !rec.Key.Equal(registered.Key) {
			return errors.New("its key was replaced meanwhile")
		}
		rec.URL = registered.URL
		return nil
	})
	if err != nil {
		return fmt.Errorf("store its URL: %w", err)
	}
	return nil
}

// switchKey stores that the account has another key by now, and has the former one deleted.
func (a *accountRecord) switchKey(ctx context.Context, former, next record.Key) (record.Account, error) {
	rec, err := a.change(ctx, func(rec *record.Account) error {
		if rec.Key.Equal(former) {
			rec.Unused.Add(former.Reference, time.Now())
			rec.Key, rec.NextKey = next, record.Key{}
		}
		return nil
	})
	if err == nil && !rec.Key.Equal(next) {
		err = errors.New("its key was replaced meanwhile")
	}
	if err != nil {
		return rec, fmt.Errorf("store its new key: %w", err)
	}
	rec.Key = next
	return rec, nil
}

// deleteUnused deletes the keys that the account had before.
func (a *accountRecord) deleteUnused(ctx context.Context, rec record.Account) error {
	if a.keyring.keys == nil || len(rec.Unused) == 0 {
		return nil
	}
	left, err := a.keyring.deleteUnused(ctx, rec.Unused, func(string) bool { return false })
	if len(left) == len(rec.Unused) {
		return err
	}
	deleted := slices.DeleteFunc(slices.Clone(rec.Unused), func(k record.UnusedKey) bool { return slices.Contains(left, k) })
	_, saveErr := a.change(ctx, func(rec *record.Account) error {
		for _, key := range deleted { // another process may have added some
			rec.Unused.Remove(key.Reference)
		}
		return nil
	})
	if err == nil && saveErr != nil {
		err = storageFailure(saveErr)
	}
	return err
}
