package diagnose

import (
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// A Cause is why a CA's validation failed, or would fail. The zero value stands for none that was found.
type Cause string

// Error returns the cause's name, so that errors.Is finds in an error of [Visible] what it is about.
func (c Cause) Error() string {
	if c == "" {
		return "no cause"
	}
	return string(c)
}

// The causes that are told apart.
const (
	CauseCDN               Cause = "cdn"                // a content delivery network, a proxy or a load balancer answers, and does not forward the challenge
	CauseAddressMismatch   Cause = "address-mismatch"   // the A and AAAA records lead to different servers, and one of them is wrong
	CauseRedirectLoop      Cause = "redirect-loop"      // redirects lead back to where they began, or are more than ten
	CauseRedirect          Cause = "redirect"           // a redirect leads to a host without the answer, or where no CA follows
	CauseOtherServer       Cause = "other-server"       // another server or virtual host answers, or what guards it, or another certificate is shown
	CauseNoALPN            Cause = "no-alpn"            // the server on port 443 does not offer ALPNProto
	CauseClientCertificate Cause = "client-certificate" // the server turns away whoever shows no client certificate, as CAs do not
	CausePortClosed        Cause = "port-closed"        // connections are refused
	CausePortFiltered      Cause = "port-filtered"      // connections are not answered, as by a firewall that drops packets
	CauseBrokenServer      Cause = "broken-server"      // a server takes the connection, and gives no answer that can be read, or one with more in it
	CauseNoAddress         Cause = "no-address"         // the name does not exist, or has no address
	CausePrivateAddress    Cause = "private-address"    // the name leads to an address that the Internet does not reach
	CauseSplitHorizon      Cause = "split-horizon"      // the name leads elsewhere for this process than for the CA
	CauseVantagePoints     Cause = "vantage-points"     // all is right from here, but not from each place that the CA validates from
	CauseDNSFailure        Cause = "dns-failure"        // the DNS servers fail
	CauseDNSSEC            Cause = "dnssec"             // the DNS answers fail validation by DNSSEC
	CauseCAA               Cause = "caa"                // CAA records do not let the CA issue (RFC 8659, RFC 8657)
	CauseRecordMissing     Cause = "record-missing"     // an authoritative server lacks the TXT record
	CauseForeignAlias      Cause = "foreign-alias"      // a CNAME leads the TXT record's name into a zone that lacks it
	CauseUnusableProof     Cause = "unusable-proof"     // the proof cannot be answered at all
)

// A Report is what was seen of a set-up for one challenge, and what follows from it. All text in it that
// came from the network is bounded, and what does not print in it is escaped.
type Report struct {
	Identifier    string `json:"identifier"` // as in the order: with "*." for a wildcard
	ChallengeType string `json:"challengeType"`

	// Seen says that the answer was seen from here wherever a CA may ask for it.
	Seen bool `json:"seen"`

	Cause  Cause  `json:"cause,omitempty"`
	Reason string `json:"reason,omitempty"` // the cause in a sentence, without a full stop
	Cure   string `json:"cure,omitempty"`   // what to do about it, likewise

	Visits  []Visit  `json:"visits,omitempty"`  // the servers asked for the answer itself, with http-01 and tls-alpn-01
	Lookups []Lookup `json:"lookups,omitempty"` // the DNS records seen

	Elsewhere []*Report `json:"elsewhere,omitempty"` // what Vantage.Elsewhere saw, without its evidence
}

// A Visit is what was seen at one address.
type Visit struct {
	Address netip.Addr `json:"address"`
	Sources []string   `json:"sources,omitempty"` // which records the address is from, and who has them
	Hops    []Hop      `json:"hops,omitempty"`    // the requests made, in their order: each but the first follows a redirect
	Right   bool       `json:"right"`             // the answer was there
}

// A Hop is one request and what came of it. For tls-alpn-01 it is a handshake.
type Hop struct {
	URL         string            `json:"url"`
	Address     string            `json:"address,omitempty"`     // that the connection was opened to
	Status      string            `json:"status,omitempty"`      // such as "404 Not Found"
	Headers     map[string]string `json:"headers,omitempty"`     // those that tell servers apart, by their canonical names
	Location    string            `json:"location,omitempty"`    // where it redirects
	Body        string            `json:"body,omitempty"`        // the first hundred bytes
	Protocol    string            `json:"protocol,omitempty"`    // that the TLS handshake settled on (RFC 7301)
	Certificate string            `json:"certificate,omitempty"` // shown in the TLS handshake: its names and its issuer
	Error       string            `json:"error,omitempty"`
}

// A Lookup is the answer to one DNS question.
type Lookup struct {
	Name   string   `json:"name"`
	Type   string   `json:"type"`             // "A", "AAAA", "TXT", "CAA", "CNAME"
	Server string   `json:"server"`           // "resolver", or an authoritative server by name and address
	Code   string   `json:"code,omitempty"`   // such as "NOERROR" and "NXDOMAIN" (RFC 1035 §4.1.1)
	Values []string `json:"values,omitempty"` // at most 10, of 200 bytes each
	Error  string   `json:"error,omitempty"`

	// Extended are the server's extended errors (RFC 8914), at most 4: the code, its meaning, and up to 200 bytes of
	// the server's own words.
	Extended []string `json:"extended,omitempty"`
}

// String returns cause and cure in one line, or that none was found.
func (d *Report) String() string {
	text := "no cause can be seen from here"
	switch {
	case d == nil:
		return "no diagnosis"
	case d.Cause != "":
		return d.Reason + ": " + d.Cure
	case d.Seen:
		text = "nothing wrong can be seen from here"
	}
	if d.Identifier != "" {
		text = d.Identifier + ": " + text
	}
	return text
}

// LogValue returns cause, cure and the evidence, as a group of short attributes (see [slog.LogValuer]).
func (d *Report) LogValue() slog.Value {
	if d == nil {
		return slog.StringValue(d.String())
	}
	attrs := []slog.Attr{slog.Bool("seen", d.Seen)}
	if d.Cause != "" {
		attrs = append(attrs, slog.String("cause", string(d.Cause)), slog.String("reason", d.Reason), slog.String("cure", d.Cure))
	}
	var visits, lookups []string
	for i := range d.Visits {
		visits = append(visits, d.Visits[i].text())
	}
	for i := range d.Lookups {
		lookups = append(lookups, d.Lookups[i].text())
	}
	if visits != nil {
		attrs = append(attrs, slog.Any("visits", visits))
	}
	if lookups != nil {
		attrs = append(attrs, slog.Any("lookups", lookups))
	}
	return slog.GroupValue(attrs...)
}

// text is the visit in one line.
func (v *Visit) text() string {
	words := v.Address.String()
	if len(v.Sources) > 0 {
		words += " (" + strings.Join(v.Sources, ", ") + ")"
	}
	if v.Right {
		return words + " answers right"
	}
	for i := range v.Hops {
		words += "; " + v.Hops[i].text()
	}
	return words
}

// open notes to where the connection is.
func (h *Hop) open(addr netip.AddrPort) {
	if addr.IsValid() {
		h.Address = addr.String()
	}
}

func (h *Hop) text() string {
	words := h.URL
	if h.Status != "" {
		words += " " + h.Status
	}
	for _, name := range slices.Sorted(maps.Keys(h.Headers)) {
		words += ", " + strings.ToLower(name) + ": " + h.Headers[name]
	}
	for _, part := range []struct{ label, value string }{
		{"location: ", h.Location}, {"body: ", h.Body}, {"protocol: ", h.Protocol}, {"certificate ", h.Certificate}, {"", h.Error},
	} {
		if part.value != "" {
			words += ", " + part.label + part.value
		}
	}
	return words
}

// text is the answer in one line.
func (l *Lookup) text() string {
	words := l.Name + " " + l.Type + " by " + l.Server + ": "
	switch {
	case l.Error != "":
		words += l.Error
	case len(l.Values) == 0:
		words += l.Code + " and no record"
	default:
		words += strings.Join(l.Values, ", ")
	}
	if len(l.Extended) > 0 {
		words += " (" + strings.Join(l.Extended, "; ") + ")"
	}
	return words
}
