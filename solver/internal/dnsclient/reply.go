package dnsclient

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

// maxRecords bounds the records of a section. A name that is validated often and never cleaned up has
// some dozens.
const maxRecords = 1000

// A Reply is a server's answer to a query: records of class IN only.
type Reply struct {
	RCode         dnsmessage.RCode
	Authoritative bool // the server holds the zone
	Authenticated bool // the resolver vouches for DNSSEC
	Truncated     bool // never set in what exchange returns
	Answers       []dnsmessage.Resource
	Authorities   []dnsmessage.Resource
	Extended      []ExtendedError // what the server says of its answer, or of why it has none
}

// errStray says that a message is no answer to the question asked.
var errStray = errors.New("an answer to another question")

// parseReply reads an answer to sent. Records that cannot be read, such as an SOA with a dot in a label
// of its mailbox, which dnsmessage refuses, become dnsmessage.UnknownResource.
func parseReply(message []byte, sent packedQuery) (*Reply, error) {
	var p dnsmessage.Parser
	header, err := p.Start(message)
	if err != nil || header.ID != sent.id || !header.Response || header.OpCode != 0 {
		return nil, errStray
	}
	r := &Reply{
		RCode:         header.RCode,
		Authoritative: header.Authoritative,
		Authenticated: header.AuthenticData,
		Truncated:     header.Truncated,
	}
	question, err := p.Question()
	switch {
	case errors.Is(err, dnsmessage.ErrSectionDone):
		// Servers that do not understand the question may leave it out. Such an answer tells nothing but that.
		if r.RCode == dnsmessage.RCodeSuccess || r.RCode == dnsmessage.RCodeNameError {
			return nil, errStray
		}
		return r, nil
	case err != nil, question.Type != sent.question.Type, question.Class != sent.question.Class,
		!SameName(question.Name.String(), sent.question.Name.String()):
		return nil, errStray
	}
	if _, err := p.Question(); !errors.Is(err, dnsmessage.ErrSectionDone) {
		return nil, errors.New("the answer repeats more than one question")
	}
	if r.Truncated {
		return r, nil // what is there may end anywhere
	}
	if r.Answers, err = readRecords(&p, p.AnswerHeader, p.SkipAnswer); err != nil {
		return nil, fmt.Errorf("the answer cannot be read: %w", err)
	}
	if r.Authorities, err = readRecords(&p, p.AuthorityHeader, p.SkipAuthority); err != nil {
		return nil, fmt.Errorf("the answer cannot be read: %w", err)
	}
	r.readOptions(&p)
	return r, nil
}

// readRecords reads the records of one section. Those whose names dnsmessage refuses are left out: they
// are none that was asked for.
func readRecords(p *dnsmessage.Parser, header func() (dnsmessage.ResourceHeader, error), skip func() error) ([]dnsmessage.Resource, error) {
	var records []dnsmessage.Resource
	for range maxRecords {
		h, err := header()
		if errors.Is(err, dnsmessage.ErrSectionDone) {
			return records, nil
		}
		if err != nil || h.Class != dnsmessage.ClassINET {
			if err := skip(); err != nil {
				return nil, err
			}
			continue
		}
		body, err := readBody(p, h)
		if err != nil {
			return nil, err
		}
		records = append(records, dnsmessage.Resource{Header: h, Body: body})
	}
	return nil, fmt.Errorf("it has more than %d records", maxRecords)
}

func readBody(p *dnsmessage.Parser, h dnsmessage.ResourceHeader) (dnsmessage.ResourceBody, error) {
	var body dnsmessage.ResourceBody
	err := errors.New("of no type that is read here")
	switch {
	case h.Type == dnsmessage.TypeA && h.Length == 4:
		body, err = pointer(p.AResource())
	case h.Type == dnsmessage.TypeAAAA && h.Length == 16:
		body, err = pointer(p.AAAAResource())
	case h.Type == dnsmessage.TypeCNAME:
		body, err = pointer(p.CNAMEResource())
	case h.Type == dnsmessage.TypeNS:
		body, err = pointer(p.NSResource())
	case h.Type == dnsmessage.TypeSOA:
		body, err = pointer(p.SOAResource())
	case h.Type == dnsmessage.TypeTXT:
		body, err = pointer(p.TXTResource())
	}
	if err == nil {
		return body, nil
	}
	unknown, err := p.UnknownResource()
	return &unknown, err
}

func pointer[T any](v T, err error) (*T, error) { return &v, err }

// Follow returns the name to which the CNAMEs in r lead from name.
func (r *Reply) Follow(name string) string {
	for range maxAliases + 1 { // a loop ends here too
		next := r.Alias(name)
		if next == "" {
			return name
		}
		name = next
	}
	return name
}

// Alias returns the target of the CNAME at name, or "" if r has none.
func (r *Reply) Alias(name string) string {
	for _, record := range r.Answers {
		if cname, ok := record.Body.(*dnsmessage.CNAMEResource); ok && SameName(record.Header.Name.String(), name) {
			return BareName(cname.CNAME.String())
		}
	}
	return ""
}

// Texts returns the values of the TXT records at name, or where the CNAMEs in r lead from there. The
// strings of one record are one value (RFC 8555 §8.4).
func (r *Reply) Texts(name string) []string {
	var values []string
	name = r.Follow(name)
	for _, record := range r.Answers {
		if txt, ok := record.Body.(*dnsmessage.TXTResource); ok && SameName(record.Header.Name.String(), name) {
			values = append(values, strings.Join(txt.TXT, ""))
		}
	}
	return values
}

// Addresses is texts for A and AAAA records.
func (r *Reply) Addresses(name string) []netip.Addr {
	var values []netip.Addr
	name = r.Follow(name)
	for _, record := range r.Answers {
		if !SameName(record.Header.Name.String(), name) {
			continue
		}
		switch body := record.Body.(type) {
		case *dnsmessage.AResource:
			values = append(values, netip.AddrFrom4(body.A))
		case *dnsmessage.AAAAResource:
			values = append(values, netip.AddrFrom16(body.AAAA))
		}
	}
	return values
}

// BareName returns a name in the form that this package compares and shows: lower-case ASCII, no final dot.
// The root is ".".
func BareName(name string) string {
	b := []byte(name)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + ('a' - 'A')
		}
	}
	if len(b) > 1 && b[len(b)-1] == '.' {
		b = b[:len(b)-1]
	}
	return string(b)
}

// SameName compares names as DNS does. Letters beyond ASCII have no case there.
func SameName(a, b string) bool { return BareName(a) == BareName(b) }

// An RCodeError is a server's word that it has no answer.
type RCodeError dnsmessage.RCode

// Error returns the name of the code.
func (e RCodeError) Error() string { return RCodeText(dnsmessage.RCode(e)) }

// A Refusal is a reply without an answer. It wraps the rcodeError.
type Refusal struct {
	server string
	Reply  *Reply
}

// Error names the server and what it said.
func (e *Refusal) Error() string { return fmt.Sprintf("%.100q: %s", e.server, e.Said()) }

// Said is the reply in words.
func (e *Refusal) Said() string {
	if extended := ExtendedText(e.Reply.Extended); extended != "" {
		return RCodeText(e.Reply.RCode) + " (" + extended + ")"
	}
	return RCodeText(e.Reply.RCode)
}

// Unwrap returns the RCodeError.
func (e *Refusal) Unwrap() error { return RCodeError(e.Reply.RCode) }

// RCodeText returns the name that DNS tools print for a response code.
func RCodeText(c dnsmessage.RCode) string {
	switch c {
	case dnsmessage.RCodeSuccess:
		return "NOERROR"
	case dnsmessage.RCodeFormatError:
		return "FORMERR"
	case dnsmessage.RCodeServerFailure:
		return "SERVFAIL"
	case dnsmessage.RCodeNameError:
		return "NXDOMAIN"
	case dnsmessage.RCodeNotImplemented:
		return "NOTIMP"
	case dnsmessage.RCodeRefused:
		return "REFUSED"
	case 9:
		return "NOTAUTH"
	}
	return fmt.Sprintf("RCODE %d", uint16(c))
}

// TypeText returns the name of a record type in zone files.
func TypeText(t dnsmessage.Type) string {
	if t == 257 { // RFC 8659 §4.1
		return "CAA"
	}
	if text, ok := strings.CutPrefix(t.String(), "Type"); ok {
		return text
	}
	return "TYPE" + strconv.Itoa(int(t)) // RFC 3597 §5
}
