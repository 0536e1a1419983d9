package dnsserver

import (
	"golang.org/x/net/dns/dnsmessage"
)

const (
	headerLength = 12
	maxQuestion  = 512  // bytes of a message that asks; RFC 1035 §4.2.1 has no longer ones over UDP
	maxOverUDP   = 1232 // bytes of an answer over UDP, and what is said of what may be sent (RFC 6891 §6.2.3): more gets lost as fragments
	maxRecords   = 4    // beside the question: OPT, a signature
)

// A question is what a message asks.
type question struct {
	dnsmessage.Question
	header dnsmessage.Header
	length int              // of the message
	size   int              // of answers over UDP that the client takes
	edns   bool             // it has an OPT record
	dnssec bool             // DO, which is to be repeated (RFC 3225 §3)
	asked  bool             // there is a Question
	wrong  dnsmessage.RCode // RCodeSuccess: it can be answered
}

const (
	opcodeQuery     = dnsmessage.OpCode(0)
	rcodeBadVersion = dnsmessage.RCode(16) // RFC 6891 §9
)

// parse reads a message. It reports false for what gets no answer: what is too short for one, and what is an answer itself,
// to which two servers would go on answering each other.
func parse(message []byte) (q question, ok bool) {
	var p dnsmessage.Parser
	header, err := p.Start(message)
	if err != nil || header.Response {
		return question{}, false
	}
	q = question{header: header, length: len(message), size: maxQuestion}
	switch {
	case header.OpCode != opcodeQuery:
		q.wrong = dnsmessage.RCodeNotImplemented
		return q, true
	case !q.parse(&p, message):
		q.wrong = dnsmessage.RCodeFormatError
	}
	return q, true
}

// parse reads what follows the header, and reports false if it is malformed.
func (q *question) parse(p *dnsmessage.Parser, message []byte) bool {
	questions, records := count(message, 4), count(message, 6)+count(message, 8)+count(message, 10)
	if len(message) > maxQuestion || questions != 1 || records > maxRecords {
		return false
	}
	asked, err := p.Question()
	if err != nil {
		return false
	}
	q.Question, q.asked = asked, true
	if p.SkipAllQuestions() != nil || p.SkipAllAnswers() != nil || p.SkipAllAuthorities() != nil {
		return false
	}
	for {
		header, err := p.AdditionalHeader()
		if err == dnsmessage.ErrSectionDone {
			return true
		}
		if err != nil || header.Type == dnsmessage.TypeOPT && !q.takeOPT(header) || p.SkipAdditional() != nil {
			return false
		}
	}
}

// takeOPT reads an OPT record, of which there may be one, at the root (RFC 6891 §6.1.1).
func (q *question) takeOPT(header dnsmessage.ResourceHeader) bool {
	if q.edns || header.Name.Length != 1 {
		return false
	}
	const versionShift, doBit = 16, 1 << 15
	q.edns, q.dnssec = true, header.TTL&doBit != 0
	q.size = max(q.size, int(header.Class))
	if version := uint8(header.TTL >> versionShift); version > 0 {
		q.wrong = rcodeBadVersion
	}
	return true
}

// count returns one of the four numbers of a header, which the message has.
func count(message []byte, at int) int { return int(message[at])<<8 | int(message[at+1]) }
