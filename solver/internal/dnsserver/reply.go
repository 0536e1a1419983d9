package dnsserver

import "golang.org/x/net/dns/dnsmessage"

// A reply is the answer to a question.
type reply struct {
	*question
	code          dnsmessage.RCode
	authoritative bool
	truncated     bool // what there is must be asked for over TCP

	answers, authorities []dnsmessage.Resource
	additionals          []dnsmessage.Resource // without which the answer is one, too
}

// pack writes the reply behind what is in buffer, in at most limit bytes. If it does not fit it is truncated, with nothing in
// it.
func (r *reply) pack(buffer []byte, limit int) []byte {
	fits := func(packed []byte, err error) bool { return err == nil && len(packed)-len(buffer) <= limit }
	packed, err := r.write(buffer)
	if !fits(packed, err) {
		r.additionals = nil
		packed, err = r.write(buffer)
	}
	if !fits(packed, err) {
		r.answers, r.authorities, r.truncated = nil, nil, true
		packed, err = r.write(buffer)
	}
	if !fits(packed, err) {
		return buffer // which no question brings about
	}
	return packed
}

func (r *reply) write(buffer []byte) ([]byte, error) {
	const lowerBits = 1<<4 - 1 // of the code; the others are in the OPT record
	message := dnsmessage.Message{
		Header: dnsmessage.Header{
			ID:               r.header.ID,
			Response:         true,
			OpCode:           r.header.OpCode,
			Authoritative:    r.authoritative,
			Truncated:        r.truncated,
			RecursionDesired: r.header.RecursionDesired,
			CheckingDisabled: r.header.CheckingDisabled, // RFC 4035 §3.1.6
			RCode:            r.code & lowerBits,
		},
		Answers:     r.answers,
		Authorities: r.authorities,
		Additionals: r.additionals,
	}
	if r.asked {
		message.Questions = []dnsmessage.Question{r.Question} // its letters as they came
	}
	if r.edns {
		option := dnsmessage.Resource{Body: &dnsmessage.OPTResource{}}
		if err := option.Header.SetEDNS0(maxOverUDP, r.code, r.dnssec); err != nil {
			return nil, err
		}
		message.Additionals = append(message.Additionals[:len(message.Additionals):len(message.Additionals)], option)
	}
	return message.AppendPack(buffer)
}
