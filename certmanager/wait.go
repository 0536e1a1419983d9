package certmanager

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/everseal/everseal/acme"
)

const (
	beginPatience = 10 * time.Second // with a Run that has not begun
	maxUnserved   = 20               // names in the error of Wait
)

// Wait returns nil once certificates that have not expired are served for all the names, with all kinds of key; without names, for all that are
// managed when it is called. It is for tests, and for servers that must not open before: [Manager.Serve] needs no such
// thing. It makes nothing come sooner, and waits through failures: see [Manager.Settle] for what ends with them.
//
// The error when ctx ends first names those that are not served, twenty of them at most, with what their last attempt
// failed for or what they wait for; errors.Is finds ctx's error in it, and theirs. It comes at once if a name is not
// managed, or when Run ends, and after ten seconds if Run has not begun.
func (m *Manager) Wait(ctx context.Context, names ...string) error {
	if m.store == nil {
		return errNotMade
	}
	return m.waiting.wait(ctx, names)
}

// Waiting is that for certificates to come, and for what is due to be done.
type waiting struct {
	catalogue *catalogue
	awaitRun  func(context.Context) (stopped <-chan struct{}, err error) // of Manager
}

// wait is Manager.Wait.
func (w waiting) wait(ctx context.Context, names []string) error {
	wanted, err := w.wanted(names)
	if err != nil {
		return err
	}
	for len(wanted) > 0 {
		name := wanted[0]
		if w.serves(name) {
			wanted = wanted[1:]
			continue
		}
		if err := w.awaitChange(ctx, name); err != nil {
			return w.unserved(wanted, err)
		}
	}
	return nil
}

// wanted returns the names in one form, or the first one of each managed certificate.
func (w waiting) wanted(names []string) ([]string, error) {
	var wanted []string
	for _, name := range names {
		id, err := acme.ParseIdentifier(name)
		if err != nil {
			return nil, fmt.Errorf("certmanager: %w", err)
		}
		if w.catalogue.covering(id.Value) == nil {
			return nil, fmt.Errorf("certmanager: %s is not managed", id.Value)
		}
		wanted = append(wanted, id.Value)
	}
	if len(names) > 0 {
		return wanted, nil
	}
	for e := range w.catalogue.all() {
		wanted = append(wanted, e.identifiers[0].Value)
	}
	return wanted, nil
}

// serves reports whether certificates for the name, with all kinds of key, are served that have not expired.
func (w waiting) serves(name string) bool {
	serving := w.catalogue.serving(name)
	return serving != nil && familyOf(serving).lacking() == nil
}

// awaitChange returns nil when something may have changed for the name, or why nothing will.
func (w waiting) awaitChange(ctx context.Context, name string) error {
	stopped, err := w.awaitRun(ctx)
	if err != nil {
		return err
	}
	e := w.catalogue.covering(name)
	if e == nil {
		return errors.New("a name is managed no more")
	}
	changed := cmp.Or(familyOf(e).lacking(), e).progress.changes()
	if w.serves(name) || e.roles.has(forgotten) {
		return nil // meanwhile
	}
	select {
	case <-changed:
		return nil
	case <-stopped:
		return errEnded
	case <-ctx.Done():
		return ctx.Err()
	}
}

// An unservedError says which names are not served.
type unservedError struct {
	text string
	errs []error
}

func (e *unservedError) Error() string   { return e.text }
func (e *unservedError) Unwrap() []error { return e.errs }

// unserved returns the error for those of the names that are not served, when the reason ends the wait.
func (w waiting) unserved(names []string, reason error) error {
	errs, n := []error{reason}, 0
	var words []string
	for _, name := range names {
		if w.serves(name) {
			continue
		}
		if n++; n > maxUnserved {
			continue
		}
		why := w.why(name)
		if why == nil {
			words = append(words, name)
			continue
		}
		errs = append(errs, why)
		words = append(words, name+" ("+strings.TrimPrefix(strings.TrimPrefix(why.Error(), "certmanager: "), name+": ")+")")
	}
	if n == 0 {
		return nil // they came at the last moment
	}
	text := strings.Join(words, ", ")
	if n > maxUnserved {
		text += fmt.Sprintf(" and %d more", n-maxUnserved)
	}
	return &unservedError{fmt.Sprintf("certmanager: not served: %s: %v", text, reason), errs}
}

// why returns what the last attempt for the name failed for, or what the next one waits for; nil: nothing went wrong.
func (w waiting) why(name string) error {
	e := w.catalogue.covering(name)
	if e == nil {
		return nil
	}
	s := cmp.Or(familyOf(e).lacking(), e).progress.snapshot(time.Now())
	if s.failure != nil {
		return s.failure.Err
	}
	return s.deferral
}
