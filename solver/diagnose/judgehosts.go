package diagnose

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver/internal/dnsclient"
	"github.com/everseal/everseal/solver/internal/reach"
)

// judgeNames judges whether names can be looked up and lead to addresses.
func (i *inspection) judgeNames() *verdict {
	errs := []error{i.caaErr, i.records.resolverErr, i.records.err}
	h := &i.hosts
	if len(h.resolved) == 0 && len(h.authoritative) == 0 {
		errs = append(errs, h.errs...) // that one of A and AAAA fails does not matter if the other is enough
	}
	for _, err := range errs {
		if v := i.judgeLookup(err); v != nil {
			return v
		}
	}
	if !i.isAsked() || len(h.errs) > 0 || i.proof.Identifier.Type == acme.TypeIP || len(h.authoritative) > 0 {
		return nil
	}
	name := i.domain
	switch {
	case len(h.resolved) == 0 && slices.ContainsFunc(h.extended, dnsclient.ExtendedError.IsPolicy):
		return blocked(name, "A", h.extended)
	case len(h.resolved) > 0 && h.authority != "":
		return because(CauseSplitHorizon, "publish its address in the zone that the Internet sees, or use DNS-01",
			"%s is %s here, and has no address at its authoritative server %s", name, joined(h.resolved), h.authority)
	case len(h.resolved) > 0:
		return nil
	case h.absent:
		return because(CauseNoAddress, "register the name, or add its A or AAAA record with this server's address",
			"%s does not resolve: there is no such name (NXDOMAIN)", name)
	}
	return because(CauseNoAddress, "add an A or AAAA record with this server's address",
		"%s does not resolve: it has neither an A nor an AAAA record", name)
}

// isAsked reports whether the identifier's own servers were to be asked.
func (i *inspection) isAsked() bool {
	return i.proof.Type == acme.TypeHTTP01 || i.proof.Type == acme.TypeTLSALPN01
}

// joined lists addresses.
func joined(addrs []netip.Addr) string {
	const maxListed = 3
	words := make([]string, 0, maxListed)
	for _, addr := range addrs[:min(len(addrs), maxListed)] {
		words = append(words, addr.String())
	}
	if len(addrs) > maxListed {
		words = append(words, fmt.Sprintf("%d more", len(addrs)-maxListed))
	}
	return strings.Join(words, " and ")
}

// judgeHosts judges what the servers said. What the world is told by the authoritative servers counts more
// than what the resolvers say here.
func (i *inspection) judgeHosts() *verdict {
	h := &i.hosts
	if len(h.authoritative) == 0 {
		return i.judgeVisits(i.visits)
	}
	v := i.judgeVisits(i.visitsOf(h.authoritative))
	if v == nil || !i.isSplit() || !i.isOwnInside() {
		return v
	}
	if !i.failed && i.isPrivateHere() {
		return nil // few routers lead a machine behind them to itself by the address that the world uses
	}
	return i.splitHorizon(v.reason)
}

// isOwnInside reports whether the addresses that the resolvers lead to answer right, or are of a private network and
// not asked.
func (i *inspection) isOwnInside() bool {
	inside := i.visitsOf(i.hosts.resolved)
	asked := slices.DeleteFunc(slices.Clone(inside), func(v visit) bool { return v.outcome == outcomeNotVisited })
	return len(inside) > 0 && len(wrongOf(asked)) == 0 && (len(asked) == 0 || len(rightOf(asked)) > 0)
}

// isPrivateHere reports whether the resolvers lead to an address of a private network.
func (i *inspection) isPrivateHere() bool {
	return slices.ContainsFunc(i.hosts.resolved, func(addr netip.Addr) bool { return reach.ScopeOf(addr) < reach.Public })
}

// isSplit reports whether the world is told other addresses than this process.
func (i *inspection) isSplit() bool {
	h := &i.hosts
	return len(h.authoritative) > 0 && len(h.resolved) > 0 &&
		!slices.ContainsFunc(h.resolved, func(addr netip.Addr) bool { return slices.Contains(h.authoritative, addr) })
}

func (i *inspection) splitHorizon(seen string) *verdict {
	name := i.domain
	here := joined(i.hosts.resolved) + " here"
	if len(rightOf(i.visitsOf(i.hosts.resolved))) > 0 {
		here += ", where the answer is seen,"
	}
	reason := fmt.Sprintf("%s is %s and %s at its authoritative server %s", name, here, joined(i.hosts.authoritative), i.hosts.authority)
	if seen != "" {
		reason += ", where it is not (" + seen + ")"
	}
	return because(CauseSplitHorizon, "let the public record lead to this server, or use DNS-01", "%s", reason)
}

func (i *inspection) visitsOf(addrs []netip.Addr) []visit {
	return slices.DeleteFunc(slices.Clone(i.visits), func(v visit) bool { return !slices.Contains(addrs, v.Address) })
}

// wrongOf returns those visits that did not find the answer, and are to be judged.
func wrongOf(visits []visit) []visit {
	return slices.DeleteFunc(slices.Clone(visits), func(v visit) bool {
		return v.outcome == outcomeRight || v.outcome == outcomeUnknown
	})
}

func rightOf(visits []visit) []visit {
	return slices.DeleteFunc(slices.Clone(visits), func(v visit) bool { return v.outcome != outcomeRight })
}

// judgeVisits judges the visits to addresses that a CA may choose from.
func (i *inspection) judgeVisits(visits []visit) *verdict {
	wrong, right := wrongOf(visits), rightOf(visits)
	if len(wrong) == 0 {
		return nil
	}
	worst := slices.MaxFunc(wrong, func(a, b visit) int { return a.weight() - b.weight() })
	if len(right) > 0 && family(wrong) != "" && family(right) != "" && family(wrong) != family(right) {
		return i.addressMismatch(worst, right[0])
	}
	if len(right) == 0 && allAlike(wrong) {
		return i.judgeVisit(worst, "")
	}
	v := i.judgeVisit(worst, " at "+worst.Address.String())
	if len(right) > 0 {
		v.reason += fmt.Sprintf(", while %v answers right", right[0].Address)
	}
	return v
}

// weight orders outcomes by how much they tell: what a server said tells more than that none said anything.
func (v visit) weight() int {
	if _, ok := v.frontend(); ok {
		return 100
	}
	switch v.outcome {
	case outcomeLoop, outcomeNotFollowed, outcomeUnresolved:
		return 90
	case outcomeWrong:
		return 80
	case outcomeNoALPN:
		return 70
	case outcomeClientCertificate:
		return 65
	case outcomeBroken:
		return 60
	case outcomeNotVisited:
		return 50
	case outcomeSilent:
		return 40
	case outcomeRefused:
		return 30
	}
	return 20
}

// allAlike reports whether one sentence without an address tells of all the visits.
func allAlike(visits []visit) bool {
	first := visits[0]
	firstFrontend, _ := first.frontend()
	return !slices.ContainsFunc(visits, func(v visit) bool {
		frontend, _ := v.frontend()
		return v.outcome != first.outcome || frontend.name != firstFrontend.name
	})
}

// family returns "IPv4" or "IPv6" if all of the visits were by it, else "".
func family(visits []visit) string {
	name := ""
	for _, v := range visits {
		of := familyOf(v.Address)
		if name != "" && name != of {
			return ""
		}
		name = of
	}
	return name
}

func familyOf(addr netip.Addr) string {
	if addr.Is6() {
		return "IPv6"
	}
	return "IPv4"
}

// addressMismatch is the verdict when one address family is right and the other is not. If nobody takes
// the connection, CAs are known to try the other family: that alone is no cause before one has failed.
func (i *inspection) addressMismatch(wrong, right visit) *verdict {
	if !i.failed && (wrong.outcome == outcomeRefused || wrong.outcome == outcomeUnanswered) {
		return nil
	}
	wrongType, rightType := recordType(wrong.Address), recordType(right.Address)
	return because(CauseAddressMismatch, fmt.Sprintf("set the %s record to this server's address, or remove it", wrongType),
		"%s leads elsewhere over %s: %v (%s) %s, while %v (%s) answers right",
		i.domain, familyOf(wrong.Address), wrong.Address, wrongType, wrong.said(), right.Address, rightType)
}

func recordType(addr netip.Addr) string {
	if addr.Is6() {
		return "AAAA"
	}
	return "A"
}
