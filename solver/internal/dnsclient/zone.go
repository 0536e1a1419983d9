package dnsclient

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// Zone returns the name of the zone that a name is in, found by its SOA record if it is not known. A CNAME
// at the name does not mislead it: what the resolver then says is of the target's zone. If the question fails
// for a name, those above it are asked about: some resolvers fail for names that begin with an underscore.
func (c *Client) Zone(ctx context.Context, name string) (string, error) {
	bare := BareName(name)
	if c.known != "" && IsWithin(bare, c.known) {
		return c.known, nil
	}
	if _, err := QuestionName(bare); err != nil {
		return "", err
	}
	var failure error
	for candidate := bare; candidate != "" && ctx.Err() == nil; _, candidate, _ = strings.Cut(candidate, ".") {
		r, err := c.Resolve(ctx, candidate, dnsmessage.TypeSOA)
		if err != nil {
			failure = cmp.Or(failure, err)
			continue
		}
		zone := r.zoneOf(candidate)
		if zone == "" {
			continue
		}
		if failure != nil && c.isElsewhere(ctx, zone, bare) {
			break // a zone that is delegated and broken is told so: its parent is the wrong one
		}
		return zone, nil
	}
	if failure == nil {
		failure = context.Cause(ctx)
	}
	if failure == nil {
		failure = fmt.Errorf("no zone in DNS holds %.260q: is its domain registered and delegated?", bare)
	}
	return "", failure
}

// zoneOf returns the zone that an answer for the SOA record of a name says it is in, or "". A name with a
// CNAME is no zone's.
func (r *Reply) zoneOf(name string) string {
	if r.Alias(name) != "" {
		return ""
	}
	for _, record := range slices.Concat(r.Answers, r.Authorities) {
		owner := BareName(record.Header.Name.String())
		if record.Header.Type == dnsmessage.TypeSOA && owner != "." && IsWithin(name, owner) {
			return owner
		}
	}
	return ""
}

// referralTimeout is for the answer of an authoritative server: many networks let no DNS out but to their resolvers.
const referralTimeout = 2 * time.Second

// isElsewhere reports whether a name below a zone is not in it: a server of the zone refers to others, or the
// zone is a registry's, as no certificate is for a name in one.
func (c *Client) isElsewhere(ctx context.Context, zone, name string) bool {
	if !strings.Contains(zone, ".") {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, referralTimeout)
	defer cancel()
	return c.anyServerSays(ctx, zone, Query{Name: name, Type: dnsmessage.TypeSOA}, func(r *Reply) bool {
		return !r.Authoritative && slices.ContainsFunc(r.Authorities, func(record dnsmessage.Resource) bool {
			owner := BareName(record.Header.Name.String())
			return record.Header.Type == dnsmessage.TypeNS && owner != zone && IsWithin(owner, zone) && IsWithin(name, owner)
		})
	})
}

// IsWithin reports whether a name is a zone's own or below it. Both are bare.
func IsWithin(name, zone string) bool {
	return name == zone || strings.HasSuffix(name, "."+zone)
}
