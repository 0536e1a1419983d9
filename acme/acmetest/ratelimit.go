package acmetest

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// RateLimits are how often a CA lets things happen (RFC 8555 §6.6), in the shape of those of Let's Encrypt.
// What is too often is refused as rateLimited, with a Retry-After that says when there is room again.
//
// An order for exactly the identifiers of a certificate of the last 120 days is exempt from NewOrders and
// Certificates. One that rightly says what it replaces (RFC 9773 §5), in the window that is suggested for that,
// is exempt from all, but for a pause. Whether there is room for another certificate is checked when it is
// ordered; it is counted when it is issued, exempt or not, by Certificates unless one of the last 120 days has
// exactly its identifiers.
type RateLimits struct {
	NewAccounts Limit // from one IP address
	NewOrders   Limit // of one account
	// Certificates are those for one registered domain, whoever orders them. An IPv4 address and the /64
	// of an IPv6 address count as one.
	Certificates Limit
	// SameCertificates are those for one exact set of identifiers, whoever orders them.
	SameCertificates Limit
	// FailedAuthorizations are those of one account for one identifier.
	FailedAuthorizations Limit
	// FailuresInARow are failed authorizations of one account for one identifier without a success in
	// between. When there is no room for another, its orders for the identifier are paused, which is refused
	// without a Retry-After, until [Server.Unpause].
	FailuresInARow Limit

	// RegisteredDomain returns the registered domain that a name, without "*.", belongs to; nil: its last
	// two labels, which is too short below suffixes such as co.uk. It must be pure.
	RegisteredDomain func(name string) string
}

// renewalPeriod is for how long an order for the identifiers of a certificate is a renewal.
const renewalPeriod = 120 * 24 * time.Hour

// LetsEncryptLimits returns those that Let's Encrypt has in production. Its limits for requests per second
// are not among them.
func LetsEncryptLimits() RateLimits {
	const day = 24 * time.Hour
	return RateLimits{
		NewAccounts:          Limit{10, 3 * time.Hour},
		NewOrders:            Limit{300, 3 * time.Hour},
		Certificates:         Limit{50, 7 * day},
		SameCertificates:     Limit{5, 7 * day},
		FailedAuthorizations: Limit{5, time.Hour},
		FailuresInARow:       Limit{1152, 1152 * day},
	}
}

// Unpause ends the pause of orders for an identifier, for all accounts. It is what users do at the URL that
// a refusal tells them; nothing is served there.
func (s *Server) Unpause(identifier string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.accounts {
		s.forgetFailures(a, strings.ToLower(identifier))
	}
}

// admitAccount refuses a new account that is one too many. It is called with s.mu held.
func (s *Server) admitAccount(r *http.Request) error {
	address := r.RemoteAddr
	if addrPort, err := netip.ParseAddrPort(address); err == nil {
		address = addrPort.Addr().String()
	}
	return s.admit([]bucket{{s.RateLimits.NewAccounts, "new accounts from this IP address", address}}, nil)
}

// admitOrder refuses an order that is one too many, or for a certificate that would be. It is called with
// s.mu held.
func (s *Server) admitOrder(o *order) error {
	check := []bucket{s.certificatesForSet(o)}
	for _, asked := range o.asked {
		name := baseName(s.needed(o.account, asked).identifier.Value)
		if err := s.checkPaused(o.account, name); err != nil {
			return err
		}
		check = append(check, s.failures(o.account, name))
	}
	switch {
	case s.replacesInTime(o):
		return nil
	case s.isRenewal(o):
		return s.admit(nil, check)
	}
	orders := bucket{s.RateLimits.NewOrders, "new orders of this account", o.account.ID}
	return s.admit([]bucket{orders}, append(check, s.certificatesByDomain(o)...))
}

// admitAuthorization refuses an authorization in advance for a name with which too many have failed. It is
// called with s.mu held.
func (s *Server) admitAuthorization(a *account, name string) error {
	if err := s.checkPaused(a, name); err != nil {
		return err
	}
	return s.admit(nil, []bucket{s.failures(a, name)})
}

// countIssued counts the order's certificate. It is called with s.mu held.
func (s *Server) countIssued(o *order) {
	s.count(s.certificatesForSet(o))
	if !s.isRenewal(o) {
		s.count(s.certificatesByDomain(o)...)
	}
	s.issuedSets[setOf(o.identifiers)] = time.Now()
}

// isRenewal reports whether there is a certificate of late for exactly the order's identifiers. It is called with s.mu held.
func (s *Server) isRenewal(o *order) bool {
	issued, ok := s.issuedSets[setOf(o.identifiers)]
	return ok && time.Since(issued) < renewalPeriod
}

// replacesInTime reports whether the order replaces a certificate in the window that is suggested for that. It
// is called with s.mu held.
func (s *Server) replacesInTime(o *order) bool {
	if o.replaces == "" {
		return false
	}
	c, err := s.identified(o.replaces)
	if err != nil {
		return false
	}
	now := time.Now()
	window := s.renewalInfoOf(c, now)
	return !now.Before(window.Start) && now.Before(window.End)
}

// countValidated counts an authorization that has succeeded or failed. It is called with s.mu held.
func (s *Server) countValidated(a *authorization) {
	name := a.identifier.Value
	if a.status == statusValid {
		s.forgetFailures(a.account, name)
		return
	}
	s.count(s.failures(a.account, name))
	if inARow := s.failuresInARow(a.account, name); !s.count(inARow) {
		s.paused[inARow] = true
	}
}

// checkPaused is called with s.mu held.
func (s *Server) checkPaused(a *account, name string) error {
	if !s.paused[s.failuresInARow(a, name)] {
		return nil
	}
	return problemf(rateLimited, "orders of this account for %q are paused, since too many validations have failed one after the other. Please visit: %s/unpause",
		name, s.origin)
}

func (s *Server) forgetFailures(a *account, name string) {
	inARow := s.failuresInARow(a, name)
	delete(s.paused, inARow)
	delete(s.spent, inARow)
}

func (s *Server) failures(a *account, name string) bucket {
	return bucket{s.RateLimits.FailedAuthorizations, fmt.Sprintf("failed authorizations for %q", name), a.ID}
}

func (s *Server) failuresInARow(a *account, name string) bucket {
	return bucket{s.RateLimits.FailuresInARow, fmt.Sprintf("failed authorizations for %q in a row", name), a.ID}
}

func (s *Server) certificatesForSet(o *order) bucket {
	return bucket{s.RateLimits.SameCertificates, "certificates for exactly these identifiers", setOf(o.identifiers)}
}

// certificatesByDomain returns a bucket for each registered domain in the order.
func (s *Server) certificatesByDomain(o *order) (buckets []bucket) {
	for _, id := range o.identifiers {
		b := bucket{limit: s.RateLimits.Certificates, what: fmt.Sprintf("certificates for %q", s.registeredDomain(id))}
		if !slices.Contains(buckets, b) {
			buckets = append(buckets, b)
		}
	}
	return buckets
}

// registeredDomain returns what certificates for the identifier are counted by.
func (s *Server) registeredDomain(id identifier) string {
	if addr, err := netip.ParseAddr(id.Value); err == nil {
		bits := addr.BitLen()
		if addr.Is6() {
			bits = 64
		}
		return netip.PrefixFrom(addr, bits).Masked().String()
	}
	name := baseName(id.Value)
	if s.RateLimits.RegisteredDomain != nil {
		return s.RateLimits.RegisteredDomain(name)
	}
	labels := strings.Split(name, ".")
	return strings.Join(labels[max(0, len(labels)-2):], ".")
}

// baseName returns the name that a wildcard is for, and others as they are.
func baseName(name string) string { return strings.TrimPrefix(name, "*.") }

// setOf returns the same for the same identifiers in whatever sequence.
func setOf(identifiers []identifier) string {
	var all []string
	for _, id := range identifiers {
		all = append(all, id.Type+":"+id.Value)
	}
	slices.Sort(all)
	return strings.Join(all, ",")
}
