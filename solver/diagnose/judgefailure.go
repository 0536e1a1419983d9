package diagnose

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver/internal/escape"
	"github.com/everseal/everseal/solver/internal/reach"
)

// judgeFailure judges a failure of the CA's when nothing wrong was seen from here.
func (i *inspection) judgeFailure() *verdict {
	if i.problem == nil {
		return nil
	}
	detail := i.detail()
	words := "its words: " + escape.Text(i.problem.Detail, 150)
	switch {
	case strings.Contains(detail, "DNSSEC"):
		return because(CauseDNSSEC, signCure,
			"DNSSEC is broken for %s as the CA sees it (%s)", i.name, words)
	case i.says(acme.ErrCAA):
		return i.unseenCAA(words)
	}
	if v := i.judgeNameservers(); v != nil {
		return v
	}
	if !i.failed || !i.seen() {
		return nil
	}
	if !i.isAsked() {
		return because(CauseVantagePoints, "let every name server, and every site of an anycast one, answer all askers alike, then try again",
			"all name servers of the zone %s have the TXT record as seen from here, but not as the CA sees it (%s)%s", escape.Text(i.records.zone, 260), words, i.besides())
	}
	if v := i.judgeAddressAsked(detail, words); v != nil {
		return v
	}
	if v := i.asksClient(detail); v != nil {
		return because(CauseClientCertificate, withoutClientAuth,
			"the server on port 443 of %s at %v asks for a client certificate, which the CA has none of (%s)", i.domain, v.Address, words)
	}
	if i.isSplit() && i.isPrivateHere() {
		return i.splitHorizon("")
	}
	if private := i.privateAddress(); private.IsValid() {
		return i.leadsToPrivate(private)
	}
	return because(CauseVantagePoints, fmt.Sprintf("open port %s to every address: CAs validate from several networks and countries at once", i.port()),
		"%s answers right from here, but not from each place that the CA validates from (%s): a firewall may let only some of them in%s",
		i.domain, words, i.besides())
}

// asksClient returns a visit to a server that asked for a client certificate, if that is what the CA complains of.
// By TLS 1.3 a client that shows none learns of it after the handshake, in which the answer was seen.
func (i *inspection) asksClient(detail string) *visit {
	if i.proof.Type != acme.TypeTLSALPN01 || !i.says(acme.ErrTLS) && !strings.Contains(detail, "certificate") {
		return nil
	}
	for j := range i.visits {
		if i.visits[j].asksClient {
			return &i.visits[j]
		}
	}
	return nil
}

// detail is all that the CA said in words.
func (i *inspection) detail() string {
	words := i.problem.Detail
	for _, sub := range i.problem.Subproblems {
		if sub != nil {
			words += " " + sub.Detail
		}
	}
	return words
}

// isValidationFailure reports whether the CA validated, and did not see the answer.
func (i *inspection) isValidationFailure() bool {
	if i.problem == nil {
		return false
	}
	detail := strings.ToLower(i.detail())
	return strings.Contains(detail, "secondary validation") || strings.Contains(detail, "perspective") ||
		i.says(acme.ErrConnection, acme.ErrDNS, acme.ErrTLS, acme.ErrUnauthorized, acme.ErrIncorrectResponse)
}

func (i *inspection) port() string {
	if i.proof.Type == acme.TypeTLSALPN01 {
		return "443"
	}
	return "80"
}

// privateAddress returns an address of the identifier that only a private network reaches, if there is one
// and the CA is not there.
func (i *inspection) privateAddress() netip.Addr {
	for _, addr := range slices.Concat(i.hosts.authoritative, i.hosts.resolved) {
		if errors.Is(reach.Check(addr, i.private), reach.ErrPrivate) {
			return addr
		}
	}
	return netip.Addr{}
}

// unseenCAA is the verdict when the CA says that CAA forbids, and what is seen from here does not.
func (i *inspection) unseenCAA(words string) *verdict {
	if i.caa.name == "" {
		return because(CauseCAA, "check whether all name servers of the zone, and of those above it, answer questions for CAA",
			"CAA does not let the CA issue for %s (%s), though no CAA record is seen from here", i.name, words)
	}
	return because(CauseCAA, "write the CA's own domain name there as it writes it itself, in lower case",
		"CAA does not let the CA issue for %s (%s): the records at %s are %s", i.name, words, escape.Text(i.caa.name, 260), i.caa.text())
}

// judgeAddressAsked judges the address that the CA says it asked, if it names one.
func (i *inspection) judgeAddressAsked(detail, words string) *verdict {
	addr := addressIn(detail)
	if !addr.IsValid() || i.proof.Identifier.Type == acme.TypeIP {
		return nil
	}
	name := i.domain
	h := &i.hosts
	known := h.authoritative
	if len(known) == 0 {
		known = h.resolved
	}
	if !slices.Contains(known, addr) {
		if slices.ContainsFunc(i.visits, i.isElsewhere) {
			return nil // it may be of the host that it was redirected to
		}
		if len(h.authoritative) > 0 {
			return because(CauseSplitHorizon, "wait until its time to live has passed before the next try; if the CA asks there again, let every name server answer all askers alike",
				"the CA asked %s at %v (%s), where none of its records at %s leads (%s): the CA's cache has an old %s record",
				name, addr, words, h.authority, joined(h.authoritative), recordType(addr))
		}
		return because(CauseSplitHorizon, "let the public record lead to this server, or use DNS-01",
			"%s is %s here, and %v for the CA (%s)", name, joined(h.addresses()), addr, words)
	}
	for _, v := range i.visits {
		if v.Address == addr && v.outcome == outcomeUnknown {
			return because(CauseAddressMismatch, fmt.Sprintf("set the %s record to this server's address, or remove it", recordType(addr)),
				"the CA asked %s at %v (%s), where this machine has no way to (%s)", name, addr, recordType(addr), words)
		}
	}
	return nil
}

// addressIn returns the first IP address in a text.
func addressIn(text string) netip.Addr {
	for word := range strings.FieldsFuncSeq(text, func(r rune) bool { return strings.ContainsRune(" \t\n\"'()[],;", r) }) {
		for _, end := range []string{"", ":", "."} {
			if addr, err := netip.ParseAddr(strings.TrimSuffix(word, end)); err == nil {
				return addr.Unmap().WithZone("")
			}
		}
	}
	return netip.Addr{}
}
