package certmanager

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/everseal/everseal/certmanager/internal/record"
	"github.com/everseal/everseal/storage"
)

// An importer makes certificates from elsewhere those of entries: it stores them, and has them served.
type importer struct {
	*obtainer
	normalized func(...Subject) ([]subject, error) // as the catalogue has them, if they can be managed
	fill       func()                              // notes that memory has what was not loaded
}

// transfer is what [Manager.Transfer] and [Manager.Import] do.
func (i importer) transfer(ctx context.Context, t *Transfer) (done Transferred, err error) {
	if i.role == RoleServe {
		return done, errReadsOnly
	}
	key, err := parseKey(t.Key)
	if err != nil {
		return done, err
	}
	chain, err := parseChain(t.Certificate, key)
	if err != nil {
		return done, err
	}
	n, err := i.newcomer(ctx, chain.Leaf, key, t.Manage)
	if err != nil {
		return done, err
	}
	e := n.entry
	done.Names, done.KeyType = e.names(), e.keyType()
	meta := record.Meta{Issuer: i.issuers[0].ID(), Names: e.names(), KeyType: string(e.keyType()), Obtained: time.Now().UTC(), OnDemand: e.roles.has(onDemand), Imported: true}
	if t.Issuer != "" {
		if !slices.ContainsFunc(i.issuers, func(issuer *gatedIssuer) bool { return issuer.ID() == t.Issuer }) {
			return done, fmt.Errorf("none of Config.Issuers has the ID %.100q", t.Issuer)
		}
		meta.Issuer, meta.Obtained, meta.Imported = t.Issuer, chain.Leaf.NotBefore.UTC(), false
	}
	r, err := record.New(meta, record.Key{Signer: key}, chain, &i.archive.intermediates)
	if err != nil {
		return done, err
	}
	done.Changed, err = i.takeOver(ctx, n, r, t)
	if err != nil {
		err = fmt.Errorf("%v: %w", &e.subject, err)
	}
	return done, err
}

// takeOver stores the record, and has it served.
func (i importer) takeOver(ctx context.Context, n newcomer, r *record.Certificate, t *Transfer) (changed bool, err error) {
	e := n.entry
	changed, kept := i.keep(ctx, e, r, t) // before it is managed, so that none is ordered meanwhile
	if kept != nil && !errors.Is(kept, ErrNotNewer) || t.DryRun || n.isStored {
		return changed, kept
	}
	if !n.isManaged {
		if e, err = i.manage(e); err != nil {
			return changed, err
		}
	}
	if kept != nil {
		i.update(e)
		return false, kept
	}
	i.fill()
	if i.serve(e, r) {
		i.emit(ctx, loadedEvent(e, r))
	}
	i.residents.add(e)
	loader{i.obtainer}.loaded(e)
	i.update(e)
	return changed, nil
}

// keep stores the record, unless there is one that is to stay, and reports whether that changes anything. Of one that
// is the same, r takes over when it came. In a dry run nothing is stored.
func (i importer) keep(ctx context.Context, e *entry, r *record.Certificate, t *Transfer) (changed bool, err error) {
	for range deletionTries {
		old, err := storedAt(ctx, i.store, e.certificateKey(r.Issuer)) // first: what is stored after that makes a conflict
		if err != nil {
			return false, err
		}
		current, err := i.archive.newest(ctx, e)
		if err != nil {
			return false, storageFailure(err)
		}
		if current != nil {
			if current.Same(r) {
				*r = *current
				return false, nil
			}
			if err := t.isNoBetter(r, current); err != nil {
				return false, err
			}
			if !r.NewerThan(current, time.Now()) {
				r.Obtained = current.Obtained.Add(1)
			}
		}
		if t.DryRun {
			return true, nil
		}
		if err = i.save(ctx, e, r, old); !errors.Is(err, storage.ErrConflict) {
			return err == nil, err
		}
	}
	return false, errors.New("the stored record was changed by others again and again")
}

// save stores the record in place of what was there. The error is storage.ErrConflict if that has changed.
func (i importer) save(ctx context.Context, e *entry, r *record.Certificate, old storage.Item) error {
	value, err := r.Encode()
	if err != nil {
		return err
	}
	if err := i.eraser().retireKey(ctx, e, old.Value); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, storageTimeout, errSlowStorage)
	defer cancel()
	if _, err = i.store.Save(ctx, e.certificateKey(r.Issuer), value, old.Revision); err != nil && !errors.Is(err, storage.ErrConflict) {
		return storageFailure(slowStorage(ctx, err))
	}
	return err
}

// manage puts an entry under management, and returns it, or the one that somebody else has put there meanwhile.
func (i importer) manage(e *entry) (*entry, error) {
	if _, err := i.catalogue.add([]subject{e.subject}); err != nil {
		return nil, err
	}
	if added := i.catalogue.subject(e.name(), string(e.keyType())); added != nil {
		return added, nil
	}
	return nil, fmt.Errorf("%v: %w", &e.subject, errForgotten)
}
