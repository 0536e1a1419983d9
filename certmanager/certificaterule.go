package certmanager

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"

	"github.com/everseal/everseal/certmanager/internal/record"
	"github.com/everseal/everseal/storage"
)

// maxChains bounds the chains of issuers of one storage.
const maxChains = 1000

// A certificateRule is for the certificates that are not managed here. One goes long after its end, with its key, unless a
// member with another configuration is after its successor.
type certificateRule struct {
	workRule
	chains map[string]bool // the first issuers of the work that is stored; nil: not listed yet
}

// mayGo reports whether the key is of a certificate that this process does not manage: of one of its names by another issuer,
// or with another kind of key, too.
func (c *certificateRule) mayGo(key string) bool {
	issuer, subject, keyType, ok := record.ParseCertificateKey(key)
	ours := func(i *gatedIssuer) bool { return i.ID() == issuer }
	return ok && (!slices.ContainsFunc(c.issuers, ours) || c.catalogue.subject(subject, keyType) == nil)
}

// judge reports whether the certificate goes, and deletes its key before.
func (c *certificateRule) judge(ctx context.Context, r storage.Record) (goes bool, err error) {
	old, err := record.DecodeCertificate(r.Value, nil, nil)
	if err != nil || record.CertificateKey(old.Issuer, record.SubjectName(old.Names), old.KeyType) != r.Key {
		return false, nil
	}
	c.stage.see(old.NotBefore)
	if !c.stage.isOld(old.NotAfter, endedAge) || !c.stage.isOld(old.Obtained, endedAge) || c.stage.Deleted[record.AllCertificates] >= c.most() {
		return false, nil
	}
	wanted, err := c.isWanted(ctx, r.Key)
	if err != nil || wanted || !c.mayGo(r.Key) {
		return false, err
	}
	if old.Key.Reference == "" {
		return true, nil
	}
	if err := (deletion{c.archive}).deleteDistantKey(ctx, old); err != nil {
		c.logger.LogAttrs(ctx, slog.LevelDebug, "a key that nobody needs any more can't be deleted", slog.String("record", r.Key), slog.String("error", err.Error()))
		return false, ctx.Err()
	}
	return true, nil
}

// most bounds the certificates that one sweep deletes, should all that else holds it back be mistaken.
func (c *certificateRule) most() int { return max(100, c.found/10) }

// isWanted reports whether some member, with whatever chain of issuers, has lately been at work on the certificate.
func (c *certificateRule) isWanted(ctx context.Context, key string) (wanted bool, err error) {
	if err := c.listChains(ctx); err != nil {
		return false, err
	}
	_, subject, keyType, _ := record.ParseCertificateKey(key)
	for first := range c.chains {
		key := record.WorkKey(first, subject, keyType)
		item, err := c.steady.load(ctx, key)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case errors.Is(err, storage.ErrSealed):
			return true, nil
		case err != nil:
			return false, err
		}
		value, held, err := storage.LeaseValue(item.Value)
		isOver := err == nil && (!held && record.SaysNothing(value) || c.isQuiet(storage.Record{Key: key, Item: item}, value, held))
		if !isOver {
			return true, nil
		}
	}
	return false, nil
}

// listChains finds out with which chains of issuers there is work.
func (c *certificateRule) listChains(ctx context.Context) error {
	if c.chains != nil {
		return nil
	}
	chains := make(map[string]bool)
	for key, err := range c.steady.list(ctx, record.AllWork) {
		if err != nil {
			return err
		}
		if first, _, _, ok := record.ParseWorkKey(key); ok {
			chains[first] = true
		}
		if len(chains) > maxChains {
			return fmt.Errorf("there is work with more than %d chains of issuers", maxChains)
		}
	}
	c.chains = chains
	return nil
}
