package migrate

import (
	"context"
	"errors"
	"fmt"

	"github.com/everseal/everseal/certmanager"
)

// A Migration moves what other tools have to a manager. Its methods do so, each for one tool. The report that they return says
// what became of each certificate and account; a failure of one of them is no error. An error is for what ends the whole: the
// source can't be read, the storage fails, or ctx ends. The report has what was done until then, and to do it again
// resumes it.
type Migration struct {
	// Manager is who takes over: made by [certmanager.New]. It need not run; if it does, it serves what is taken at once.
	Manager *certmanager.Manager
	// All has certificates taken whose names are not managed, too. They are managed from then on, but for the next start have
	// them in the Config: who manages nothing serves nothing.
	All bool
	// Directory is the URL of the directory of the CA that has signed what the source names no CA for, and has its account. Zero:
	// that is not known, unless the certificates are of Let's Encrypt or its staging environment.
	Directory string
	// DryRun has nothing stored: the report is what would be.
	DryRun bool
}

// errNoManager is for who has not set it.
var errNoManager = errors.New("migrate: Migration.Manager is nil: set it to what certmanager.New returns")

// inFolder has the function find what there is in a folder.
func (g *Migration) inFolder(ctx context.Context, name string, find func(context.Context, *run) error) (*Report, error) {
	r, err := g.begin()
	if err != nil {
		return r.report, err
	}
	if r.folder, err = openFolder(name); err != nil {
		return r.report, fmt.Errorf("migrate: %w", err)
	}
	defer r.folder.close()
	return r.finish(ctx, find)
}

// begin returns a run that has found nothing yet.
func (g *Migration) begin() (*run, error) {
	r := &run{Migration: g, report: &Report{Taken: []Item{}, Left: []Item{}, DryRun: g.DryRun}, taken: make(map[string]taken), votes: make(map[string]int)}
	if g.Manager == nil {
		return r, errNoManager
	}
	return r, nil
}

// finish has the function find what there is, and then takes the accounts.
func (r *run) finish(ctx context.Context, find func(context.Context, *run) error) (*Report, error) {
	err := find(ctx, r)
	if err == nil {
		err = r.settleAccounts(ctx)
	}
	if err != nil {
		err = fmt.Errorf("migrate: %w", err)
	}
	return r.report, err
}
