package certmanager

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager/internal/record"
	"github.com/everseal/everseal/storage"
)

// An Account is the account with a CA that speaks ACME. [Manager.Account] returns one; the methods of the zero value return
// an error. Its methods can be called whether or not the manager runs, in any process that has the storage: the others notice.
// Each registers the account if there is none yet, but Deactivate. They are safe for concurrent use.
type Account struct {
	account *account
	store   storage.Store
}

// errNoAccount is for who uses the zero value.
var errNoAccount = errors.New("certmanager: the Account was not made by Manager.Account")

// Account returns the account with the issuer of the ID, one of Config.Issuers. With an empty ID it is the first of them that
// speaks ACME. There may be none: then the error says so.
func (m *Manager) Account(issuer string) (*Account, error) {
	if m.store == nil {
		return nil, errNotMade
	}
	for _, gated := range m.issuers {
		if a, ok := capability[*acmeIssuer](gated); ok && (issuer == "" || gated.ID() == issuer) {
			return &Account{&a.account, m.store}, nil
		}
	}
	if issuer == "" {
		return nil, errors.New("certmanager: account: none of Config.Issuers speaks ACME")
	}
	return nil, fmt.Errorf("certmanager: account: none of Config.Issuers that speak ACME has the ID %.100q", issuer)
}

// UpdateContact has the CA know other addresses as the contact of the account, such as "admin@example.com", in place of all
// that it has; none removes them (RFC 8555 §7.3.2). Config.Email is for accounts that are yet to be made.
func (a *Account) UpdateContact(ctx context.Context, emails ...string) error {
	if a.account == nil {
		return errNoAccount
	}
	contact := make([]string, len(emails))
	for i, email := range emails {
		if err := checkEmail(email); err != nil {
			return fmt.Errorf("certmanager: update contact: an address %w", err)
		}
		if email == "" {
			return errors.New("certmanager: update contact: an address is empty")
		}
		contact[i] = "mailto:" + email
	}
	opened, err := a.account.open(ctx, a.store, openAccount{})
	if err != nil {
		return fmt.Errorf("certmanager: %w", err)
	}
	_, err = opened.client.UpdateContact(ctx, contact)
	if a.account.isChanged(ctx, a.store, opened, err) {
		a.account.forget(opened)
		if opened, err = a.account.open(ctx, a.store, openAccount{}); err != nil {
			return fmt.Errorf("certmanager: %w", err)
		}
		_, err = opened.client.UpdateContact(ctx, contact)
	}
	return a.failed(err)
}

// ChangeKey gives the account a new key (RFC 8555 §7.3.5). The new key is stored before the CA is told, so that none is lost
// however the process ends: the account is used with whichever of the two the CA knows. After an error, or in another process,
// ChangeKey completes what was begun.
func (a *Account) ChangeKey(ctx context.Context) error {
	if a.account == nil {
		return errNoAccount
	}
	if _, err := a.account.open(ctx, a.store, openAccount{}); err != nil { // which registers it
		return fmt.Errorf("certmanager: %w", err)
	}
	stored := recordOf(a.account, a.store)
	return a.failed(stored.locked(ctx, func(ctx context.Context) error { return a.changeKey(ctx, stored) }))
}

// changeKey is ChangeKey for who has the lease.
func (a *Account) changeKey(ctx context.Context, stored *accountRecord) error {
	rec, err := stored.load(ctx)
	if err != nil {
		return err
	}
	former := rec.Key
	client := a.account.openedWith(rec).client
	directory, err := client.GetDirectory(ctx)
	if err != nil {
		return err
	}
	if directory.KeyChange == "" {
		return fmt.Errorf("the CA has no keyChange in its directory: %w", errors.ErrUnsupported)
	}
	next, keyType := rec.NextKey, cmp.Or(keyTypeOf(former.Public()), accountKeyType) // one that the CA takes
	if next.IsZero() {
		if next, err = stored.newKey(ctx, keyType); err != nil {
			return err
		}
		_, err = stored.change(ctx, func(rec *record.Account) error {
			rec.NextKey = next
			return nil
		})
		if err != nil {
			return fmt.Errorf("store the new key before the CA is told: %w", err)
		}
	}
	if next.Signer == nil {
		if next.Signer, err = stored.keyring.create(ctx, next.Reference, keyType); err != nil {
			return err
		}
	}
	if err := client.ChangeKey(ctx, next.Signer); err != nil {
		return err
	}
	if rec, err = stored.switchKey(ctx, former, next); err != nil {
		return err
	}
	a.account.replace(a.account.openedWith(rec))
	return stored.deleteUnused(ctx, rec)
}

// Deactivate ends the account for good (RFC 8555 §7.3.6): the CA takes nothing from it any more. Its record stays in the storage
// and says so, first of all, so that no other account is made unasked: orders fail with an error that names the record, and
// once that is deleted another account is made. After an error, Deactivate is to be called again.
func (a *Account) Deactivate(ctx context.Context) error {
	if a.account == nil {
		return errNoAccount
	}
	stored := recordOf(a.account, a.store)
	return a.failed(stored.locked(ctx, func(ctx context.Context) error { return a.deactivate(ctx, stored) }))
}

// deactivate is Deactivate for who has the lease.
func (a *Account) deactivate(ctx context.Context, stored *accountRecord) error {
	rec, err := stored.read(ctx)
	if errors.Is(err, fs.ErrNotExist) || err == nil && rec.URL == "" {
		return errors.New("there is none: nothing was registered")
	}
	if err != nil {
		return err
	}
	if rec.Deactivated.IsZero() {
		rec, err = stored.change(ctx, func(rec *record.Account) error {
			rec.Deactivated = time.Now().UTC()
			return nil
		})
		if err != nil {
			return fmt.Errorf("note it before the CA is told: %w", err)
		}
	}
	a.account.replace(openAccount{})
	err = stored.keyring.openKey(ctx, &rec.Key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // its key was deleted when the CA had been told
	}
	if err == nil {
		rec, err = a.account.settle(ctx, stored, rec)
	}
	if err == nil {
		err = a.account.openedWith(rec).client.DeactivateAccount(ctx)
	}
	if err != nil && !errors.Is(err, acme.ErrUnauthorized) { // which says that it was done before
		return err
	}
	rec, err = stored.change(ctx, func(rec *record.Account) error {
		rec.Unused.Add(rec.NextKey.Reference, time.Now())
		rec.Unused.Add(rec.Key.Reference, time.Now())
		return nil
	})
	if err != nil {
		return fmt.Errorf("note which keys to delete: %w", err)
	}
	return stored.deleteUnused(ctx, rec)
}

// failed returns the error of an operation, which may be nil.
func (a *Account) failed(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("certmanager: account at %s: %w", a.account.issuer.directoryURL(), err)
}

// settle finds out which key the account has, if it was being changed, and stores that.
func (a *account) settle(ctx context.Context, stored *accountRecord, rec record.Account) (record.Account, error) {
	if rec.NextKey.IsZero() || rec.URL == "" {
		return rec, nil
	}
	next := rec.NextKey
	if err := stored.keyring.openKey(ctx, &next); errors.Is(err, fs.ErrNotExist) {
		return rec, nil // it was never made
	} else if err != nil {
		return rec, err
	}
	client := &acme.Client{DirectoryURL: a.issuer.directoryURL(), Key: next.Signer, HTTPClient: a.http, Observe: a.observe}
	found, err := client.FindAccount(ctx)
	switch {
	case errors.Is(err, acme.ErrAccountDoesNotExist):
		return rec, nil // it is still being changed, or a process was killed at it
	case err != nil:
		return rec, fmt.Errorf("ask whether its key was changed: %w", err)
	case found.URL != rec.URL:
		return rec, fmt.Errorf("the key that it was to be changed to is that of another account, %.200q", found.URL)
	}
	settled, err := stored.switchKey(ctx, rec.Key, next)
	if err != nil {
		return rec, storageFailure(err)
	}
	return settled, nil
}

// isChanged reports whether a request that failed was made with a key that the account has no longer, because another process
// has changed it, or with an account that another has deactivated. How CAs say so differs, so the storage is asked.
func (a *account) isChanged(ctx context.Context, s storage.Store, opened openAccount, err error) bool {
	if err == nil || ctx.Err() != nil || isInHouse(err) || isOfOrder(err) || errors.As(err, new(*acme.AuthorizationError)) || errors.As(err, new(*acme.SolverError)) {
		return false
	}
	rec, err := recordOf(a, s).read(ctx)
	if err != nil {
		return false
	}
	used := record.Key{Signer: opened.client.Key, Reference: opened.reference}
	return !rec.Deactivated.IsZero() || !rec.Key.Equal(used) || !rec.NextKey.IsZero()
}

// replace has the account used as it is from now on.
func (a *account) replace(opened openAccount) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.opened = opened
	a.refused, a.refusals = nil, 0
}
