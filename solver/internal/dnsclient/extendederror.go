package dnsclient

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/everseal/everseal/solver/internal/escape"
)

// An ExtendedError is what a server says beside its response code (RFC 8914).
type ExtendedError struct {
	code uint16
	text string // the server's own words, as sent, but for what is beyond maxExtraText
}

const (
	maxExtended  = 4   // of one answer
	maxExtraText = 200 // bytes of the words of each

	maxExtendedText = 300 // bytes of all in a sentence

	optionExtendedError = 15 // RFC 8914 §4
)

// String returns the error with its name, escaped.
func (e ExtendedError) String() string {
	words := fmt.Sprintf("extended error %d", e.code)
	if name := e.name(); name != "" {
		words += ", " + name
	}
	if e.text != "" {
		words += ": " + escape.Text(e.text, maxExtraText)
	}
	return words
}

// name returns the purpose that the code is registered for, or "".
func (e ExtendedError) name() string {
	names := [...]string{
		"Other Error", "Unsupported DNSKEY Algorithm", "Unsupported DS Digest Type", "Stale Answer", "Forged Answer", // 0 to 4
		"DNSSEC Indeterminate", "DNSSEC Bogus", "Signature Expired", "Signature Not Yet Valid", "DNSKEY Missing", // 5 to 9
		"RRSIGs Missing", "No Zone Key Bit Set", "NSEC Missing", "Cached Error", "Not Ready", // 10 to 14
		"Blocked", "Censored", "Filtered", "Prohibited", "Stale NXDOMAIN Answer", // 15 to 19
		"Not Authoritative", "Not Supported", "No Reachable Authority", "Network Error", "Invalid Data", // 20 to 24
		"Signature Expired before Valid", "Too Early", "Unsupported NSEC3 Iterations Value", "Unable to conform to policy", "Synthesized", // 25 to 29
	}
	if int(e.code) < len(names) {
		return names[e.code]
	}
	return ""
}

// IsDNSSEC reports whether the signatures are at fault.
func (e ExtendedError) IsDNSSEC() bool {
	return slices.Contains([]uint16{1, 2, 5, 6, 7, 8, 9, 10, 11, 12, 25, 27}, e.code)
}

// IsPolicy reports whether the server would have an answer, and does not want to give it.
func (e ExtendedError) IsPolicy() bool { return e.code >= 15 && e.code <= 18 }

// ExtendedTexts returns the errors in words.
func ExtendedTexts(errs []ExtendedError) (words []string) {
	for _, e := range errs {
		words = append(words, e.String())
	}
	return words
}

// ExtendedText lists the errors, within maxExtendedText.
func ExtendedText(errs []ExtendedError) string {
	return escape.Text(strings.Join(ExtendedTexts(errs), "; "), maxExtendedText)
}

// readOptions takes from the additional section what EDNS has (RFC 6891 §6.1): the rest of the response code, and
// extended errors. A section that cannot be read is passed over: the answer stands before it.
func (r *Reply) readOptions(p *dnsmessage.Parser) {
	for range maxRecords {
		h, err := p.AdditionalHeader()
		if err != nil {
			return
		}
		if h.Type != dnsmessage.TypeOPT {
			if p.SkipAdditional() != nil {
				return
			}
			continue
		}
		r.RCode = h.ExtendedRCode(r.RCode)
		options, err := p.OPTResource()
		if err != nil {
			return
		}
		for _, option := range options.Options {
			if option.Code == optionExtendedError && len(option.Data) >= 2 && len(r.Extended) < maxExtended {
				r.Extended = append(r.Extended, parseExtendedError(option.Data))
			}
		}
		return
	}
}

// parseExtendedError reads the data of an option, two bytes or more. Some servers end their words with a NUL.
func parseExtendedError(data []byte) ExtendedError {
	text := strings.TrimRight(string(data[2:min(len(data), 2+maxExtraText)]), "\x00")
	return ExtendedError{binary.BigEndian.Uint16(data), text}
}

// ExtendedErrors returns what resolvers that have no answer say of it.
func ExtendedErrors(err error) []ExtendedError {
	if one, ok := err.(*Refusal); ok {
		return one.Reply.Extended
	}
	if all, ok := err.(escape.Errors); ok {
		var extended []ExtendedError
		for _, err := range all {
			extended = append(extended, ExtendedErrors(err)...)
		}
		return extended[:min(len(extended), maxExtended)]
	}
	if inside := errors.Unwrap(err); inside != nil {
		return ExtendedErrors(inside)
	}
	return nil
}
