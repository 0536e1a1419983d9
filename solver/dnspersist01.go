package solver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver/internal/dnsclient"
)

// DNSPersist01 proves control of a domain name, or of all names that a wildcard stands for, by a TXT record
// at _validation-persist that is set once and stays (draft-ietf-acme-dns-persist). It says which account
// at which CA may have certificates for the domain: whoever holds the account's key can have them for as
// long as the record is there.
//
// Nothing is presented for an order. The solver checks whether a record is there that names the CA and the
// account; if none is, it fails with a [*StandingRecordError] that says what to set. With a Provider it
// sets the record itself, and never deletes it. A record that is there, in whatever form, is left as it is.
//
// The zero value is useful. A DNSPersist01 is safe for concurrent use; its fields must not be changed after
// its first use.
type DNSPersist01 struct {
	// Provider, if not nil, sets a record that is not there.
	Provider Provider

	// DNS says how to ask for zones and records. Nil: as the system does.
	DNS *DNS

	// Propagation says when the record counts as spread. If it is Off, a Provider is asked each time to
	// set the record, and without one the record is taken to be there.
	Propagation Propagation

	// Zone is the zone that a record is set in, and whose servers are asked for it. Zero: found by its SOA
	// record, for each name.
	Zone string

	// FollowCNAME sets a record where a CNAME at _validation-persist leads; see DNS01.
	FollowCNAME bool

	// TTL is that of a record set, in whole seconds. Zero: one hour. A CA may rely for as long on what it saw.
	TTL time.Duration

	// Logger is told when a record takes long to spread. Nil: [slog.Default].
	Logger *slog.Logger
}

// A StandingRecordError reports that the record for dns-persist-01 is not there, or not everywhere.
type StandingRecordError struct {
	Record Record // to set, once: Name, Value and TTL; Zone is empty
	Err    error  // what was seen instead
}

// Error says which record to set.
func (e *StandingRecordError) Error() string {
	text := "solver: dns-persist-01: set the TXT record"
	if e.Record.Name != "" {
		text += fmt.Sprintf(" %q with the text %q", e.Record.Name, e.Record.Value)
	}
	text += ", once and for good"
	if e.Err != nil {
		text += ": " + inner{e.Err}.Error()
	}
	return text
}

// Unwrap returns Err.
func (e *StandingRecordError) Unwrap() error { return e.Err }

const (
	standingTTL   = time.Hour
	standingTries = 2 // to have some server say whether the record is there
)

// Type returns "dns-persist-01".
func (d *DNSPersist01) Type() string { return acme.TypeDNSPersist01 }

// Supports reports whether the identifier is a domain name; wildcards are supported.
func (d *DNSPersist01) Supports(id acme.Identifier, _ bool) bool { return id.Type == acme.TypeDNS }

// Present checks whether the record is there. If no server has it, the Provider is asked to set it, or the
// error is a [*StandingRecordError]. A Provider is asked for nothing while no server answers.
func (d *DNSPersist01) Present(ctx context.Context, p acme.Proof) error {
	r, err := d.record(p)
	if err != nil {
		return err
	}
	if !d.Propagation.Off {
		unseen := d.probe(ctx, r.Name, p)
		if unseen == nil || ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if d.Provider == nil {
			return &StandingRecordError{Record: r, Err: inner{unseen}}
		}
		if !unseen.answered() {
			return fmt.Errorf("solver: dns-persist-01 for %s: check whether the record is there already: %w", p.Identifier.Value, inner{unseen})
		}
	}
	if d.Provider == nil {
		return nil
	}
	editor := d.editor(ctx, p)
	if r, err = editor.place(ctx, r.Name, r.Value, r.TTL); err == nil {
		err = editor.create(ctx, r)
	}
	if err != nil {
		return fmt.Errorf("solver: dns-persist-01 for %s: %w", p.Identifier.Value, err)
	}
	return nil
}

// probe returns nil if a server has the record, else what they said. It tries again if none answers.
func (d *DNSPersist01) probe(ctx context.Context, name string, p acme.Proof) *PropagationError {
	ctx, cancel := findingPlace(ctx)
	defer cancel()
	dns := d.editor(ctx, p).dns
	for try := 1; ; try++ {
		s := &spread{propagation: &d.Propagation, dns: dns, name: dnsclient.BareName(name), match: standing(p)}
		unseen := s.probeOnce(ctx)
		if unseen == nil || unseen.answered() || try == standingTries || pause(ctx, firstInterval) != nil {
			return unseen
		}
	}
}

// Wait returns once the record has spread as Propagation says; otherwise the error is a
// [*StandingRecordError] with what the servers said.
func (d *DNSPersist01) Wait(ctx context.Context, p acme.Proof) error {
	r, err := d.record(p)
	if err != nil {
		return err
	}
	editor := d.editor(ctx, p)
	s := &spread{dns: editor.dns, name: dnsclient.BareName(r.Name), match: standing(p), logger: d.Logger}
	if d.Provider != nil {
		s.advise = editor.adviser(r.Name)
	}
	err = d.Propagation.waitFor(ctx, s)
	if _, unseen := errors.AsType[*PropagationError](err); !unseen || ctx.Err() != nil {
		return err
	}
	return &StandingRecordError{Record: r, Err: inner{err}}
}

// CleanUp does nothing: the record stays.
func (d *DNSPersist01) CleanUp(context.Context, acme.Proof) error { return nil }

// WithDNS does as [DNS01.WithDNS].
func (d *DNSPersist01) WithDNS(dns *DNS) acme.Solver {
	with := *d
	with.DNS = over(d.DNS, dns)
	return &with
}

// WithLogger does as [DNS01.WithLogger].
func (d *DNSPersist01) WithLogger(logger *slog.Logger) acme.Solver {
	with := *d
	with.Logger = cmp.Or(d.Logger, logger)
	return &with
}

func (d *DNSPersist01) editor(ctx context.Context, p acme.Proof) *zoneEditor {
	dns := d.DNS.client(ctx, p.DirectoryURL).InZone(d.Zone)
	return &zoneEditor{provider: d.Provider, dns: dns, zone: d.Zone, followCNAME: d.FollowCNAME}
}

// record returns the record to be set; its zone is not known yet.
func (d *DNSPersist01) record(p acme.Proof) (Record, error) {
	name, value, err := recordOf(p, acme.TypeDNSPersist01)
	if err != nil {
		return Record{}, err
	}
	return Record{Name: name, Value: value, TTL: cmp.Or(max(d.TTL, 0), standingTTL)}, nil
}
