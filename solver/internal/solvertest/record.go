package solvertest

import (
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

// NewName returns a name with or without a final dot.
func NewName(name string) dnsmessage.Name {
	return dnsmessage.MustNewName(strings.TrimSuffix(name, ".") + ".")
}

// NewRecord returns a record as Nameserver.Add takes it. It panics on a type that it does not know.
func NewRecord(name, kind, value string) dnsmessage.Resource {
	r := dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: NewName(name), Class: dnsmessage.ClassINET, TTL: 60}}
	switch kind {
	case "A":
		r.Header.Type, r.Body = dnsmessage.TypeA, new(dnsmessage.AResource)
		if value != "" {
			r.Body = &dnsmessage.AResource{A: netip.MustParseAddr(value).As4()}
		}
	case "AAAA":
		r.Header.Type, r.Body = dnsmessage.TypeAAAA, new(dnsmessage.AAAAResource)
		if value != "" {
			r.Body = &dnsmessage.AAAAResource{AAAA: netip.MustParseAddr(value).As16()}
		}
	case "NS":
		r.Header.Type, r.Body = dnsmessage.TypeNS, &dnsmessage.NSResource{NS: NewName(value)}
	case "CNAME":
		r.Header.Type, r.Body = dnsmessage.TypeCNAME, &dnsmessage.CNAMEResource{CNAME: NewName(value)}
	case "SOA":
		r.Header.Type, r.Body = dnsmessage.TypeSOA, &dnsmessage.SOAResource{NS: NewName(name), MBox: NewName(name), Serial: 1, MinTTL: 60}
	case "TXT":
		body := &dnsmessage.TXTResource{}
		for ; len(value) > 255; value = value[255:] {
			body.TXT = append(body.TXT, value[:255])
		}
		body.TXT = append(body.TXT, value)
		r.Header.Type, r.Body = dnsmessage.TypeTXT, body
	case "CAA":
		flags, property, _ := strings.Cut(value, " ")
		tag, text, _ := strings.Cut(property, " ")
		flag, _ := strconv.Atoi(flags)
		data := append([]byte{byte(flag), byte(len(tag))}, tag+text...)
		r.Header.Type, r.Body = 257, &dnsmessage.UnknownResource{Type: 257, Data: data}
	default:
		panic("no record type " + kind)
	}
	return r
}

// bareName returns a name in lower case and without a final dot.
func bareName(name string) string {
	if name == "." {
		return name
	}
	return strings.ToLower(strings.TrimSuffix(name, "."))
}
