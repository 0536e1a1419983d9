package dnsserver

import (
	"bytes"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// Whatever comes, the answer, if there is one, is a message in reply to it, within bounds.
func FuzzAnswer(f *testing.F) {
	for _, name := range []string{nameZone + ".", "_ACME-challenge.Example.com.", "customer.acme.example.net.", "x.acme.example.net.", ".", longName + "."} {
		for _, kind := range []dnsmessage.Type{dnsmessage.TypeTXT, dnsmessage.TypeNS, dnsmessage.TypeSOA, dnsmessage.TypeA, dnsmessage.TypeALL, 252} {
			f.Add(pack(f, newQuery(name, kind)))
		}
	}
	s := &Server{Zones: newZones(f), Records: fixed(nameZone, "one", nameZone, "two", "shop.customer.acme.example.net", "three", longName, string(make([]byte, 700)))}
	f.Fuzz(func(t *testing.T, message []byte) {
		q, ok := parse(message)
		if !ok {
			if len(message) >= headerLength && message[2]&0x80 == 0 {
				t.Errorf("%x is no answer and gets none", message)
			}
			return
		}
		a, r := newAnswerer(s.Zones, &q)
		if r == nil {
			r = s.answer(t.Context(), a)
		}
		if r.code == dnsmessage.RCodeServerFailure {
			t.Errorf("%x fails", message)
		}
		packed := r.pack(nil, q.maxAnswer())
		if len(packed) == 0 {
			if q.asked && message[headerLength] < 0xc0 && !bytes.ContainsRune(message[headerLength:], 0xc0) {
				t.Errorf("%x gets no answer", message)
			}
			return
		}
		if len(packed) > maxRatio*len(message) || len(packed) > maxOverUDP || !bytes.Equal(packed[:2], message[:2]) {
			t.Errorf("%x is answered with %x", message, packed)
		}
		answer := unpack(t, packed)
		if !answer.Response || answer.RecursionAvailable || answer.OpCode != q.header.OpCode || len(answer.Questions) > 1 {
			t.Errorf("%x is answered with %+v", message, answer)
		}
		if len(answer.Questions) == 1 && answer.Questions[0] != q.Question {
			t.Errorf("%+v is repeated as %+v", q.Question, answer.Questions[0])
		}
	})
}
