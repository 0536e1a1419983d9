package diagnose

import (
	"errors"
	"net"
	"slices"
	"strings"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver/internal/dnsclient"
	"github.com/everseal/everseal/solver/internal/escape"
	"github.com/everseal/everseal/solver/internal/reach"
)

// A faultyServer is an authoritative server that is of no use to a CA.
type faultyServer struct {
	dnsclient.Nameserver
	said string // to a question, in words, escaped
}

// outside returns why a CA on the Internet does not reach the server, or nil.
func (s *faultyServer) outside() *reach.ScopeError {
	err, _ := errors.AsType[*reach.ScopeError](s.Err)
	return err
}

// silentServer returns what is wrong with a server that gave no answer, or nil if the reason may be here.
func silentServer(ns dnsclient.Nameserver, err error) *faultyServer {
	if failure, ok := errors.AsType[*dnsclient.ExchangeError](err); ok {
		if failure.NoRoute || errors.Is(err, dnsclient.ErrSpent) {
			return nil
		}
		return &faultyServer{Nameserver: ns, said: "nothing"}
	}
	if cause, ok := errors.AsType[*net.DNSError](err); ok && cause.IsNotFound {
		return &faultyServer{Nameserver: ns, said: "nothing, as its name has no address"}
	}
	if errors.Is(err, reach.ErrPrivate) {
		return &faultyServer{Nameserver: ns, said: "nothing, as no CA on the Internet reaches it"}
	}
	return nil
}

// faulty returns the authoritative servers that are of no use, and the zone; working reports whether others are.
func (i *inspection) faulty() (servers []faultyServer, zone string, working bool) {
	if i.isAsked() {
		return i.hosts.faulty, i.hosts.zone, i.hosts.authority != ""
	}
	for _, s := range i.records.servers {
		if s.fault != nil {
			servers = append(servers, *s.fault)
		}
		working = working || s.reply != nil
	}
	return servers, i.records.zone, working
}

const repairCure = "repair that server, or take it out of the zone's NS records"

// judgeNameservers judges the authoritative servers that are of no use, if that is what fails the CA.
func (i *inspection) judgeNameservers() *verdict {
	servers, zone, working := i.faulty()
	if len(servers) == 0 || !i.says(acme.ErrDNS) && (working || i.isAsked()) {
		return nil
	}
	zone = escape.Text(zone, 260)
	first := servers[0]
	if j := slices.IndexFunc(servers, func(s faultyServer) bool { return s.outside() != nil }); j >= 0 {
		return because(CausePrivateAddress, "give it an address that the Internet reaches, or take it out of the zone's NS records"+forPrivateCA,
			"the name server %s of the zone %s leads to %v", escape.Text(servers[j].Name, 260), zone, servers[j].outside())
	}
	if !working {
		return nil // it may be that no DNS gets out from here
	}
	return because(CauseDNSFailure, repairCure, "the name server %s of the zone %s does not answer for it, while others do: it says %s",
		first.Text(), zone, first.said)
}

// besides names the servers that are of no use though others are, as the end of a sentence; empty: there are none.
func (i *inspection) besides() string {
	const maxListed = 2
	servers, zone, working := i.faulty()
	if len(servers) == 0 || !working {
		return ""
	}
	var words []string
	for _, s := range servers[:min(len(servers), maxListed)] {
		words = append(words, s.Text()+" says "+s.said)
	}
	return "; and of the name servers of the zone " + escape.Text(zone, 260) + " " + strings.Join(words, ", ")
}
