package migrate

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
)

// A run is one migration at work.
type run struct {
	*Migration
	report *Report
	folder *folder // nil: the source is none

	taken    map[string]int // places in report.Taken by what a certificate is served for
	votes    map[string]int // certificates that were obtained with an account, by how the source names it
	accounts []account
	walked   int // folders in which accounts were looked for
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
	item := Item{Kind: KindCertificate, Source: c.source, CA: c.ca}
	leaf := leafOf(c.chain)
	item.describe(leaf)
	if c.ca == "" {
		item.CA = r.signedBy(leaf)
	}
	item.Issuer = r.issuerAt(item.CA)
	if c.err == nil && item.Issuer == "" && isForTests(item.CA, leaf) {
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
	switch {
	case err != nil && endsAll(ctx, err):
		return fmt.Errorf("%s: %w", printable(c.source), err)
	case err != nil:
		r.leave(item, err)
		return nil
	}
	item.Present = !done.Changed
	item.Reason = c.remarks(&item, leaf)
	if c.account != "" {
		r.votes[c.account]++
	}
	r.take(item, string(done.KeyType)+" "+strings.Join(done.Names, " "))
	return nil
}

// remarks returns what is to be known of a certificate that is taken.
func (c *certificate) remarks(item *Item, leaf *x509.Certificate) string {
	var remarks []string
	if item.Issuer == "" {
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

// take notes a certificate that was taken. Of two for the same names the one that ends later is.
func (r *run) take(item Item, served string) {
	i, ok := r.taken[served]
	if !ok {
		r.taken[served] = len(r.report.Taken)
		r.report.Taken = append(r.report.Taken, item)
		return
	}
	former := &r.report.Taken[i]
	if former.Serial == item.Serial && former.NotAfter.Equal(item.NotAfter) {
		r.leave(item, fmt.Errorf("it is there twice: it was taken from %s", former.Source))
		return
	}
	if former.NotAfter.After(item.NotAfter) { // in a dry run: the storage would have said so
		*former, item = item, *former
	}
	*former, item = item, *former
	item.Present = false
	r.leave(item, fmt.Errorf("there are two for these names, and that of %s ends later", former.Source))
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

// leafOf returns the first certificate in the PEM that is not a CA's, or nil.
func leafOf(text []byte) *x509.Certificate {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != pemCertificate {
			continue
		}
		if c, err := x509.ParseCertificate(block.Bytes); err == nil && !c.IsCA {
			return c
		}
	}
	return nil
}

// hasAbove reports whether the PEM has the certificate above the leaf, or needs none.
func hasAbove(text []byte, leaf *x509.Certificate) bool {
	if bytes.Equal(leaf.RawIssuer, leaf.RawSubject) {
		return true
	}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if c, err := x509.ParseCertificate(block.Bytes); err == nil && bytes.Equal(c.RawSubject, leaf.RawIssuer) {
			return true
		}
	}
	return false
}

var errDamagedPEM = errors.New("a block of its PEM is cut off or damaged")

// checkPEM returns an error if a block of the PEM is damaged: package pem passes over it, and a chain would be served without.
func checkPEM(text []byte) error {
	blocks := 0
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		blocks++
	}
	if blocks != bytes.Count(text, []byte("-----BEGIN ")) {
		return errDamagedPEM
	}
	return nil
}

// signedBy returns the URL of the directory of the CA that has signed a certificate of which the source does not say it; empty: it
// is not known.
func (r *run) signedBy(leaf *x509.Certificate) string {
	switch {
	case r.Directory != "":
		return r.Directory
	case leaf == nil:
		return ""
	case slices.Contains(leaf.Issuer.Organization, "Let's Encrypt"):
		return acme.LetsEncrypt
	case slices.Contains(leaf.Issuer.Organization, stagingOrganization), slices.Contains(leaf.Issuer.Organization, "Let's Encrypt (STAGING)"):
		return acme.LetsEncryptStaging
	}
	return ""
}

const stagingOrganization = "(STAGING) Let's Encrypt"

// isForTests reports whether the CA is known to be one for tests only.
func isForTests(ca string, leaf *x509.Certificate) bool {
	for _, directory := range []string{acme.LetsEncryptStaging, acme.GoogleTrustServicesStaging} {
		if ca == directory || ca != "" && strings.EqualFold(hostOf(ca), hostOf(directory)) {
			return true
		}
	}
	return leaf != nil && slices.Contains(leaf.Issuer.Organization, stagingOrganization)
}

// issuerAt returns the ID of the issuer that is the CA; empty: none is, or the source does not name it.
func (r *run) issuerAt(ca string) string {
	if ca == "" {
		return ""
	}
	return r.Manager.IssuerAt(ca)
}
