package certmanager

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/everseal/everseal/certmanager/internal/record"
)

// takeKey sees to it that the journal has a key that can sign: the one of the order under way, or a new one. Of one that
// Config.Keys makes the reference is stored first, and with it that the key of what it replaces is to be deleted, some day.
func (i *issuance) takeKey(run context.Context) error {
	j, ring, ctx := i.journal, i.archive.keyring, i.work.within(run)
	if j.Key.Signer != nil {
		return nil
	}
	if ring.keys == nil {
		if i.entry.keyType().isSlow() { // two processes are not to make one each
			if err := i.work.hold(ctx); err != nil {
				return err
			}
			ctx = i.work.context()
		}
		i.work.Unused.Add(j.Key.Reference, time.Now()) // another configuration's
		key, err := ring.generate(ctx, i.entry.keyType())
		if err != nil {
			return err
		}
		j.Key, j.Notes = record.Key{Signer: key}, nil
		return nil
	}
	if j.Key.Reference == "" {
		j.Key, j.Notes = record.Key{Reference: newReference("certificate")}, nil
	}
	// Other members, and those that lag behind, may serve the predecessor for as long as it is valid.
	for _, stored := range i.stored {
		if stored.Certificate != nil {
			i.work.Unused.Add(stored.Key.Reference, stored.NotAfter)
		}
	}
	if err := i.work.save(ctx); err != nil {
		return storageFailure(fmt.Errorf("record the reference before the key is made: %w", err))
	}
	signer, err := ring.create(i.work.context(), j.Key.Reference, i.entry.keyType())
	if err != nil {
		return err
	}
	j.Key.Signer = signer
	return nil
}

// A keyDeletion is the last part of an attempt.
type keyDeletion struct{ *attempt }

// run deletes the keys that nobody can need any more. That they are not used is stored before: nobody who takes over the
// work comes upon one.
func (d keyDeletion) run(ctx context.Context) {
	w := d.work
	if d.archive.keyring.keys == nil || !w.ours || len(w.Unused.Due(time.Now())) == 0 || w.within(ctx).Err() != nil || w.hold(ctx) != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, keysTimeout)
	defer cancel()
	err := w.save(ctx)
	if err == nil {
		w.Unused, err = d.archive.keyring.deleteUnused(ctx, w.Unused, d.isInUse)
	}
	if err != nil && ctx.Err() == nil {
		d.warn(ctx, "", fmt.Errorf("certmanager: %v: keys that are not used any more are still there: %w", &d.entry.subject, err))
	}
}

// isInUse reports whether a key is that of the certificate that is served, however old, or of an order under way.
func (d keyDeletion) isInUse(ref string) bool {
	for _, j := range d.work.Journals {
		if j.Key.Reference == ref {
			return true
		}
	}
	s := d.entry.served.Load()
	if s == nil {
		for _, stored := range d.stored {
			if stored.Certificate != nil && stored.Key.Reference == ref {
				return true
			}
		}
		return false
	}
	key, ok := s.PrivateKey.(*distantKey)
	return ok && key.ref == ref
}

// retireKey notes in the work that the key of a stored certificate, which is about to be replaced by one that was not obtained,
// is to be deleted when that is valid no more. Of a key that is in the record there is nothing to be noted.
func (e eraser) retireKey(ctx context.Context, replaced *entry, stored []byte) error {
	c, err := record.DecodeCertificate(stored, nil, &e.intermediates)
	if err != nil || c.Key.Reference == "" {
		return nil // what can't be read tells of no key
	}
	first := e.issuers[0].ID()
	w, err := e.awaitWork(ctx, replaced.workKey(first))
	if err != nil {
		return storageFailure(fmt.Errorf("note that the key of the present one is to be deleted: %w", err))
	}
	if err = w.read(first); err == nil {
		w.Unused.Add(c.Key.Reference, c.NotAfter)
		err = w.save(w.context())
	}
	if err = errors.Join(err, w.release(ctx)); err != nil {
		return storageFailure(fmt.Errorf("note that the key of the present one is to be deleted: %w", err))
	}
	return nil
}

// deleteAllKeys deletes the keys of work in vain, before its record is.
func (e eraser) deleteAllKeys(ctx context.Context, w *work) error {
	var all record.UnusedKeys
	for _, key := range w.Unused {
		all.Add(key.Reference, time.Time{})
	}
	for _, j := range w.Journals {
		all.Add(j.Key.Reference, time.Time{})
	}
	if len(all) > 0 && e.keyring.keys == nil {
		return keysError{errNoKeys}
	}
	_, err := e.keyring.deleteUnused(ctx, all, func(string) bool { return false })
	return err
}
