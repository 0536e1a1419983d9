package certmanager

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/everseal/everseal/storage"
)

const (
	probeInterval = time.Minute // between two attempts to write to a storage that can't be written
	firstProbes   = 5           // at once, before a storage counts as one

	probePrefix = "probe" // of the keys at which it is written
	probeText   = "written to see whether it can be"
)

// A probe is whether the storage can be written.
type probe struct{ *obtainer }

// run finds out whether the storage can be written, until it can or ctx ends. It returns an error if it can't, and
// has nothing that could be served.
func (p probe) run(ctx context.Context) error {
	if p.role == RoleServe {
		return nil // it is not written
	}
	for n := 0; ; n++ {
		err := p.once(ctx)
		for tries := 1; err != nil && n == 0 && tries < firstProbes && ctx.Err() == nil; tries++ {
			err = p.once(ctx) // one failing call ends no Run
		}
		if ctx.Err() != nil {
			return nil
		}
		if err == nil {
			p.writable.set(nil, time.Time{})
			p.common.of(ReasonStorage, "").reset()
			if n > 0 {
				p.logger.LogAttrs(ctx, slog.LevelInfo, "the storage can be used: certificates are obtained and renewed")
			}
			p.logStorageWarnings(ctx)
			return nil
		}
		err = fmt.Errorf("certmanager: the storage can't be used, and what can't be kept would be lost: set Config.Storage to one that can: %w", err)
		if n == 0 && !p.servesSomething(ctx) {
			return err
		}
		if told, _ := p.common.of(ReasonStorage, "").tell(time.Now()); told {
			p.logger.LogAttrs(ctx, slog.LevelError, "what is stored is served, but nothing is obtained or renewed", slog.String("error", err.Error()))
		}
		p.writable.set(storageError{err}, time.Now().Add(probeInterval))
		if pause(ctx, probeInterval) != nil {
			return nil
		}
	}
}

// servesSomething reports whether the storage has a certificate that can be served.
func (p probe) servesSomething(ctx context.Context) bool {
	if p.policy.decide != nil && (p.archive.hasAny(ctx) || copies{&p.archive}.any(ctx)) {
		return true
	}
	const sideBySide = 64
	found := errors.New("there is one")
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(sideBySide)
	for e := range p.catalogue.all() {
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error {
			r, err := p.archive.newest(ctx, e)
			if err != nil {
				loader(p).serveCopy(ctx, e, err)
			} else if r != nil {
				p.serve(e, r)
			}
			p.residents.add(e)
			if e.held() != nil {
				return found
			}
			return nil
		})
	}
	return errors.Is(group.Wait(), found)
}

// once reports whether the storage can be written.
func (p probe) once(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, storageTimeout, errSlowStorage)
	defer cancel()
	key := probePrefix + "/" + strings.ToLower(rand.Text())
	revision, err := p.store.Save(ctx, key, []byte(probeText), "")
	if err == nil {
		err = p.store.Delete(ctx, key, revision)
	}
	if err != nil {
		return slowStorage(ctx, err)
	}
	return nil
}

// logStorageWarnings logs what the storage has to say though it works, such as a [storage.Dir] that others can read.
func (p probe) logStorageWarnings(ctx context.Context) {
	s, ok := storage.As[interface {
		Warnings(ctx context.Context) []error
	}](p.store)
	if !ok {
		return
	}
	for _, warning := range s.Warnings(ctx) {
		p.logger.LogAttrs(ctx, slog.LevelWarn, "the storage works, but", slog.Any("warning", warning))
	}
}
