package solver

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver/internal/challenge"
	"github.com/everseal/everseal/solver/internal/dnsclient"
	"github.com/everseal/everseal/storage"
)

// DNS01 proves control of a domain name, or of all names that a wildcard stands for, by a TXT record at
// _acme-challenge (RFC 8555 §8.4). It has a [Provider] create the record, waits until it can be seen
// everywhere, and has it deleted, and nothing else, afterwards.
//
// In the Storage, what was created for challenges at a name is a JSON object. Its array records has an object for each
// TXT record: zone, name and value, ttl in nanoseconds, and created, a time in UTC. It is there before the TXT record is,
// and until that is deleted.
//
// Several zones with different providers take a DNS01 each, with Zone set: each supports the names in its zone only.
//
// Only Provider is required. A DNS01 is safe for concurrent use and must not be copied; its fields must
// not be changed after its first use.
type DNS01 struct {
	// Provider edits the zones.
	Provider Provider

	// Storage remembers which records were created, so that they are deleted also after a crash or by
	// another process. Nil: this DNS01 alone remembers. Several with different providers that share a storage
	// need a Zone each: what one has created, another may otherwise forget.
	Storage storage.Store

	// DNS says how to ask for zones and records. Nil: as the system does.
	DNS *DNS

	// Propagation says when the record counts as spread.
	Propagation Propagation

	// Zone is the zone that records are created in, and whose servers are asked whether they have them. Zero:
	// found by its SOA record, for each name.
	Zone string

	// FollowCNAME creates the record where a CNAME at _acme-challenge leads, for names whose challenges are
	// delegated to another zone. A wildcard CNAME, which leads all names of a domain somewhere, is not
	// taken for that. If a CNAME is in the way of the record and this is not set, the error says so.
	FollowCNAME bool

	// TTL is that of the record, in whole seconds. Zero: one minute.
	TTL time.Duration

	// Logger is told when a record takes long to spread. Nil: [slog.Default].
	Logger *slog.Logger

	memory storage.Memory
}

// DNSAccount01 is DNS01 with a label of the account's own before _acme-challenge, so that several clients
// and CAs prove control of one name without knowing of each other (draft-ietf-acme-dns-account-label).
// It has the fields of DNS01.
type DNSAccount01 DNS01

// Type returns "dns-01".
func (d *DNS01) Type() string { return acme.TypeDNS01 }

// Supports reports whether the identifier is a domain name, also of a wildcard. If Zone is set and FollowCNAME
// is not, only names in the zone are supported: several solvers can so be configured, one for each zone.
func (d *DNS01) Supports(id acme.Identifier, _ bool) bool {
	return id.Type == acme.TypeDNS &&
		(d.Zone == "" || d.FollowCNAME || dnsclient.IsWithin(strings.TrimPrefix(id.Value, "*."), dnsclient.BareName(d.Zone)))
}

// Present has the record created, after it has been noted in Storage.
func (d *DNS01) Present(ctx context.Context, p acme.Proof) error {
	return d.present(ctx, p, acme.TypeDNS01)
}

// Wait returns once the record has spread as Propagation says; otherwise the error wraps a
// [*PropagationError].
func (d *DNS01) Wait(ctx context.Context, p acme.Proof) error {
	return d.wait(ctx, p, acme.TypeDNS01)
}

// CleanUp has the records deleted that Present created for the proof, in this process or another, and with
// them those that have been left behind at the same name for a week. If the provider fails, they stay
// remembered, for this or a later CleanUp at the name.
func (d *DNS01) CleanUp(ctx context.Context, p acme.Proof) error {
	return d.cleanUp(ctx, p, acme.TypeDNS01)
}

// Type returns "dns-account-01".
func (d *DNSAccount01) Type() string { return acme.TypeDNSAccount01 }

// Supports does as [DNS01.Supports].
func (d *DNSAccount01) Supports(id acme.Identifier, wildcard bool) bool {
	return (*DNS01)(d).Supports(id, wildcard)
}

// Present does as [DNS01.Present].
func (d *DNSAccount01) Present(ctx context.Context, p acme.Proof) error {
	return (*DNS01)(d).present(ctx, p, acme.TypeDNSAccount01)
}

// Wait does as [DNS01.Wait].
func (d *DNSAccount01) Wait(ctx context.Context, p acme.Proof) error {
	return (*DNS01)(d).wait(ctx, p, acme.TypeDNSAccount01)
}

// CleanUp does as [DNS01.CleanUp].
func (d *DNSAccount01) CleanUp(ctx context.Context, p acme.Proof) error {
	return (*DNS01)(d).cleanUp(ctx, p, acme.TypeDNSAccount01)
}

// recordOf returns the name and value of the record that answers the proof.
func recordOf(p acme.Proof, challengeType string) (name, value string, err error) {
	if err := challenge.CheckProof(p, challengeType); err != nil {
		return "", "", fmt.Errorf("solver: %w", err)
	}
	id, err := acme.ParseIdentifier(p.Identifier.Value)
	if err != nil || id.Type != acme.TypeDNS || id.Value != p.Identifier.Value || challenge.IsWildcard(id) {
		return "", "", fmt.Errorf("solver: %s: %.100q is no domain name in the form of acme.ParseIdentifier", challengeType, p.Identifier.Value)
	}
	if name, value, err = p.TXTRecord(); err != nil {
		return "", "", fmt.Errorf("solver: %w", err)
	}
	return name, value, nil
}

// WithStorage returns a DNS01 with the same fields and that Storage, or d itself if it has one.
func (d *DNS01) WithStorage(s storage.Store) acme.Solver {
	if d.Storage != nil {
		return d
	}
	return d.withStorage(s)
}

func (d *DNS01) withStorage(s storage.Store) *DNS01 {
	return &DNS01{Provider: d.Provider, Storage: s, DNS: d.DNS, Propagation: d.Propagation, Zone: d.Zone, FollowCNAME: d.FollowCNAME, TTL: d.TTL, Logger: d.Logger}
}

// WithStorage does as [DNS01.WithStorage].
func (d *DNSAccount01) WithStorage(s storage.Store) acme.Solver {
	if d.Storage != nil {
		return d
	}
	return (*DNSAccount01)((*DNS01)(d).withStorage(s))
}

// WithDNS returns a DNS01 with the same fields that asks by that DNS, or d itself if it has one of its own. One that
// has asks private networks too if the other does. What d remembers without a Storage is not shared.
func (d *DNS01) WithDNS(dns *DNS) acme.Solver {
	if over(d.DNS, dns) == d.DNS {
		return d
	}
	return d.withDNS(dns)
}

func (d *DNS01) withDNS(dns *DNS) *DNS01 {
	with := d.withStorage(d.Storage)
	with.DNS = over(d.DNS, dns)
	return with
}

// WithDNS does as [DNS01.WithDNS].
func (d *DNSAccount01) WithDNS(dns *DNS) acme.Solver {
	if over(d.DNS, dns) == d.DNS {
		return d
	}
	return (*DNSAccount01)((*DNS01)(d).withDNS(dns))
}

// WithLogger returns a DNS01 with the same fields that tells that Logger, or d itself if it has one of its own. What d
// remembers without a Storage is not shared.
func (d *DNS01) WithLogger(logger *slog.Logger) acme.Solver {
	if d.Logger != nil {
		return d
	}
	return d.withLogger(logger)
}

func (d *DNS01) withLogger(logger *slog.Logger) *DNS01 {
	with := d.withStorage(d.Storage)
	with.Logger = logger
	return with
}

// WithLogger does as [DNS01.WithLogger].
func (d *DNSAccount01) WithLogger(logger *slog.Logger) acme.Solver {
	if d.Logger != nil {
		return d
	}
	return (*DNSAccount01)((*DNS01)(d).withLogger(logger))
}

// editor returns what creates records as the fields say, in a call on behalf of a CA.
func (d *DNS01) editor(ctx context.Context, p acme.Proof) *zoneEditor {
	dns := d.DNS.client(ctx, p.DirectoryURL).InZone(d.Zone)
	return &zoneEditor{provider: d.Provider, dns: dns, zone: d.Zone, followCNAME: d.FollowCNAME}
}

func (d *DNS01) present(ctx context.Context, p acme.Proof, challengeType string) error {
	name, value, err := recordOf(p, challengeType)
	if err != nil {
		return err
	}
	editor := d.editor(ctx, p)
	record, err := editor.place(ctx, name, value, d.TTL)
	if err == nil {
		err = memoryOf(d.store(), name).during(ctx, record, editor.create)
	}
	if err != nil {
		return fmt.Errorf("solver: %s for %s: %w", challengeType, p.Identifier.Value, err)
	}
	return nil
}

func (d *DNS01) wait(ctx context.Context, p acme.Proof, challengeType string) error {
	name, value, err := recordOf(p, challengeType)
	if err != nil {
		return err
	}
	editor := d.editor(ctx, p)
	return d.Propagation.waitFor(ctx, &spread{
		dns: editor.dns, name: dnsclient.BareName(name), match: textMatch{text: value}, advise: editor.adviser(name), logger: d.Logger,
	})
}

func (d *DNS01) cleanUp(ctx context.Context, p acme.Proof, challengeType string) error {
	name, value, err := recordOf(p, challengeType)
	if err != nil {
		return err
	}
	if d.Provider == nil {
		err = errNoProvider
	} else {
		err = memoryOf(d.store(), name).clear(ctx, value, d.Provider.DeleteRecord)
	}
	if err != nil {
		return fmt.Errorf("solver: %s for %s: %w", challengeType, p.Identifier.Value, err)
	}
	return nil
}

func (d *DNS01) store() storage.Store {
	if d.Storage == nil {
		return &d.memory
	}
	return d.Storage
}
