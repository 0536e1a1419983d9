package diagnose

import (
	"context"
	"slices"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver/internal/challenge"
	"github.com/everseal/everseal/solver/internal/dnsclient"
	"github.com/everseal/everseal/solver/internal/escape"
	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sync/errgroup"
)

// recordEvidence is what is to be seen of the TXT record of a DNS challenge.
type recordEvidence struct {
	name, value string   // of the record
	chain       []string // from name along its CNAMEs to where the record must be
	ownZone     string   // that name is in
	zone        string   // that the last of chain is in
	err         error    // why these, or the servers, could not be found out
	servers     []recordServer
	resolver    *dnsclient.Reply // nil: the resolvers have no answer
	resolverErr error            // a *lookupError, or nil
	inResolver  bool             // the record is in their answer
	doubled     bool             // the record is at the name with the zone's once more at its end
}

// A recordServer is an authoritative server and its answer.
type recordServer struct {
	dnsclient.Nameserver
	reply *dnsclient.Reply // nil: it gave none of use
	fault *faultyServer    // why, if it has none of use and that can be told from here
	has   bool             // the record is in it
}

// seen reports whether all servers that answer have the record.
func (e *recordEvidence) seen() bool {
	has, lacks, _ := e.count()
	return len(has) > 0 && len(lacks) == 0
}

// count sorts the servers.
func (e *recordEvidence) count() (has, lacks, mute []recordServer) {
	for _, s := range e.servers {
		switch {
		case s.has:
			has = append(has, s)
		case s.reply != nil:
			lacks = append(lacks, s)
		default:
			mute = append(mute, s)
		}
	}
	return has, lacks, mute
}

const maxQuestions = 8 // asked at once

// findRecords asks the authoritative servers for the record, and the resolvers too.
func (i *inspection) findRecords(ctx context.Context) {
	e := &i.records
	var asking errgroup.Group
	asking.SetLimit(maxQuestions)
	asking.Go(func() error {
		e.resolver, e.resolverErr = i.lookup(ctx, e.name, dnsmessage.TypeTXT)
		if e.resolverErr == nil {
			e.inResolver = i.hasRecord(e.value, e.resolver.Texts(e.name))
		}
		return nil
	})
	e.err = i.findRecordServers(ctx, e)
	for j := range e.servers {
		s := &e.servers[j]
		asking.Go(func() error {
			at := i.target()
			if s.reply, s.fault = i.askFor(ctx, s.Nameserver, at, dnsmessage.TypeTXT); s.reply != nil {
				s.has = i.hasRecord(e.value, s.reply.Texts(at))
			}
			return nil
		})
	}
	asking.Wait()
	i.findDoubled(ctx, e)
}

// findDoubled asks for a record that no server has at the name where a panel may have put it.
func (i *inspection) findDoubled(ctx context.Context, e *recordEvidence) {
	has, lacks, _ := e.count()
	if len(has) > 0 || len(lacks) == 0 {
		return
	}
	doubled := challenge.NearMiss{Name: i.target(), Zone: e.zone}.Doubled()
	if _, err := dnsclient.QuestionName(doubled); err != nil {
		return
	}
	r := i.ask(ctx, lacks[0].Nameserver, doubled, dnsmessage.TypeTXT)
	e.doubled = r != nil && i.hasRecord(e.value, r.Texts(doubled))
}

func (i *inspection) findRecordServers(ctx context.Context, e *recordEvidence) (err error) {
	if e.chain, err = i.dns.CNAMEChain(ctx, e.name); err != nil {
		return err
	}
	e.chain = i.dns.CurrentChain(ctx, e.chain)
	last := e.chain[len(e.chain)-1]
	if len(e.chain) > 1 {
		i.note(Lookup{Name: escape.Text(e.name, 260), Type: "CNAME", Server: "resolver", Code: "NOERROR", Values: escapedNames(e.chain[1:])})
		if e.ownZone, err = i.dns.Zone(ctx, e.name); err != nil {
			return err
		}
	}
	if e.zone, err = i.dns.Zone(ctx, last); err != nil {
		return err
	}
	if e.ownZone == "" {
		e.ownZone = e.zone
	}
	servers, err := i.dns.Nameservers(ctx, e.zone)
	for _, ns := range servers {
		e.servers = append(e.servers, recordServer{Nameserver: ns})
	}
	return err
}

func escapedNames(names []string) []string {
	words := make([]string, len(names))
	for i, name := range names {
		words[i] = escape.Text(name, 260)
	}
	return words
}

// hasRecord reports whether one of the values is the record that is wanted.
func (i *inspection) hasRecord(want string, values []string) bool {
	if i.proof.Type != acme.TypeDNSPersist01 {
		return slices.Contains(values, want)
	}
	return slices.ContainsFunc(values, func(value string) bool { return challenge.IsStandingRecord(value, i.proof, time.Now()) })
}
