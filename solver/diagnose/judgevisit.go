package diagnose

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/solver/internal/challenge"
	"github.com/everseal/everseal/solver/internal/escape"
	"github.com/everseal/everseal/solver/internal/reach"
)

// frontend returns the front end that answered last, if one did.
func (v *visit) frontend() (frontend, bool) {
	for i := len(v.Hops) - 1; i >= 0; i-- {
		if len(v.Hops[i].Headers) > 0 || v.Hops[i].Status != "" {
			return frontendOf(v.Hops[i].Headers)
		}
	}
	return frontend{}, false
}

// said is what the server did, as half a sentence.
func (v *visit) said() string {
	switch v.outcome {
	case outcomeRight:
		return "answers right"
	case outcomeWrong:
		return v.answered()
	case outcomeNoALPN:
		return "does not offer the protocol " + solver.ALPNProto
	case outcomeRefused:
		return "refuses connections to port " + v.port
	case outcomeUnanswered:
		return fmt.Sprintf("does not take connections to port %s within %v", v.port, visitTimeout)
	case outcomeSilent:
		return fmt.Sprintf("takes connections to port %s and gives no answer within %v", v.port, visitTimeout)
	case outcomeNotVisited:
		return "is " + reach.ScopeOf(v.Address).String()
	case outcomeUnresolved:
		return "redirects to " + escape.Text(v.host, 100) + ", which does not resolve"
	case outcomeLoop:
		return v.redirects()
	case outcomeClientCertificate:
		return "turns CAs away: " + escape.Text(v.err.Error(), 250)
	}
	return "gives no answer that can be read (" + escape.Text(v.err.Error(), 150) + ")"
}

// answered is the wrong answer, as half a sentence.
func (v *visit) answered() string {
	hop := v.lastAnswer()
	if hop.Status == "" { // a handshake
		return "shows another certificate than the challenge's (" + hop.Certificate + ")"
	}
	words := "answers " + hop.Status
	if strings.HasPrefix(hop.Status, "200") {
		words += fmt.Sprintf(" with another text than the key authorization (%s)", quotedStart(hop.Body))
	}
	if server := hop.Headers["Server"]; server != "" {
		words += " (server: " + server + ")"
	}
	return words
}

// lastAnswer returns the hop that was judged.
func (v *visit) lastAnswer() Hop {
	if len(v.Hops) == 0 {
		return Hop{}
	}
	if v.Hops[0].Status == "" { // a handshake, whatever was asked for after it
		return v.Hops[0]
	}
	return v.Hops[len(v.Hops)-1]
}

// quotedStart returns the beginning of text that is escaped already.
func quotedStart(text string) string {
	if text == "" {
		return "nothing"
	}
	return `"` + escape.Text(text, 40) + `"`
}

// redirects tells of redirects without end, as half a sentence.
func (v *visit) redirects() string {
	last := v.Hops[len(v.Hops)-1]
	if v.back == "" {
		return fmt.Sprintf("redirects more than %d times, at last to %s", maxRedirects, escape.Text(last.Location, 150))
	}
	if v.back == last.URL {
		return "redirects in a loop, from " + escape.Text(v.back, 150) + " to itself"
	}
	return fmt.Sprintf("redirects in a loop, from %s to %s and back", escape.Text(v.back, 150), escape.Text(last.URL, 150))
}

// exemption is the cure if redirects are wrong.
const exemption = "exempt " + challenge.HTTP01Path + " from redirects"

// judgeVisit returns the verdict on one visit. at tells its address, if another was answered otherwise.
func (i *inspection) judgeVisit(v visit, at string) *verdict {
	subject := i.domain + at
	switch v.outcome {
	case outcomeNotVisited:
		return i.leadsToPrivate(v.Address)
	case outcomeLoop:
		return judgeLoop(v, subject)
	case outcomeNotFollowed:
		return because(CauseRedirect, exemption+", or redirect to where CAs follow",
			"%s answers with %s", subject, escape.Text(v.err.Error(), 300))
	case outcomeUnresolved:
		return because(CauseRedirect, exemption+", or give that host an address", "%s %s", subject, v.said())
	}
	if wrapped := i.judgeWrapped(v, subject); wrapped != nil {
		return wrapped
	}
	if i.isElsewhere(v) {
		return because(CauseRedirect, exemption+", or let that host answer the challenges too",
			"%s redirects to another host, %s, which %s", subject, escape.Text(v.host, 100), v.said())
	}
	if f, ok := v.frontend(); ok && v.outcome != outcomeClientCertificate {
		return i.behindFrontend(f, v, subject)
	}
	return i.judgeServer(v, subject)
}

// forPrivateCA is the end of cures that are not for a CA on a private network.
const forPrivateCA = "; for a CA on that network, set Vantage.Private"

// leadsToPrivate is the verdict on an address that a CA on the Internet does not reach.
func (i *inspection) leadsToPrivate(addr netip.Addr) *verdict {
	if i.proof.Identifier.Type == acme.TypeIP {
		return because(CausePrivateAddress, "use a CA of that network, and say so by Vantage.Private",
			"%v is %s, which no CA on the Internet reaches", addr, reach.ScopeOf(addr).String())
	}
	return because(CausePrivateAddress, "set its record to an address that the Internet reaches, or use DNS-01"+forPrivateCA,
		"%s leads to %v, %s, which no CA on the Internet reaches", i.domain, addr, reach.ScopeOf(addr).String())
}

// isElsewhere reports whether redirects led to another host.
func (i *inspection) isElsewhere(v visit) bool {
	return v.host != "" && !strings.EqualFold(v.host, i.domain)
}

// callFirst is the cure if a TLS server does not know of the challenge.
const callFirst = "let that server call TLSALPN01.GetCertificate first, or pass the connections on to this process"

// judgeServer is the verdict on a server that is the identifier's own, as far as can be told.
func (i *inspection) judgeServer(v visit, subject string) *verdict {
	where := fmt.Sprintf("port %s of %s at %v", v.port, i.domain, v.Address)
	switch v.outcome {
	case outcomeRefused:
		return because(CausePortClosed, fmt.Sprintf("let a server listen on port %s of every address, or forward it to this process", v.port),
			"%s is closed: connections are refused", where)
	case outcomeUnanswered:
		return because(CausePortFiltered, fmt.Sprintf("open port %s to the whole Internet in the firewall, or forward it to this process", v.port),
			"%s does not answer within %v, as behind a firewall that drops packets", where, visitTimeout)
	case outcomeSilent:
		return because(CauseBrokenServer, "find out why the server there does not answer", "%s takes connections and gives no answer within %v", where, visitTimeout)
	case outcomeClientCertificate:
		return i.judgeClientCertificate(v, where)
	case outcomeBroken:
		if alert, ok := errors.AsType[*net.OpError](v.err); ok && alert.Op == "remote error" {
			cure := callFirst
			if i.proof.Type != acme.TypeTLSALPN01 {
				cure = exemption + " to https, or let that server take a handshake for the name with any certificate"
			}
			return because(CauseOtherServer, cure, "%s is answered by a server that refuses the handshake: %s", where, escape.Text(v.err.Error(), 200))
		}
		return because(CauseBrokenServer, "check whether this process is the server there, and read its log",
			"%s gives no answer that can be read: %s", where, escape.Text(v.err.Error(), 200))
	case outcomeNoALPN:
		return because(CauseNoALPN, "put solver.ALPNProto into its tls.Config.NextProtos, use the TLSConfig of a certmanager.Manager, or use another challenge",
			"the server on %s does not offer the protocol %s", where, solver.ALPNProto)
	}
	if i.proof.Type == acme.TypeTLSALPN01 {
		return because(CauseOtherServer, callFirst,
			"%s is answered by another server: it %s", where, v.answered())
	}
	if g, ok := v.guard(); ok {
		return judgeGuard(g, v, where)
	}
	cure := "let that server, or its virtual host for the name, forward " + challenge.HTTP01Path + " to this process"
	if i.proof.Identifier.Type == acme.TypeDNS {
		cure += ", or use DNS-01"
	}
	return because(CauseOtherServer, cure,
		"%s is answered by another server or virtual host: it %s", where, v.answered())
}
