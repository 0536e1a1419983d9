package solvertest

import "golang.org/x/net/dns/dnsmessage"

// An Answer takes the place of a server's answer: it is given the query and what would be the reply to
// it, and returns the messages to send. See Pack.
type Answer func(network string, query, reply *dnsmessage.Message) [][]byte

// Silent is the Answer of a server that is not there.
func Silent(string, *dnsmessage.Message, *dnsmessage.Message) [][]byte { return nil }

// Failing is the Answer of a server that has none but a response code.
func Failing(code dnsmessage.RCode) Answer {
	return func(_ string, _, reply *dnsmessage.Message) [][]byte {
		reply.RCode, reply.Authoritative, reply.Answers, reply.Authorities = code, false, nil, nil
		return Pack(reply)
	}
}

// Pack returns the one message, packed.
func Pack(m *dnsmessage.Message) [][]byte {
	packed, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return [][]byte{packed}
}

// WithExtended returns an Answer that is as the server's would be, with a response code and an extended error.
func WithExtended(code dnsmessage.RCode, extended uint16, text string) Answer {
	return func(network string, query, reply *dnsmessage.Message) [][]byte {
		if code != dnsmessage.RCodeSuccess {
			reply.RCode, reply.Authoritative, reply.Answers, reply.Authorities = code, false, nil, nil
		}
		reply.Additionals = []dnsmessage.Resource{NewOPT(append([]byte{byte(extended >> 8), byte(extended)}, text...))}
		return Pack(reply)
	}
}

// NewOPT returns an OPT record of EDNS with an option for each extended error.
func NewOPT(errs ...[]byte) dnsmessage.Resource {
	const extendedError = 15 // RFC 8914 §4
	options := []dnsmessage.Option{{Code: 10, Data: []byte("a cookie")}}
	for _, data := range errs {
		options = append(options, dnsmessage.Option{Code: extendedError, Data: data})
	}
	record := dnsmessage.Resource{Body: &dnsmessage.OPTResource{Options: options}}
	if err := record.Header.SetEDNS0(1232, dnsmessage.RCodeSuccess, false); err != nil {
		panic(err)
	}
	return record
}
