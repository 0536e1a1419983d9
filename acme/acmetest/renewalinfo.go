package acmetest

import (
	"bytes"
	"cmp"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"time"
)

// A RenewalInfo is what clients are told of when to renew a certificate (RFC 9773 §4.2).
type RenewalInfo struct {
	// Start and End are those of the suggested window, given out as they are, even if one makes no
	// sense. Both zero: two hundredths of the lifetime around the end of its second third; around its
	// half if it is under ten days; in the past as soon as the certificate has been revoked.
	Start, End     time.Time
	ExplanationURL string        // empty: none
	RetryAfter     time.Duration // in whole seconds; zero: six hours; less: no header
}

// SetRenewalInfo changes what clients are told about the certificate with the serial number. The zero
// info takes the change back.
func (s *Server) SetRenewalInfo(serial *big.Int, info RenewalInfo) {
	s.prepare()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.renewalInfos[serial.String()] = info
}

// A renewalInfoResource is a RenewalInfo as the client sees it.
type renewalInfoResource struct {
	SuggestedWindow struct {
		Start time.Time `json:"start"`
		End   time.Time `json:"end"`
	} `json:"suggestedWindow"`
	ExplanationURL string `json:"explanationURL,omitempty"`
}

// renewalInfo answers with when to renew a certificate. Anybody may ask (RFC 9773 §4.1).
func (s *Server) renewalInfo(w http.ResponseWriter, r *http.Request) {
	if !allowMethods(w, r, http.MethodGet, http.MethodHead) {
		return
	}
	s.mu.Lock()
	c, err := s.identified(r.PathValue("id"))
	var info RenewalInfo
	if err == nil {
		info = s.renewalInfoOf(c, time.Now())
	}
	s.mu.Unlock()
	if err != nil {
		writeProblem(w, asProblem(err))
		return
	}
	setRetryAfter(w.Header(), cmp.Or(info.RetryAfter, 6*time.Hour))
	resource := renewalInfoResource{ExplanationURL: info.ExplanationURL}
	resource.SuggestedWindow.Start, resource.SuggestedWindow.End = info.Start.UTC(), info.End.UTC()
	writeJSON(w, http.StatusOK, resource)
}

// renewalInfoOf is called with s.mu held.
func (s *Server) renewalInfoOf(c *certificate, now time.Time) RenewalInfo {
	info := s.renewalInfos[c.leaf.SerialNumber.String()]
	switch {
	case !info.Start.IsZero() || !info.End.IsZero():
	case c.revoked:
		info.Start = now.Add(-time.Hour).Truncate(time.Second)
		info.End = info.Start.Add(30 * time.Minute)
	default:
		lifetime := c.leaf.NotAfter.Sub(c.leaf.NotBefore)
		remaining := lifetime / 3
		if lifetime < 10*24*time.Hour {
			remaining = lifetime / 2
		}
		center := c.leaf.NotAfter.Add(-remaining)
		info.Start, info.End = center.Add(-lifetime/100), center.Add(lifetime/100)
	}
	return info
}

// replaceable returns the certificate with the identifier if the order may replace it (RFC 9773 §5). It
// is called with s.mu held.
func (s *Server) replaceable(id string, o *order) (*certificate, error) {
	c, err := s.identified(id)
	if err != nil {
		return nil, err
	}
	switch names := identifiersOf(c.leaf); {
	case c.account != o.account:
		return nil, problemf(unauthorized, "the certificate to replace belongs to another account")
	case !slices.ContainsFunc(o.identifiers, func(id identifier) bool { return slices.Contains(names, id) }):
		return nil, problemf(malformed, "the order shares no identifier with the certificate to replace")
	case c.replacement != nil && c.replacement.update(time.Now()) != statusInvalid:
		return nil, problemf(alreadyReplaced, "the order %s replaces the certificate already", c.replacement.id)
	}
	return c, nil
}

// identified returns the certificate with the identifier of RFC 9773 §4.1. It is called with s.mu held.
func (s *Server) identified(id string) (*certificate, error) {
	encodedKey, encodedSerial, found := strings.Cut(id, ".")
	if !found {
		return nil, problemf(malformed, "%s is not a certificate's identifier: it has no dot (RFC 9773 §4.1)", quote(id))
	}
	key, err := decodeBase64URL("key identifier", encodedKey)
	if err != nil {
		return nil, err
	}
	serial, err := decodeBase64URL("serial number", encodedSerial)
	if err != nil {
		return nil, err
	}
	number := new(big.Int).SetBytes(serial)
	if len(key) == 0 || number.Sign() == 0 || !bytes.Equal(serial, derInteger(number)) {
		return nil, problemf(malformed, "%s is not a certificate's identifier: it lacks the key identifier, or the serial number is not a positive integer in DER (RFC 9773 §4.1)", quote(id))
	}
	c := s.certificatesBySerial[number.String()]
	if c == nil || !bytes.Equal(c.leaf.AuthorityKeyId, key) {
		return nil, statusProblemf(http.StatusNotFound, malformed, "this CA has issued no certificate with the identifier %s", quote(id))
	}
	return c, nil
}

// derInteger returns the content of the DER encoding of a positive integer: a zero goes first if the
// first bit would be taken for a sign.
func derInteger(n *big.Int) []byte {
	encoded := n.Bytes()
	if len(encoded) > 0 && encoded[0] >= 0x80 {
		encoded = append([]byte{0}, encoded...)
	}
	return encoded
}
