package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/everseal/everseal/certmanager/deploy"
	"golang.org/x/sync/errgroup"
)

// renew does what is due, and tells of what was renewed and of what failed.
func (p *program) renew(ctx context.Context, args []string) error {
	f := p.flags("renew")
	if err := parse(f, args); err != nil {
		return err
	}
	c, err := p.load()
	if err != nil {
		return err
	}
	for _, name := range f.Args() {
		if !slices.ContainsFunc(c.Certificates, func(kept certificate) bool { return kept.Names[0] == name }) {
			return usageError{fmt.Errorf("no certificate was obtained whose first name is %q", name)}
		}
	}
	if len(c.Certificates) == 0 {
		return nil
	}
	k, err := p.newKeeper(c, c.Certificates, p.logger())
	if err != nil {
		return err
	}
	k.files.OnResult = func(r deploy.Result) {
		if r.Err == nil {
			fmt.Fprintln(p.stdout, k.shown(r.Names[0]))
		}
	}
	return k.during(ctx, func(ctx context.Context) error {
		return errors.Join(k.renew(ctx, f.Args()), k.files.Deploy(ctx))
	})
}

// renew renews what is due, and the names, and returns what failed.
func (k *keeper) renew(ctx context.Context, names []string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for _, name := range names {
		_ = k.Renew(ctx, name) // Settle tells of it
	}
	return k.Settle(ctx)
}

// keep renews and writes files until it is told to end.
func (p *program) keep(ctx context.Context, args []string) error {
	f := p.flags("run")
	if err := parse(f, args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return usageError{fmt.Errorf("run keeps all certificates: %q is too much", f.Args())}
	}
	c, err := p.load()
	if err != nil {
		return err
	}
	if len(c.Certificates) == 0 {
		return errors.New("there is no certificate yet: call certonly obtain first")
	}
	p.verbose = true
	k, err := p.newKeeper(c, c.Certificates, p.logger())
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return k.Run(ctx) })
	group.Go(func() error { return k.files.Run(ctx) })
	return group.Wait()
}
