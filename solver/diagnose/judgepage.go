package diagnose

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver/internal/challenge"
	"github.com/everseal/everseal/solver/internal/escape"
)

// A guard is what answers in place of the server that has the answer: what it does, as half a sentence, and
// what to do about it.
type guard struct{ does, cure string }

// guard returns what the last page gives away, by its status or its text.
func (v *visit) guard() (guard, bool) {
	const pass = "let firewalls and access rules pass requests for " + challenge.HTTP01Path + " from every address"
	if v.page == nil || v.outcome != outcomeWrong {
		return guard{}, false
	}
	switch status := v.page.StatusCode; {
	case strings.Contains(string(v.page.body), challenge.UnreadableAnswer):
		return guard{"cannot read the storage that its answers are in", "read its log, and check what it reads its storage from"}, true
	case isBlockPage(v.page.body), status == http.StatusForbidden, status == http.StatusNotAcceptable:
		return guard{"blocks the request, as firewalls and access rules do", pass}, true
	case status == http.StatusUnauthorized, status == http.StatusProxyAuthRequired:
		return guard{"asks for a password", "exempt " + challenge.HTTP01Path + " from authentication"}, true
	case status == http.StatusNetworkAuthenticationRequired: // RFC 6585 §6
		return guard{"is the portal of a network that wants a log-in first", "let that network pass connections to the server without a log-in"}, true
	case status == http.StatusServiceUnavailable, status == http.StatusBadGateway, status == http.StatusGatewayTimeout:
		return guard{"is a load balancer without a healthy target, or a server that is not ready",
			"find out why its health check fails, which must not need the certificate that is yet to come"}, true
	}
	return guard{}, false
}

// isBlockPage reports whether a page is that of a firewall, whatever its status. Palo Alto Networks, Fortinet,
// SonicWall and F5 have these words.
func isBlockPage(body []byte) bool {
	text := strings.ToLower(string(body))
	return slices.ContainsFunc([]string{
		"web page blocked", "application blocked", "web site blocked", "fortiguard", "the requested url was rejected",
	}, func(words string) bool { return strings.Contains(text, words) })
}

// judgeGuard is the verdict on a server that is guarded.
func judgeGuard(g guard, v visit, where string) *verdict {
	subject := where + " "
	if strings.HasPrefix(g.does, "is ") {
		subject = "what answers at " + where + " "
	}
	return because(CauseOtherServer, g.cure, "%s%s: it %s", subject, g.does, v.answered())
}

// judgeWrapped is the verdict on a page that has the answer and more, or nil.
func (i *inspection) judgeWrapped(v visit, where string) *verdict {
	if v.outcome != outcomeWrong || v.page == nil || v.page.StatusCode != http.StatusOK {
		return nil
	}
	before, after, found := strings.Cut(string(v.page.body), i.proof.KeyAuthorization)
	if !found {
		return nil
	}
	var around []string
	if before != "" {
		around = append(around, quotedStart(escape.Text(before, 100))+" before it")
	}
	if strings.TrimSpace(after) != "" {
		around = append(around, quotedStart(escape.Text(after, 100))+" after it")
	}
	return because(CauseBrokenServer, "let it answer with the key authorization alone, without a byte-order mark, quotes or HTML",
		"%s answers with the key authorization, but with %s", where, strings.Join(around, " and "))
}

// behindFrontend is the verdict if a content delivery network, a proxy or a load balancer answers.
func (i *inspection) behindFrontend(f frontend, v visit, subject string) *verdict {
	reason := fmt.Sprintf("%s answers from %s (%s), not from this process", subject, f.name, f.mark)
	cure := "let the " + f.kind + " forward " + challenge.HTTP01Path
	switch g, guarded := v.guard(); {
	case i.proof.Type == acme.TypeTLSALPN01:
		reason = fmt.Sprintf("%s answers from %s (%s), which ends TLS itself, not from this process", subject, f.name, f.mark)
		cure = "use HTTP-01 with the " + f.kind + " forwarding " + challenge.HTTP01Path
	case f.name == cloudflare && v.page != nil && isOriginFailure(v.page.StatusCode):
		does, originCure := originFailure(v.page.StatusCode)
		reason = fmt.Sprintf("%s answers from %s (%s), which %s: %s", subject, f.name, f.mark, does, v.lastAnswer().Status)
		cure = originCure
	case guarded && v.page.StatusCode >= http.StatusInternalServerError:
		reason = fmt.Sprintf("%s answers from %s (%s), which reaches no healthy server behind it: %s", subject, f.name, f.mark, v.lastAnswer().Status)
		cure = g.cure
	case guarded:
		reason = fmt.Sprintf("%s answers from %s (%s); it, or the server behind it, %s: %s", subject, f.name, f.mark, g.does, v.lastAnswer().Status)
		cure = g.cure
	}
	if i.proof.Identifier.Type == acme.TypeDNS {
		cure = "use DNS-01, or " + cure
	}
	return because(CauseCDN, cure, "%s", reason)
}

// isOriginFailure reports whether a status is one of Cloudflare's own for failures of the server behind it.
func isOriginFailure(status int) bool { return status >= 520 && status <= 530 }

// originFailure tells of such a failure.
func originFailure(status int) (does, cure string) {
	switch status {
	case 525, 526:
		return "does not take the certificate of the server behind it, as its SSL/TLS encryption mode demands",
			"exempt " + challenge.HTTP01Path + " from redirects to https, or set the mode from Full (strict) to Full and let that server show any certificate until it has its own"
	}
	return "does not reach the server behind it", "check whether that server listens, and lets Cloudflare's addresses in"
}

// judgeLoop is the verdict on redirects without end. With a content delivery network in front, they mostly
// come from how it asks the server behind it.
func judgeLoop(v visit, subject string) *verdict {
	cure := exemption
	secure := func(h Hop) bool { return strings.HasPrefix(h.URL, "https:") }
	for _, hop := range v.Hops {
		f, ok := frontendOf(hop.Headers)
		if !ok || !slices.ContainsFunc(v.Hops, secure) {
			continue
		}
		return because(CauseRedirectLoop, exemption+", or "+f.schemeCure(),
			"%s %s: %s (%s) and the server behind it disagree on https", subject, v.redirects(), f.name, f.mark)
	}
	return because(CauseRedirectLoop, cure, "%s %s", subject, v.redirects())
}

// schemeCure says how a front end is made to ask the server behind it by https.
func (f frontend) schemeCure() string {
	switch f.name {
	case cloudflare:
		return "set Cloudflare's SSL/TLS encryption mode to Full (strict): in the mode Flexible it asks a server by http that then redirects to https again"
	case "CloudFront":
		return "set the origin protocol policy of CloudFront to HTTPS only: with HTTP only it asks a server by http that then redirects to https again"
	}
	return "have the " + f.kind + " ask the server behind it by https: one asked by http redirects to https again"
}

// withoutClientAuth is the cure if a TLS server asks for client certificates.
const withoutClientAuth = "answer acme-tls/1 without ClientAuth: let GetConfigForClient return a tls.Config without it if solver.IsChallenge"

// judgeClientCertificate is the verdict on a server that asks for a client certificate.
func (i *inspection) judgeClientCertificate(v visit, where string) *verdict {
	cure := exemption + " to https, or let that server answer there without client certificates"
	if i.proof.Type == acme.TypeTLSALPN01 {
		cure = withoutClientAuth
	}
	return because(CauseClientCertificate, cure, "%s turns CAs away: %s", where, escape.Text(v.err.Error(), 250))
}
