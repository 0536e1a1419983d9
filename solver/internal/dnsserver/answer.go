package dnsserver

import (
	"net/netip"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/everseal/everseal/solver/internal/dnsclient"
)

// TTLs in seconds. Texts come and go, and what a resolver keeps of them is wrong soon: it would not see the value that an
// order beside another adds to a name.
const (
	textTTL       = 0
	nameserverTTL = 300
)

// Types that dnsmessage does not know.
const (
	typeHINFO     = dnsmessage.Type(13)
	typeFirstMeta = dnsmessage.Type(128) // from here to 255, types stand for no records (RFC 6895 §3.1)
)

// An answerer makes the reply to a question about a zone.
type answerer struct {
	zones    *Zones
	question *question
	zone     *zone
	name     string // bare
}

// newAnswerer returns what makes the reply, or the reply if that is none about a zone.
func newAnswerer(zones *Zones, q *question) (*answerer, *reply) {
	if q.wrong != dnsmessage.RCodeSuccess {
		return nil, &reply{question: q, code: q.wrong}
	}
	name := dnsclient.BareName(q.Name.String())
	found := zones.find(name)
	isMeta := q.Type >= typeFirstMeta && q.Type < dnsmessage.TypeALL || q.Type == dnsmessage.TypeOPT
	if found == nil || q.Class != dnsmessage.ClassINET || isMeta {
		return nil, &reply{question: q, code: dnsmessage.RCodeRefused}
	}
	return &answerer{zones, q, found, name}, nil
}

// needsRecords reports whether the reply depends on records.
func (a *answerer) needsRecords() bool { return a.question.Type == dnsmessage.TypeTXT || !a.isFixed() }

// isFixed reports whether there is the name whatever records there are.
func (a *answerer) isFixed() bool { return a.isTop() || a.zones.hasServerAt(a.name) }

func (a *answerer) isTop() bool { return a.name == a.zone.name }

// reply returns the reply that the records make.
func (a *answerer) reply(records *Records) *reply {
	r := &reply{question: a.question, authoritative: true}
	if !a.isFixed() && !records.exists(a.name) {
		r.code = dnsmessage.RCodeNameError
	} else {
		a.answer(r, records)
	}
	if len(r.answers) == 0 {
		r.authorities = []dnsmessage.Resource{a.absence()} // RFC 2308 §2
	}
	return r
}

// failure returns the reply if the records can't be had: that there is none would be believed.
func (a *answerer) failure() *reply {
	return &reply{question: a.question, code: dnsmessage.RCodeServerFailure}
}

// answer adds what is asked for, as far as it is there.
func (a *answerer) answer(r *reply, records *Records) {
	add := func(ttl uint32, body dnsmessage.ResourceBody) {
		r.answers = append(r.answers, dnsmessage.Resource{Header: header(a.question.Name, ttl), Body: body})
	}
	switch asked := a.question.Type; asked {
	case dnsmessage.TypeTXT:
		for _, text := range records.Texts(a.name) {
			add(textTTL, &dnsmessage.TXTResource{TXT: stringsOf(text)})
		}
	case dnsmessage.TypeA, dnsmessage.TypeAAAA:
		for _, address := range a.zones.addresses[a.name] {
			if address.Is4() == (asked == dnsmessage.TypeA) {
				add(nameserverTTL, addressBody(address))
			}
		}
	case dnsmessage.TypeSOA:
		if a.isTop() {
			add(negativeTTL, &a.zone.soa)
		}
	case dnsmessage.TypeNS:
		if a.isTop() {
			for i := range a.zone.nameservers {
				add(nameserverTTL, &a.zone.nameservers[i])
			}
			r.additionals = a.zones.glue(a.zone)
		}
	case dnsmessage.TypeALL:
		// One short record stands for all that there are (RFC 8482 §4.2).
		add(textTTL, &dnsmessage.UnknownResource{Type: typeHINFO, Data: []byte("\x07RFC8482\x00")})
	}
}

// absence returns the SOA record that is there in place of others. Its name has the letters of the question's.
func (a *answerer) absence() dnsmessage.Resource {
	name := a.question.Name
	length := len(a.zone.name) + 1
	copy(name.Data[:], name.Data[int(name.Length)-length:name.Length])
	name.Length = uint8(length)
	return dnsmessage.Resource{Header: header(name, negativeTTL), Body: &a.zone.soa}
}

// glue returns the addresses of a zone's name servers that are in one of the zones.
func (z *Zones) glue(of *zone) (records []dnsmessage.Resource) {
	for _, ns := range of.nameservers {
		for _, address := range z.addresses[dnsclient.BareName(ns.NS.String())] {
			records = append(records, dnsmessage.Resource{Header: header(ns.NS, nameserverTTL), Body: addressBody(address)})
		}
	}
	return records
}

func header(name dnsmessage.Name, ttl uint32) dnsmessage.ResourceHeader {
	return dnsmessage.ResourceHeader{Name: name, Class: dnsmessage.ClassINET, TTL: ttl}
}

func addressBody(address netip.Addr) dnsmessage.ResourceBody {
	if address.Is4() {
		return &dnsmessage.AResource{A: address.As4()}
	}
	return &dnsmessage.AAAAResource{AAAA: address.As16()}
}

// stringsOf returns the value as the strings of a TXT record, each of 255 bytes at most (RFC 1035 §3.3).
func stringsOf(value string) []string {
	const longest = 255
	parts := make([]string, 0, 1+len(value)/longest)
	for len(value) > longest {
		parts = append(parts, value[:longest])
		value = value[longest:]
	}
	return append(parts, value)
}
