package migrate

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/certmanager/internal/record"
)

// Traefik moves what Traefik, from version 1.7 on, has in a file, usually acme.json.
func (g *Migration) Traefik(ctx context.Context, file string) (*Report, error) {
	r, err := g.begin()
	if err != nil {
		return r.report, err
	}
	f, err := openFile(file)
	if err != nil {
		return r.report, fmt.Errorf("migrate: %w", err)
	}
	defer f.Close()
	return r.finish(ctx, func(ctx context.Context, r *run) error { return r.traefikFile(ctx, f) })
}

// traefikFile takes what a file of Traefik's has.
func (r *run) traefikFile(ctx context.Context, in io.Reader) error {
	t := traefik{run: r, stream: newStream(in)}
	err := t.file(ctx)
	if err == io.EOF {
		return nil // Traefik makes the file before it has anything to write
	}
	return r.endedStream(err)
}

// A traefik is a file of Traefik's.
type traefik struct {
	*run
	*stream
	resolver string // whose certificates are read; empty: those of version 1, which has no resolvers
	ca       string // host of the resolver's CA; empty: it is not known
}

// file reads the object of all resolvers. Version 1 has what one has in place of it.
func (t *traefik) file(ctx context.Context) error {
	return t.object(func(key string) error {
		if key == "Account" || key == "Certificates" {
			return t.member(ctx, key)
		}
		t.resolver, t.ca = key, ""
		if err := t.resolverMembers(ctx); err != nil {
			return err
		}
		t.resolver, t.ca = "", ""
		return nil
	})
}

// resolverMembers reads what a resolver has. What is no object is nothing of a resolver's.
func (t *traefik) resolverMembers(ctx context.Context) error {
	return t.object(func(key string) error { return t.member(ctx, key) })
}

// member reads a member of a resolver's.
func (t *traefik) member(ctx context.Context, key string) error {
	switch key {
	case "Account":
		return t.account()
	case "Certificates":
		n := 0
		return t.array(func() error {
			n++
			return t.certificate(ctx, n)
		})
	}
	return t.skip()
}

// account reads the account of a resolver. The URL of the account is all that tells which CA it is.
func (t *traefik) account() error {
	var stored *struct {
		Registration json.RawMessage
		PrivateKey   []byte
	}
	a := account{source: cmp.Or(t.resolver, "Account")}
	err := t.decode(&stored)
	switch {
	case errors.Is(err, errWrongType):
		a.err = err
		return t.foundAccount(a)
	case err != nil, stored == nil:
		return err
	}
	if string(stored.Registration) != "null" {
		a.url, a.status, a.err = parseRegistration(stored.Registration)
	}
	a.name, t.ca = a.url, hostOf(a.url)
	if a.err == nil {
		a.key, a.err = record.ParseKeyDER(stored.PrivateKey)
	}
	return t.foundAccount(a)
}

// certificate takes a certificate of a resolver's, the n-th.
func (t *traefik) certificate(ctx context.Context, n int) error {
	var stored struct {
		Domain           struct{ Main string }
		Certificate, Key []byte
	}
	c := certificate{ca: t.ca}
	err := t.decode(&stored)
	if err != nil && !errors.Is(err, errWrongType) {
		return err
	}
	c.source, c.err = fmt.Sprintf("%s: %s", cmp.Or(t.resolver, "Certificates"), cmp.Or(stored.Domain.Main, fmt.Sprintf("certificate %d", n))), err
	c.chain, c.key = stored.Certificate, stored.Key
	return t.found(ctx, c)
}

// endedStream returns the error that ends a migration, of those of a stream. That the JSON is cut off or damaged is none: it
// is noted.
func (r *run) endedStream(err error) error {
	if errors.Is(err, certmanager.ErrStorage) {
		return err
	}
	damaged := new(json.SyntaxError)
	if errors.As(err, &damaged) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, errNotExpected) || errors.Is(err, errLongItem) {
		r.leave(Item{Kind: KindCertificate, Source: "JSON"}, fmt.Errorf("the JSON is damaged or cut off, and what follows can't be read: %w", err))
		return nil
	}
	return err
}
