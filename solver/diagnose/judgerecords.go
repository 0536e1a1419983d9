package diagnose

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver/internal/challenge"
	"github.com/everseal/everseal/solver/internal/dnsclient"
	"github.com/everseal/everseal/solver/internal/escape"
	"golang.org/x/net/dns/dnsmessage"
)

// judgeCAA judges the CAA records, which are for names alone.
func (i *inspection) judgeCAA() *verdict {
	if i.proof.Identifier.Type != acme.TypeDNS || i.caa.name == "" {
		return nil
	}
	return i.caa.judge(i.name, caaRequest{
		identities: i.from.CAAIdentities,
		account:    i.proof.AccountURL,
		method:     i.proof.Type,
		wildcard:   strings.HasPrefix(i.name, "*."),
	})
}

// judgeLookup judges a question that the resolvers have no answer to. That they cannot be reached from here
// says nothing of the CA's.
func (i *inspection) judgeLookup(err error) *verdict {
	const zoneCure = "check whether the zone's name servers are up and hold the zone"
	lookup, ok := errors.AsType[*lookupError](err)
	if !ok {
		if err != nil && i.says(acme.ErrDNS) {
			return because(CauseDNSFailure, zoneCure, "the DNS fails: %s", escape.Text(err.Error(), 300))
		}
		return nil
	}
	name, qtype := escape.Text(lookup.name, 260), dnsclient.TypeText(lookup.qtype)
	said := ""
	if len(lookup.extended) > 0 {
		said = " (" + dnsclient.ExtendedText(lookup.extended) + ")"
	}
	switch {
	case slices.ContainsFunc(lookup.extended, dnsclient.ExtendedError.IsPolicy):
		return blocked(name, qtype, lookup.extended)
	case lookup.dnssec:
		return because(CauseDNSSEC, signCure,
			"DNSSEC is broken for %s: its %s record is answered with SERVFAIL%s, and with validation off it is there", name, qtype, said)
	case lookup.servfail && slices.ContainsFunc(lookup.extended, dnsclient.ExtendedError.IsDNSSEC):
		return because(CauseDNSSEC, signCure, "DNSSEC is broken for %s: its %s record is answered with SERVFAIL%s", name, qtype, said)
	case lookup.servfail:
		return because(CauseDNSFailure, zoneCure, "the DNS fails for %s: its %s record is answered with SERVFAIL%s", name, qtype, said)
	case i.says(acme.ErrDNS):
		return because(CauseDNSFailure, zoneCure, "the DNS fails: %s", escape.Text(err.Error(), 300))
	}
	return nil
}

// signCure is the cure if DNSSEC is broken.
const signCure = "sign the zone anew, or correct the DS record at its registrar"

// blocked is the verdict if a resolver has an answer, and does not give it.
func blocked(name, qtype string, extended []dnsclient.ExtendedError) *verdict {
	return because(CauseDNSFailure, "take the name off that resolver's list, or have other resolvers asked by DNS.Resolvers",
		"a resolver keeps the %s record of %s back (%s)", qtype, name, dnsclient.ExtendedText(extended))
}

// says reports whether what the CA said is of one of the types.
func (i *inspection) says(types ...acme.ProblemType) bool {
	return i.problem != nil && slices.ContainsFunc(types, func(t acme.ProblemType) bool { return errors.Is(i.problem, t) })
}

// judgeRecords judges what the servers said of the TXT record.
func (i *inspection) judgeRecords() *verdict {
	e := &i.records
	has, lacks, _ := e.count()
	if len(lacks) > 0 && len(has) == 0 {
		if v := i.judgeNearMiss(lacks); v != nil {
			return v
		}
	}
	switch {
	case len(lacks) > 0 && len(has) == 0 && e.zone != e.ownZone:
		return because(CauseForeignAlias, fmt.Sprintf("let the provider write to the zone %s (DNS01.FollowCNAME), or remove the CNAME", escape.Text(e.zone, 260)),
			"%s is a CNAME to %s in the zone %s, where the record is not: %s",
			escape.Text(e.name, 260), escape.Text(e.chain[len(e.chain)-1], 260), escape.Text(e.zone, 260), lacks[0].said(i.target()))
	case len(lacks) > 0 && len(has) == 0:
		return because(CauseRecordMissing, i.missingCure(), "no server of the zone %s has the TXT record %s with the value %s: %s",
			escape.Text(e.zone, 260), escape.Text(i.target(), 260), escape.Text(e.value, 200), lacks[0].said(i.target()))
	case len(lacks) > 0:
		return because(CauseRecordMissing, "wait until all servers have it (DNS01.Propagation), or repair the transfer of the zone to this server",
			"the TXT record %s is not yet on every server of the zone %s: %s", escape.Text(i.target(), 260), escape.Text(e.zone, 260), lacks[0].said(i.target()))
	}
	if v := i.judgeNameservers(); v != nil {
		return v
	}
	if i.failed && e.resolver != nil && !e.inResolver {
		if slices.ContainsFunc(e.resolver.Extended, dnsclient.ExtendedError.IsPolicy) {
			return blocked(escape.Text(e.name, 260), "TXT", e.resolver.Extended)
		}
		return because(CauseRecordMissing, "wait until the old answer is forgotten before the CA is told to validate (DNS01.Propagation)",
			"the resolvers do not see the TXT record %s: they say %s", escape.Text(e.name, 260), saidText(e.resolver, e.name))
	}
	return nil
}

// judgeNearMiss judges records that nearly are the one that is wanted, or returns nil.
func (i *inspection) judgeNearMiss(lacks []recordServer) *verdict {
	e := &i.records
	m := challenge.NearMiss{Name: i.target(), Zone: e.zone}
	if e.doubled {
		return because(CauseRecordMissing, m.DoubledCure(), "%s", m.DoubledReason())
	}
	for _, server := range lacks {
		for _, value := range server.reply.Texts(m.Name) {
			if bare := challenge.Unquoted(value); bare != value && i.hasRecord(e.value, []string{bare}) {
				return because(CauseRecordMissing, challenge.QuotedCure, "%s: %s says %s", m.QuotedReason(), server.Text(), escape.Text(strconv.Quote(value), 300))
			}
		}
	}
	return nil
}

// target is the name where the record must be.
func (i *inspection) target() string { return i.records.chain[len(i.records.chain)-1] }

func (i *inspection) missingCure() string {
	if i.proof.Type == acme.TypeDNSPersist01 {
		return "set it once, for good"
	}
	return "check whether the provider writes to this zone, and wait longer before the CA is told to validate (DNS01.Propagation)"
}

// said is the server's answer without the record, as a sentence.
func (s *recordServer) said(name string) string { return s.Text() + " says " + saidText(s.reply, name) }

// saidText is what a reply holds of TXT records.
func saidText(r *dnsclient.Reply, name string) string {
	values := r.Texts(name)
	switch {
	case r.RCode == dnsmessage.RCodeNameError:
		return "that there is no such name (NXDOMAIN)"
	case len(values) == 0:
		return "that there is no TXT record"
	case len(values) == 1:
		return `"` + escape.Text(values[0], 80) + `"`
	}
	return fmt.Sprintf(`"%s" and %d more`, escape.Text(values[0], 80), len(values)-1)
}
