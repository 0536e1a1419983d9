package certmanager

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager/internal/record"
	"github.com/everseal/everseal/certmanager/internal/schedule"
	"github.com/everseal/everseal/storage"
)

// An account is that of an ACME issuer for one manager: it is opened once, by whoever needs it first, and a failure to
// open it is that of all who wait for it.
type account struct {
	issuer  *ACME
	http    *http.Client
	observe func(acme.Exchange)
	keys    *keyring
	budgets *budgets
	made    *acme.Client // the last one, with the directory and nonces that it has; for the opening under way alone

	mu       sync.Mutex    // guards what follows; not held over storage or network
	opened   openAccount   // the zero value: not opened yet
	opening  *opening      // nil: nobody is opening it
	refused  *refusedError // nil: the CA has not refused to open it
	refusals int           // in a row
}

// An openAccount is one that is known to be registered.
type openAccount struct {
	client    *acme.Client
	url       string
	reference string // to the key, if it is kept elsewhere
}

// An opening is the work of opening the account. What it comes to is set before done is closed.
type opening struct {
	done      chan struct{}
	opened    openAccount
	err       error
	abandoned bool // whoever did it had to go; another is to begin anew
}

// A refusedError is a refusal to open the account, and until when it is not to be asked for again.
type refusedError struct {
	err   error
	until time.Time
}

// unavailable returns the refusal as an issuer reports it.
func (r *refusedError) unavailable(now time.Time) error {
	return &UnavailableError{Err: r.err, RetryAfter: r.until.Sub(now)}
}

// open returns the account. One of which the CA says that it does not exist is given as lost: the same key is
// registered anew then.
func (a *account) open(ctx context.Context, s storage.Store, lost openAccount) (openAccount, error) {
	for {
		o, ours, err := a.begin(lost)
		if err != nil || o == nil {
			return a.current(), err
		}
		if ours {
			opened, err := a.load(ctx, s, lost.client != nil)
			a.end(o, opened, err, ctx.Err() != nil)
			return o.opened, o.err
		}
		select {
		case <-o.done:
			if !o.abandoned {
				return o.opened, o.err
			}
		case <-ctx.Done():
			return openAccount{}, fmt.Errorf("the account at %s is being opened: %w", a.issuer.directoryURL(), ctx.Err())
		}
	}
}

func (a *account) current() openAccount {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.opened
}

// begin returns the opening to wait for, or to do if it is the caller's; nil: there is nothing to do.
func (a *account) begin(lost openAccount) (o *opening, ours bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	switch {
	case a.opened.client != nil && a.opened.client != lost.client:
		return nil, false, nil
	case a.refused != nil && now.Before(a.refused.until):
		return nil, false, a.refused.unavailable(now)
	case a.opening != nil:
		return a.opening, false, nil
	}
	a.opening = &opening{done: make(chan struct{})}
	return a.opening, true, nil
}

// end tells all who wait what came of the opening.
func (a *account) end(o *opening, opened openAccount, err error, abandoned bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	defer close(o.done)
	a.opening = nil
	if err == nil {
		o.opened, a.opened = opened, opened
		a.refused, a.refusals = nil, 0
		return
	}
	o.err = &accountError{a.issuer.directoryURL(), err}
	if o.abandoned = abandoned; abandoned || isInHouse(err) {
		return
	}
	if !refusesAll(err) {
		o.err = &UnavailableError{Err: o.err, RetryAfter: retryAfter(err)}
		return
	}
	a.refusals++
	wait := schedule.RefusalBackoff(a.refusals, 0) // the issuer's gate is closed for longer
	a.refused = &refusedError{err: o.err, until: time.Now().Add(wait)}
	o.err = &UnavailableError{Err: o.err, RetryAfter: retryAfter(err)}
}

// forget has the account read from the storage when it is next needed, for the CA does not take it any more.
func (a *account) forget(refused openAccount) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.opened.client == refused.client {
		a.opened = openAccount{}
	}
}

// load reads the account from the storage and, if it is not registered or the CA lost it, registers it.
func (a *account) load(ctx context.Context, s storage.Store, lost bool) (openAccount, error) {
	stored := recordOf(a, s)
	rec, err := stored.load(ctx)
	if errors.Is(err, acme.ErrUnauthorized) {
		return openAccount{}, err // it was deactivated
	}
	if err != nil {
		return openAccount{}, storageFailure(err)
	}
	if rec, err = a.settle(ctx, stored, rec); err != nil {
		return openAccount{}, err
	}
	if err := stored.deleteUnused(ctx, rec); err != nil && ctx.Err() == nil {
		a.keys.logger.LogAttrs(ctx, slog.LevelWarn, "keys that the account had before are still there", slog.String("error", err.Error()))
	}
	if rec.URL != "" && !lost {
		return a.openedWith(rec), nil
	}
	client, registered, err := registration{a}.run(ctx, stored, &rec)
	if errors.Is(err, acme.ErrUnauthorized) && a.issuer.ExternalAccount == nil {
		err = a.issuer.deactivated(err)
	}
	if err != nil {
		return openAccount{}, err
	}
	rec.URL = registered.URL
	if err := stored.saveURL(ctx, rec); err != nil {
		return openAccount{}, storageFailure(err)
	}
	return openAccount{client, rec.URL, rec.Key.Reference}, nil
}

// openedWith returns an account that is registered.
func (a *account) openedWith(rec record.Account) openAccount {
	client := &acme.Client{DirectoryURL: a.issuer.directoryURL(), Key: rec.Key.Signer, HTTPClient: a.http, AccountURL: rec.URL, Observe: a.observe}
	return openAccount{client, rec.URL, rec.Key.Reference}
}

// clientFor returns a client for the key: the one that has tried before, if there is one.
func (a *account) clientFor(key crypto.Signer) *acme.Client {
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	if a.made == nil || !ok || !public.Equal(a.made.Key.Public()) {
		a.made = &acme.Client{DirectoryURL: a.issuer.directoryURL(), Key: key, HTTPClient: a.http, Observe: a.observe}
	}
	return a.made
}
