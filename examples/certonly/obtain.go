package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
)

// patience is how long obtain and renew work, at most: what a limit of the CA's leaves no room for takes longer.
const patience = 15 * time.Minute

// obtain obtains one certificate, and keeps that it is wanted.
func (p *program) obtain(ctx context.Context, args []string) error {
	given := new(configuration)
	wanted := new(certificate)
	f := p.flags("obtain")
	f.BoolVar(&given.AgreeToTerms, "agree", false, "")
	f.StringVar(&given.Email, "email", "", "")
	f.StringVar(&given.CA, "ca", "", "")
	f.StringVar(&given.CARoot, "ca-root", "", "")
	f.StringVar(&given.Standalone, "standalone", "", "")
	f.StringVar(&given.Hook, "hook", "", "")
	f.StringVar(&wanted.Webroot, "webroot", "", "")
	err := parse(f, args)
	if err != nil {
		return err
	}
	if wanted.Names, err = namesOf(f.Args()); err != nil {
		return err
	}
	if len(wanted.Names) == 0 {
		return usageError{errors.New("name what the certificate is to be for, such as example.com www.example.com")}
	}
	// One at a time changes the configuration.
	lease, err := storage.Acquire(ctx, p.store(), "certonly/configuration", time.Minute)
	if err != nil {
		return err
	}
	defer lease.Release(context.WithoutCancel(ctx))
	c, err := p.load()
	if err != nil {
		return err
	}
	if err := errors.Join(c.take(given), absolute(&wanted.Webroot)); err != nil {
		return err
	}
	if !c.AgreeToTerms {
		return usageError{errors.New("say by -agree that you agree to the CA's terms of service")}
	}
	c.put(wanted)
	k, err := p.newKeeper(c, []certificate{*wanted}, p.logger())
	if err != nil {
		return usageError{err}
	}
	name := wanted.Names[0]
	if err := k.during(lease.Context(), func(ctx context.Context) error { return k.fetch(ctx, name) }); err != nil {
		return err
	}
	if err := p.save(c); err != nil {
		return err
	}
	if err := k.files.Deploy(ctx); err != nil {
		return err
	}
	fmt.Fprintln(p.stdout, k.shown(name))
	return nil
}

// take takes over what was given by flags.
func (c *configuration) take(given *configuration) error {
	for flag, kept := range map[*string]*string{
		&given.Email: &c.Email, &given.CA: &c.CA, &given.CARoot: &c.CARoot, &given.Standalone: &c.Standalone, &given.Hook: &c.Hook,
	} {
		if *flag != "" {
			*kept = *flag
		}
	}
	c.CA = directoryOf(c.CA)
	c.AgreeToTerms = c.AgreeToTerms || given.AgreeToTerms
	return absolute(&c.CARoot)
}

// absolute makes a path, if there is one, good for a later call from another folder.
func absolute(path *string) (err error) {
	if *path != "" {
		*path, err = filepath.Abs(*path)
	}
	return err
}

// fetch has the certificate, from the state or the CA. What failed at an earlier call is tried again at once: somebody is there, and
// may have mended it.
func (k *keeper) fetch(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	began := time.Now()
	err := k.Settle(ctx)
	status, _ := k.Status(name)
	if status.State == certmanager.StateExpired || status.Failure != nil && status.Failure.Time.Before(began) {
		return k.Renew(ctx, name)
	}
	return err
}
