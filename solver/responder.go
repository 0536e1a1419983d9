package solver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"

	"github.com/everseal/everseal/solver/internal/dnsclient"
	"github.com/everseal/everseal/solver/internal/dnsserver"
	"github.com/everseal/everseal/storage"
)

// Responder is a [Provider] that needs no DNS service: a DNS server for zones that hold the records of challenges and nothing
// else. Their parent zones delegate them to it, once and for good; see Validation zones in the documentation of this package.
// [Responder.Run] serves them.
//
// On the Storage, every member of a fleet that runs a Responder with these Zones answers with the records that any of them has
// created, as soon as they are.
//
// In the Storage, a record is a JSON object with name, value and created, the time of its creation in UTC.
//
// # What it answers
//
// TXT records, the SOA and NS records of the zones, and the addresses of name servers within them: with authority, and, of what
// is not there, with the zone's SOA record. ANY is answered with one short record (RFC 8482), and other names and classes,
// zone transfers and updates are refused. TXT records have a TTL of zero, whatever their creator asks for: what a resolver keeps
// of them is soon wrong.
//
// # What it bears
//
// Over UDP, an answer is at most five times as long as its question, and 1,232 bytes: a longer one is to be asked for by TCP. So is
// any, beyond 100 answers a second after a burst of 500, for a network (the /24 of an IPv4 address, the /64 of an IPv6 address)
// and those few that share a count with it; the CAs' resolvers do that, but nobody with an address that is made up. Over TCP, 256
// connections are served, 32 of a network, each for half a minute, or for five seconds without a question. A question has 512
// bytes at most. Names in questions are in no log.
//
// Questions cost the Storage one scan of the pending records at a time, whatever and however many they are, 25 a second at most
// after a burst of 50: all that come while one is under way share the next. Up to 1,024 over UDP wait for that; more are told to
// come by TCP. If the Storage fails, the answer is SERVFAIL, unless there is one that was known already.
//
// Zones and Nameservers are required. A Responder is safe for concurrent use and must not be copied; its fields must not be
// changed after its first use.
type Responder struct {
	// Zones are those that are delegated to this server: "_acme-challenge.example.com" for one name and its wildcard, or
	// one zone, such as "acme.example.net", into which CNAMEs lead from all names.
	Zones []string

	// Nameservers are the names of all members that answer, such as "ns1.example.net": those of the NS records in the parent
	// zones.
	Nameservers []string

	// Addresses are those of Nameservers that are themselves within a zone, which the parent zone has as glue, and of no other.
	Addresses map[string][]netip.Addr

	// Storage keeps the records, so that every process on the same storage can answer. Nil: they are kept in this Responder
	// alone.
	Storage storage.Store

	// Addr is where Run listens, by UDP and TCP: a host, or none, and a port. Empty: ":53".
	Addr string

	// Logger says when the Storage can't be read, and when it can again. Nil: slog.Default.
	Logger *slog.Logger

	memory  storage.Memory
	records pendingRecords

	mu     sync.Mutex
	server *dnsserver.Server // guarded by mu; nil: not used yet
}

// Ready reports what is wrong with Zones, Nameservers and Addresses.
func (r *Responder) Ready() error {
	_, err := r.ready()
	return err
}

// ready returns the server, which is made at its first use.
func (r *Responder) ready() (*dnsserver.Server, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.server == nil {
		zones, err := dnsserver.NewZones(r.Zones, r.Nameservers, r.Addresses)
		if err != nil {
			return nil, fmt.Errorf("solver: Responder: %w", err)
		}
		r.server = &dnsserver.Server{Zones: zones, Records: r.read}
	}
	return r.server, nil
}

// AppendRecord stores the record, so that it is answered from now on. Its name must be in one of Zones.
func (r *Responder) AppendRecord(ctx context.Context, record Record) error {
	server, err := r.ready()
	if err != nil {
		return err
	}
	p, err := newPendingRecord(record)
	if err != nil {
		return err
	}
	if server.Zones.Around(p.Name) == "" {
		return r.notDelegated(p.Name)
	}
	if err := p.save(ctx, r.store()); err != nil {
		return fmt.Errorf("solver: Responder: store the record %s: %w", p.Name, err)
	}
	r.records.add(p)
	return nil
}

// notDelegated is the error about a name that is in none of the zones.
func (r *Responder) notDelegated(name string) error {
	target := strings.TrimPrefix(name, "_acme-challenge.") + "." + dnsclient.BareName(r.Zones[0])
	return fmt.Errorf("solver: Responder: %.260q is in none of its Zones, which are %.260q: have it lead into one by the record %s, with FollowCNAME set, or delegate it by NS records and add it to Zones",
		name, r.Zones, fmt.Sprintf("%.260q CNAME %.260q", name, target))
}

// DeleteRecord deletes the record, also from a zone that is no longer one of Zones.
func (r *Responder) DeleteRecord(ctx context.Context, record Record) error {
	p, err := newPendingRecord(record)
	if err != nil {
		return err
	}
	if err := p.remove(ctx, r.store()); err != nil {
		return fmt.Errorf("solver: Responder: delete the record %.260q: %w", p.Name, err)
	}
	r.records.remove(p)
	return nil
}

// Run serves the zones by UDP and TCP on Addr until ctx ends, when it returns nil, with no goroutine left. It returns an error
// if Addr is taken, or if it can be read no more.
func (r *Responder) Run(ctx context.Context) error {
	if err := r.Ready(); err != nil {
		return err
	}
	addr := cmp.Or(r.Addr, ":53")
	var listen net.ListenConfig
	packets, err := listen.ListenPacket(ctx, "udp", addr)
	if err != nil {
		return cannotListen(err)
	}
	listener, err := listen.Listen(ctx, "tcp", addr)
	if err != nil {
		packets.Close()
		return cannotListen(err)
	}
	return r.Serve(ctx, packets, listener)
}

func cannotListen(err error) error {
	return fmt.Errorf("solver: Responder cannot listen: %w; if another server, such as a resolver of this machine, has the port on one address, set Addr to another one, "+
		"such as \"192.0.2.53:53\"; if the port needs a privilege, grant it (CAP_NET_BIND_SERVICE), or lead port 53 to another one", err)
}

// Serve is Run on sockets that are open already. It closes them. It may be called again beside, for other addresses.
func (r *Responder) Serve(ctx context.Context, packets net.PacketConn, listener net.Listener) error {
	if packets == nil || listener == nil {
		return errors.New("solver: Responder.Serve needs a socket for UDP and a listener for TCP: resolvers ask by both")
	}
	server, err := r.ready()
	if err != nil {
		packets.Close()
		listener.Close()
		return err
	}
	if err := server.Serve(ctx, packets, listener); err != nil {
		return fmt.Errorf("solver: Responder: %w", err)
	}
	return nil
}

func (r *Responder) store() storage.Store {
	if r.Storage == nil {
		return &r.memory
	}
	return r.Storage
}

// read returns the records that there are.
func (r *Responder) read(ctx context.Context) (*dnsserver.Records, error) {
	if r.Storage == nil {
		pending, err := scanPending(ctx, &r.memory)
		return answersOf(pending), err
	}
	return r.records.read(ctx, r.Storage, loggerOr(r.Logger))
}
