package migrate

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/certmanager/internal/record"
)

// A run is one migration at work.
type run struct {
	*Migration
	report *Report
	folder *folder // nil: the source is none

	taken    map[string]taken // by what a certificate is served for
	votes    map[string]int   // certificates that were obtained with an account, by how the source names it
	accounts []account
	walked   int // folders in which accounts were looked for
}

// A taken certificate is one in the report.
type taken struct {
	place       int  // in Report.Taken
	isOfItsKind bool // its key is what its names are managed with
}

// A certificate is one that was found.
type certificate struct {
	source     string
	chain, key []byte // PEM
	ca         string // URL of the directory, or host; empty: the source does not say
	account    string // with which it was obtained, by how the source names it; empty: it does not say
	isPublic   bool   // all users of the machine may read the key
	err        error  // why it can't be read; nil: it could be
}

// found takes a certificate, or notes why it is left. The error is one that ends the migration.
func (r *run) found(ctx context.Context, c certificate) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	leaf := leafOf(c.chain, c.key)
	ca := r.signedBy(c.ca, leaf)
	item := Item{Kind: KindCertificate, Source: printable(c.source), CA: printable(ca), Issuer: r.issuerAt(ca)}
	item.describe(leaf)
	if c.err == nil && item.Issuer == "" && isForTests(ca, leaf) {
		c.err = errors.New("the CA that signed it is for tests: clients do not trust it")
	}
	if c.err == nil {
		c.err = checkPEM(c.chain)
	}
	if c.err != nil {
		r.leave(item, c.err)
		return nil
	}
	done, err := r.Manager.Transfer(ctx, certmanager.Transfer{Certificate: c.chain, Key: c.key, Issuer: item.Issuer, Manage: r.All, DryRun: r.DryRun})
	served := string(done.KeyType) + " " + strings.Join(done.Names, " ")
	now := taken{place: len(r.report.Taken), isOfItsKind: leaf != nil && record.KeyTypeOf(leaf.PublicKey) == string(done.KeyType)}
	former, isSecond := r.taken[served]
	switch {
	case err != nil && endsAll(ctx, err):
		return fmt.Errorf("%s: %w", item.Source, err)
	case errors.Is(err, certmanager.ErrNotNewer) && isSecond:
		r.leave(item, r.isWorse(now, former))
		return nil
	case err != nil:
		r.leave(item, err)
		return nil
	}
	item.Present = !done.Changed
	item.Reason = c.remarks(&item, leaf)
	if c.account != "" {
		r.votes[c.account]++
	}
	if isSecond {
		now = r.takeSecond(item, now, former)
	} else {
		r.report.Taken = append(r.report.Taken, item)
	}
	r.taken[served] = now
	return nil
}

// remarks returns what is to be known of a certificate that is taken.
func (c *certificate) remarks(item *Item, leaf *x509.Certificate) string {
	var remarks []string
	switch {
	case item.Issuer != "":
	case c.ca == "" && item.CA == "":
		remarks = append(remarks, "the source does not say which CA it is of: set Migration.Directory if that is one of Config.Issuers; it is served, and these renew it")
	default:
		remarks = append(remarks, "its CA is none of Config.Issuers: it is served, and these renew it")
	}
	if leaf != nil && !hasAbove(c.chain, leaf) {
		remarks = append(remarks, "the certificate above it is missing: clients may not trust it")
	}
	if c.isPublic {
		remarks = append(remarks, "all users of this machine could read its key: renew it with another one")
	}
	return strings.Join(remarks, "; ")
}

// takeSecond notes a certificate for names for which another one was taken: one of them is, as the manager judges them, and is
// returned.
func (r *run) takeSecond(item Item, now, former taken) taken {
	before := &r.report.Taken[former.place]
	if before.Serial == item.Serial && before.NotAfter.Equal(item.NotAfter) {
		r.leave(item, fmt.Errorf("it is there twice: it was taken from %s", before.Source))
		return former
	}
	isBetter := !before.NotAfter.After(item.NotAfter)
	if now.isOfItsKind != former.isOfItsKind {
		isBetter = now.isOfItsKind
	}
	if !isBetter { // in a dry run: the storage would have said so
		r.leave(item, r.isWorse(now, former))
		return former
	}
	now.place = former.place
	*before, item = item, *before
	item.Present = false
	r.leave(item, r.isWorse(former, now))
	return now
}

// isWorse returns why a certificate is left for another one.
func (r *run) isWorse(left, other taken) error {
	source := r.report.Taken[other.place].Source
	if other.isOfItsKind && !left.isOfItsKind {
		return fmt.Errorf("there are two for these names, and that of %s has the kind of key that they are managed with", source)
	}
	return fmt.Errorf("there are two for these names, and that of %s ends later", source)
}

// leave notes what is left, and why.
func (r *run) leave(item Item, err error) {
	item.Reason = strings.TrimPrefix(strings.TrimPrefix(err.Error(), "certmanager: "), "transfer: ")
	item.Reason = printable(item.Reason)
	r.report.Left = append(r.report.Left, item)
}

// describe notes what is known of a certificate, which may be nil.
func (i *Item) describe(leaf *x509.Certificate) {
	if leaf == nil {
		return
	}
	const most = 100
	names := slices.Clone(leaf.DNSNames)
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	for _, name := range names[:min(len(names), most)] {
		i.Names = append(i.Names, printable(name))
	}
	i.Serial, i.NotAfter = hex.EncodeToString(leaf.SerialNumber.Bytes()), leaf.NotAfter.UTC()
}

// signedBy returns the URL of the directory of the CA that has signed a certificate, or its host, by what the source says of it, or
// else the migration; empty: it is not known. Settings are of the next certificate, and may be of another CA than this one's:
// Let's Encrypt is known by the certificate itself.
func (r *run) signedBy(said string, leaf *x509.Certificate) string {
	said = cmp.Or(said, r.Directory)
	if leaf == nil {
		return said
	}
	isTheirs := slices.Contains(leaf.Issuer.Organization, "Let's Encrypt")
	switch isSaid := strings.EqualFold(hostOf(said), hostOf(acme.LetsEncrypt)); {
	case isOfStaging(leaf) && r.issuerAt(said) == "":
		return acme.LetsEncryptStaging
	case isTheirs && !isSaid && (said == "" || r.issuerAt(acme.LetsEncrypt) != ""): // or it may be a proxy that is said
		return acme.LetsEncrypt
	case isSaid && !isTheirs:
		return ""
	}
	return said
}

// isOfStaging reports whether the staging environment of Let's Encrypt has signed the certificate.
func isOfStaging(leaf *x509.Certificate) bool {
	organization := leaf.Issuer.Organization
	return slices.Contains(organization, "(STAGING) Let's Encrypt") || slices.Contains(organization, "Let's Encrypt (STAGING)")
}

// isForTests reports whether the CA is known to be one for tests only.
func isForTests(ca string, leaf *x509.Certificate) bool {
	for _, directory := range []string{acme.LetsEncryptStaging, acme.GoogleTrustServicesStaging} {
		if ca == directory || ca != "" && strings.EqualFold(hostOf(ca), hostOf(directory)) {
			return true
		}
	}
	return leaf != nil && isOfStaging(leaf)
}

// issuerAt returns the ID of the issuer that is the CA; empty: none is, or the source does not name it.
func (r *run) issuerAt(ca string) string {
	if ca == "" {
		return ""
	}
	return r.Manager.IssuerAt(ca)
}
