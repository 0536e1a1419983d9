package diagnose

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/everseal/everseal/solver/internal/dnsclient"
	"github.com/everseal/everseal/solver/internal/escape"
)

// typeCAA is the type of CAA records (RFC 8659 §4.1).
const typeCAA dnsmessage.Type = 257

// A caaRecord is one property (RFC 8659 §4.1).
type caaRecord struct {
	flags byte
	tag   string // in lower case: tags have none
	value string
}

// String returns the record as zone files have it, bounded.
func (r caaRecord) String() string {
	return fmt.Sprintf(`%d %s "%s"`, r.flags, escape.Text(r.tag, 20), escape.Text(r.value, 150))
}

// isCritical reports whether a CA that does not know the property must not issue. Besides the bit that
// RFC 8659 names, CAs take the lowest one for it, which is often set instead.
func (r caaRecord) isCritical() bool { return r.flags&(1<<7|1) != 0 }

// isKnown reports whether CAs know the property, if only to pass it over.
func (r caaRecord) isKnown() bool {
	return slices.Contains([]string{"issue", "issuewild", "iodef", "issuemail", "issuevmc"}, r.tag)
}

// caaRecords returns the CAA records in a reply. One that cannot be read is one that no CA knows.
func caaRecords(r *dnsclient.Reply) []caaRecord {
	var records []caaRecord
	for _, resource := range r.Answers {
		if body, ok := resource.Body.(*dnsmessage.UnknownResource); ok && resource.Header.Type == typeCAA {
			records = append(records, parseCAA(body.Data))
		}
	}
	return records
}

func parseCAA(data []byte) caaRecord {
	const critical = 1 << 7
	if len(data) < 2 || data[1] == 0 || len(data) < 2+int(data[1]) {
		return caaRecord{flags: critical}
	}
	end := 2 + int(data[1])
	return caaRecord{data[0], strings.ToLower(string(data[2:end])), string(data[end:])}
}

// A caaSet is what CAs go by: the records at a name, or at the nearest name above it that has any.
type caaSet struct {
	name    string // empty: there are none
	records []caaRecord
}

// climbCAA climbs the tree of names from name on (RFC 8659 §3). CNAMEs are followed at each name, by the
// resolver; it is the original name that is climbed from.
func (i *inspection) climbCAA(ctx context.Context, name string) (caaSet, error) {
	for at := name; at != ""; _, at, _ = strings.Cut(at, ".") {
		r, err := i.lookup(ctx, at, typeCAA)
		if err != nil {
			return caaSet{}, err
		}
		if records := caaRecords(r); len(records) > 0 {
			return caaSet{at, records}, nil
		}
	}
	return caaSet{}, nil
}

// A caaRequest is who wants to issue what.
type caaRequest struct {
	identities []string // of the CA, any of which is enough; empty: not known
	account    string
	method     string // the challenge's type
	wildcard   bool
}

// judge returns why the set does not let the CA issue, or nil. name is the identifier.
func (s caaSet) judge(name string, request caaRequest) *verdict {
	for _, r := range s.records {
		if r.isCritical() && !r.isKnown() {
			return because(CauseCAA, "take the record away, or clear its flags",
				"the CAA record at %s (%v) is critical and of a kind that CAs do not know, so that none may issue for %s", s.name, r, name)
		}
	}
	tag, issuers := s.issuers(request.wildcard)
	if len(issuers) == 0 {
		return nil // no record restricts who may issue this
	}
	var nearest *verdict
	for _, r := range issuers {
		nearer := s.judgeIssuer(r, name, request)
		if nearer == nil {
			return nil
		}
		if nearest == nil || nearest.reason == "" {
			nearest = nearer
		}
	}
	if nearest.reason == "" {
		return s.foreign(tag, issuers, name, request)
	}
	return nearest
}

// issuers returns the records that say who may issue, and their tag (RFC 8659 §4.3).
func (s caaSet) issuers(wildcard bool) (tag string, records []caaRecord) {
	of := func(tag string) []caaRecord {
		return slices.DeleteFunc(slices.Clone(s.records), func(r caaRecord) bool { return r.tag != tag })
	}
	if wildcard {
		if records := of("issuewild"); len(records) > 0 {
			return "issuewild", records
		}
	}
	return "issue", of("issue")
}

// judgeIssuer returns nil if the record lets the CA issue. What it returns has no reason if the record is
// for another CA.
func (s caaSet) judgeIssuer(r caaRecord, name string, request caaRequest) *verdict {
	issuer, parameters, ok := parseIssueValue(r.value)
	isOurs := func(identity string) bool { return strings.EqualFold(identity, issuer) }
	switch {
	case !ok || issuer == "":
		return new(verdict)
	case len(request.identities) == 0:
		return nil // it may be this CA's
	case !slices.ContainsFunc(request.identities, isOurs):
		return new(verdict)
	}
	if account, ok := single(parameters, "accounturi"); !ok || account != nil && *account != request.account {
		return because(CauseCAA, "write this account's URL into the record, or use the account it names",
			"the CAA record at %s (%v) lets %s issue for %s with another account than %s", s.name, r, escape.Text(issuer, 100), name, escape.Text(request.account, 200))
	}
	methods, ok := single(parameters, "validationmethods")
	if !ok || methods != nil && !slices.Contains(strings.Split(*methods, ","), request.method) {
		return because(CauseCAA, "add "+escape.Text(request.method, 40)+" to its validationmethods, or use a method it names",
			"the CAA record at %s (%v) does not let %s validate %s by %s", s.name, r, escape.Text(issuer, 100), name, escape.Text(request.method, 40))
	}
	return nil
}

// foreign is the verdict if no record names the CA.
func (s caaSet) foreign(tag string, records []caaRecord, name string, request caaRequest) *verdict {
	if len(request.identities) == 0 {
		return because(CauseCAA, "add a record with the CA's own domain name there",
			"the CAA record at %s (%v) lets no CA issue for %s", s.name, records[0], name)
	}
	identity := escape.Text(request.identities[0], 100)
	subject := fmt.Sprintf("the CAA record at %s (%v) does", s.name, records[0])
	if len(records) > 1 {
		subject = fmt.Sprintf("the CAA records at %s (%v and %d more) do", s.name, records[0], len(records)-1)
	}
	return because(CauseCAA, fmt.Sprintf(`add the record 0 %s "%s" there, or use a CA that is named`, tag, identity),
		"%s not let %s issue for %s", subject, identity, name)
}

// A parameter is one of an issue property's (RFC 8659 §4.2).
type parameter struct{ tag, value string }

// single returns the value of a parameter, nil if there is none. More than one can never be satisfied.
func single(parameters []parameter, tag string) (value *string, ok bool) {
	for i := range parameters {
		if parameters[i].tag != tag {
			continue
		}
		if value != nil {
			return nil, false
		}
		value = &parameters[i].value
	}
	return value, true
}

// parseIssueValue reads the value of an issue or issuewild property (RFC 8659 §4.2). An empty issuer
// stands for no CA. ok is false if the value is malformed, which lets no CA issue either.
func parseIssueValue(s string) (issuer string, parameters []parameter, ok bool) {
	const blank = " \t"
	issuer, rest, more := strings.Cut(s, ";")
	issuer = strings.Trim(issuer, blank)
	if strings.ContainsFunc(issuer, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", nil, false
	}
	if !more || strings.Trim(rest, blank) == "" {
		return issuer, nil, true
	}
	for part := range strings.SplitSeq(rest, ";") {
		tag, value, ok := strings.Cut(part, "=")
		p := parameter{strings.Trim(tag, blank), strings.Trim(value, blank)}
		if !ok || p.tag == "" || strings.ContainsFunc(p.tag, func(r rune) bool { return !isAlphanumeric(r) && r != '-' }) ||
			strings.ContainsFunc(p.value, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return "", nil, false
		}
		parameters = append(parameters, p)
	}
	return issuer, parameters, true
}

func isAlphanumeric(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
}

// text lists the records.
func (s caaSet) text() string {
	const maxListed = 3
	var words []string
	for _, r := range s.records[:min(len(s.records), maxListed)] {
		words = append(words, r.String())
	}
	if len(s.records) > maxListed {
		words = append(words, fmt.Sprintf("%d more", len(s.records)-maxListed))
	}
	return strings.Join(words, ", ")
}
