package certmanager

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/everseal/everseal/certmanager/internal/record"
	"github.com/everseal/everseal/storage"
)

const (
	besideDeletions  = 32 // subjects whose records are deleted at once
	deletionTries    = 10 // of one record that others change meanwhile
	deletionInterval = time.Second
)

// An eraser deletes what the storage has for subjects.
type eraser struct{ deletion }

// eraser returns the one for what the obtainer stores.
func (o *obtainer) eraser() eraser { return eraser{deletion{&o.archive}} }

// eraseNames deletes all that is stored for the names, and for the subjects of the entries that had them. It waits for the
// tasks that are under way for those.
func (e eraser) eraseNames(ctx context.Context, names []string, entries []*entry) error {
	subjects, err := e.subjectsOf(ctx, names, entries)
	if err != nil {
		return fmt.Errorf("certmanager: delete: %w", err)
	}
	bySubject := make(map[string][]*entry)
	for _, a := range entries {
		bySubject[a.name()] = append(bySubject[a.name()], a)
	}
	var group errgroup.Group
	group.SetLimit(besideDeletions)
	var mu sync.Mutex
	var failures []error
	for _, subject := range subjects {
		group.Go(func() error {
			for _, a := range bySubject[subject] {
				awaitIdle(ctx, &a.progress)
			}
			if err := e.erase(ctx, subject); err != nil {
				mu.Lock()
				defer mu.Unlock()
				failures = append(failures, fmt.Errorf("certmanager: delete what is stored for %s: %w", subject, err))
			}
			return nil
		})
	}
	_ = group.Wait() // there is none: each is among the failures
	return errors.Join(failures...)
}

// subjectsOf returns the names in storage keys of the entries' subjects, and of those stored that have one of the names.
func (e eraser) subjectsOf(ctx context.Context, names []string, entries []*entry) ([]string, error) {
	var subjects, unknown []string
	known := make(map[string]bool)
	for _, a := range entries {
		subjects = append(subjects, a.name())
		for _, id := range a.identifiers {
			known[id.Value] = true
		}
	}
	for _, name := range names {
		subjects = append(subjects, name)
		if !known[name] {
			unknown = append(unknown, name)
		}
	}
	if len(unknown) > 0 {
		shared, err := e.sharedBy(ctx, unknown)
		if err != nil {
			return nil, err
		}
		subjects = append(subjects, shared...)
	}
	slices.Sort(subjects)
	return slices.Compact(subjects), nil
}

// erase deletes all that is stored for a subject: at first the certificates, which tells other processes that they are to
// stop, and then, with the lease of the work, what an attempt may have stored since, and the work.
func (e eraser) erase(ctx context.Context, subject string) error {
	keyTypes, err := e.deleteCertificates(ctx, subject)
	if err != nil {
		return err
	}
	first := e.issuers[0].ID()
	for key, err := range e.store.List(ctx, record.WorkPrefix(first)+"/"+subject) {
		if err != nil {
			return err
		}
		keyTypes[key[strings.LastIndexByte(key, '/')+1:]] = true
	}
	var errs []error
	for keyType := range keyTypes {
		if err := e.eraseWork(ctx, record.WorkKey(first, subject, keyType), subject); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// eraseWork deletes the record of the work on a subject's certificate of one key type, and before it the certificates that
// came since they were deleted.
func (e eraser) eraseWork(ctx context.Context, key, subject string) error {
	w, err := e.awaitWork(ctx, key)
	if err != nil {
		return err
	}
	return e.eraseWith(ctx, w, subject)
}

// awaitWork takes the lease of the work as soon as nobody has it.
func (e eraser) awaitWork(ctx context.Context, key string) (*work, error) {
	left := new(claim)
	defer left.withdraw()
	var held *storage.HeldError
	for {
		w, err := claimWork(ctx, e.store, key, left)
		switch {
		case err == nil:
			return w, nil
		case held != nil && ctx.Err() != nil:
			return nil, fmt.Errorf("another process is at work on it: %w: %w", held, ctx.Err())
		case !errors.As(err, &held):
			return nil, err
		}
		_ = pause(ctx, min(held.RetryAfter, deletionInterval))
	}
}

// eraseWith deletes the certificates, and the work with its lease.
func (e eraser) eraseWith(ctx context.Context, w *work, subject string) error {
	_, err := e.deleteCertificates(w.context(), subject)
	if err == nil && w.read(e.issuers[0].ID()) == nil { // of what can't be read no key is known
		err = e.deleteAllKeys(ctx, w)
	}
	if err != nil {
		return errors.Join(err, w.release(ctx))
	}
	defer w.end(nil)
	err = attend(ctx, storeTimeout, w.lease.Delete)
	if errors.Is(err, storage.ErrLost) {
		return fmt.Errorf("another process has taken over the work on it: %w", err)
	}
	return err
}

// awaitIdle returns when no task is under way, or ctx ends.
func awaitIdle(ctx context.Context, p *progress) {
	p.mu.Lock()
	if p.matter == nil || !p.matter.working {
		p.mu.Unlock()
		return
	}
	ended := p.matter.change()
	p.mu.Unlock()
	select {
	case <-ended:
	case <-ctx.Done():
	}
}
