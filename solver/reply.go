package solver

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

// maxRecords bounds the records of a section. A name that is validated often and never cleaned up has
// some dozens.
const maxRecords = 1000

// A reply is a server's answer to a query: records of class IN only.
type reply struct {
	RCode         dnsmessage.RCode
	Authoritative bool // the server holds the zone
	Authenticated bool // the resolver vouches for DNSSEC
	Truncated     bool // never set in what exchange returns
	Answers       []dnsmessage.Resource
	Authorities   []dnsmessage.Resource
	Extended      []extendedError // what the server says of its answer, or of why it has none
}

// errStray says that a message is no answer to the question asked.
var errStray = errors.New("an answer to another question")

// parseReply reads an answer to sent. Records that cannot be read, such as an SOA with a dot in a label
// of its mailbox, which dnsmessage refuses, become dnsmessage.UnknownResource.
func parseReply(message []byte, sent packedQuery) (*reply, error) {
	var p dnsmessage.Parser
	header, err := p.Start(message)
	if err != nil || header.ID != sent.id || !header.Response || header.OpCode != 0 {
		return nil, errStray
	}
	r := &reply{
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
		!sameName(question.Name.String(), sent.question.Name.String()):
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

// follow returns the name to which the CNAMEs in r lead from name.
func (r *reply) follow(name string) string {
	for range maxAliases + 1 { // a loop ends here too
		next := r.alias(name)
		if next == "" {
			return name
		}
		name = next
	}
	return name
}

// alias returns the target of the CNAME at name, or "" if r has none.
func (r *reply) alias(name string) string {
	for _, record := range r.Answers {
		if cname, ok := record.Body.(*dnsmessage.CNAMEResource); ok && sameName(record.Header.Name.String(), name) {
			return bareName(cname.CNAME.String())
		}
	}
	return ""
}

// textValues returns the values of the TXT records at name, or where the CNAMEs in r lead from there. The
// strings of one record are one value (RFC 8555 §8.4).
func textValues(r *reply, name string) []string {
	var values []string
	name = r.follow(name)
	for _, record := range r.Answers {
		if txt, ok := record.Body.(*dnsmessage.TXTResource); ok && sameName(record.Header.Name.String(), name) {
			values = append(values, strings.Join(txt.TXT, ""))
		}
	}
	return values
}

// addressValues is textValues for A and AAAA records.
func addressValues(r *reply, name string) []netip.Addr {
	var values []netip.Addr
	name = r.follow(name)
	for _, record := range r.Answers {
		if !sameName(record.Header.Name.String(), name) {
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

// bareName returns a name in the form that this package compares and shows: lower-case ASCII, no final dot.
// The root is ".".
func bareName(name string) string {
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

// sameName compares names as DNS does. Letters beyond ASCII have no case there.
func sameName(a, b string) bool { return bareName(a) == bareName(b) }

// An rcodeError is a server's word that it has no answer.
type rcodeError dnsmessage.RCode

func (e rcodeError) Error() string { return rcodeText(dnsmessage.RCode(e)) }

// A refusal is a reply without an answer. It wraps the rcodeError.
type refusal struct {
	server string
	reply  *reply
}

func (e *refusal) Error() string { return fmt.Sprintf("%.100q: %s", e.server, e.said()) }

// said is the reply in words.
func (e *refusal) said() string {
	if extended := extendedText(e.reply.Extended); extended != "" {
		return rcodeText(e.reply.RCode) + " (" + extended + ")"
	}
	return rcodeText(e.reply.RCode)
}

func (e *refusal) Unwrap() error { return rcodeError(e.reply.RCode) }

// rcodeText returns the name that DNS tools print for a response code.
func rcodeText(c dnsmessage.RCode) string {
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
