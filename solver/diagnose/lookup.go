package diagnose

import (
	"context"
	"errors"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/everseal/everseal/solver/internal/dnsclient"
	"github.com/everseal/everseal/solver/internal/escape"
)

// A lookupError says that the resolvers gave no answer to a question.
type lookupError struct {
	name     string
	qtype    dnsmessage.Type
	servfail bool // a resolver said SERVFAIL
	dnssec   bool // and has an answer if it need not be valid by DNSSEC
	extended []dnsclient.ExtendedError
	err      error
}

func (e *lookupError) Error() string { return e.err.Error() }

func (e *lookupError) Unwrap() error { return e.err }

// isServfail reports whether a DNS server said SERVFAIL.
func isServfail(err error) bool {
	return errors.Is(err, dnsclient.RCodeError(dnsmessage.RCodeServerFailure))
}

// lookup asks the resolvers and notes what they say. The error is a *lookupError.
func (i *inspection) lookup(ctx context.Context, name string, qtype dnsmessage.Type) (*dnsclient.Reply, error) {
	r, err := i.dns.Resolve(ctx, name, qtype)
	if err == nil {
		i.note(replyLookup("resolver", name, qtype, r))
		return r, nil
	}
	failure := &lookupError{name: name, qtype: qtype, servfail: isServfail(err), extended: dnsclient.ExtendedErrors(err), err: err}
	if failure.servfail {
		unchecked, err := i.dns.ResolveUnchecked(ctx, name, qtype)
		failure.dnssec = err == nil && unchecked.RCode == dnsmessage.RCodeSuccess
		// A resolver that has failed once, as with a server that was slow, has the answer by now.
		if again, err := i.dns.Resolve(ctx, name, qtype); failure.dnssec && err == nil {
			i.note(replyLookup("resolver", name, qtype, again))
			return again, nil
		}
	}
	i.note(Lookup{
		Name: escape.Text(name, 260), Type: dnsclient.TypeText(qtype), Server: "resolver",
		Error: escape.Text(err.Error(), 300), Extended: dnsclient.ExtendedTexts(failure.extended),
	})
	return nil, failure
}

// note adds to the evidence. Of a zone that says more than any honest one, the rest is left out.
func (i *inspection) note(l Lookup) {
	const maxLookups, maxBytes = 100, 32 << 10
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, value := range l.Values {
		i.noted += len(value)
	}
	if i.noted > maxBytes {
		l.Values, l.Error = nil, "left out: the zone has too much"
	}
	if len(i.lookups) < maxLookups {
		i.lookups = append(i.lookups, l)
	}
}

// ask asks one authoritative server and notes what it says. Nil stands for no answer of use: an error of
// the server, or words that are not its own.
func (i *inspection) ask(ctx context.Context, ns dnsclient.Nameserver, name string, qtype dnsmessage.Type) *dnsclient.Reply {
	r, _ := i.askFor(ctx, ns, name, qtype)
	return r
}

// askFor is ask. It also returns what is wrong with a server that has no answer of use, or nil if that cannot be told
// from here.
func (i *inspection) askFor(ctx context.Context, ns dnsclient.Nameserver, name string, qtype dnsmessage.Type) (*dnsclient.Reply, *faultyServer) {
	l := Lookup{Name: escape.Text(name, 260), Type: dnsclient.TypeText(qtype), Server: ns.Text()}
	r, err := (*dnsclient.Reply)(nil), ns.Err
	if err == nil {
		r, err = i.dns.Exchange(ctx, ns.Addr.String(), dnsclient.Query{Name: name, Type: qtype})
	}
	var fault *faultyServer
	switch {
	case err != nil:
		l.Error = escape.Text(err.Error(), 200)
		if ctx.Err() == nil {
			fault = silentServer(ns, err)
		}
	case r.RCode != dnsmessage.RCodeSuccess && r.RCode != dnsmessage.RCodeNameError:
		l.Code, l.Error, l.Extended = dnsclient.RCodeText(r.RCode), "it has no answer", dnsclient.ExtendedTexts(r.Extended)
		fault = &faultyServer{Nameserver: ns, said: (&dnsclient.Refusal{Reply: r}).Said()}
		r = nil
	case !r.Authoritative:
		l.Code, l.Error, l.Extended = dnsclient.RCodeText(r.RCode), "its answer is not authoritative", dnsclient.ExtendedTexts(r.Extended)
		fault = &faultyServer{Nameserver: ns, said: "that it does not hold the zone"}
		r = nil
	default:
		l = replyLookup(l.Server, name, qtype, r)
	}
	i.note(l)
	return r, fault
}

// replyLookup returns the evidence of an answer.
func replyLookup(server, name string, qtype dnsmessage.Type, r *dnsclient.Reply) Lookup {
	l := Lookup{Name: escape.Text(name, 260), Type: dnsclient.TypeText(qtype), Server: server, Code: dnsclient.RCodeText(r.RCode), Extended: dnsclient.ExtendedTexts(r.Extended)}
	switch qtype {
	case dnsmessage.TypeA, dnsmessage.TypeAAAA:
		for _, addr := range r.Addresses(name) {
			l.Values = append(l.Values, addr.String())
		}
	case dnsmessage.TypeTXT:
		for _, value := range r.Texts(name) {
			l.Values = append(l.Values, escape.Text(value, 200))
		}
	case typeCAA:
		for _, record := range caaRecords(r) {
			l.Values = append(l.Values, record.String())
		}
	}
	const maxValues = 10
	l.Values = l.Values[:min(len(l.Values), maxValues)]
	return l
}
