package solver

import (
	"context"
	"errors"
	"time"

	"github.com/everseal/everseal/solver/internal/challenge"
)

// A Record is a TXT record of a DNS zone. Names have no final dot, and the value no quotes.
type Record struct {
	Zone  string        `json:"zone"`  // the zone that the record is in, such as "example.com"
	Name  string        `json:"name"`  // its full name, such as "_acme-challenge.www.example.com"
	Value string        `json:"value"` // at most 255 bytes make one string, more of them several
	TTL   time.Duration `json:"ttl"`   // in whole seconds
}

// A Provider edits DNS zones: it is the interface to whoever serves them. Its methods are called
// concurrently, also for one name. Names that come from the DNS, by a CNAME, are given to it only if they are made of
// letters, digits, hyphens and underscores.
//
// With github.com/everseal/everseal/solver/libdns, the token for Cloudflare's API, which may edit the zone's DNS, goes to
//
//	dns01 := &solver.DNS01{Provider: libdns.New(&cloudflare.Provider{APIToken: token})}
//
// If both lego and libdns know a service, libdns is to be preferred: a Provider follows CNAMEs as told, serves all three
// types of challenges, and cleans up in any process.
type Provider interface {
	// AppendRecord adds the record beside others of the same name. That it is there already is no error. After an error
	// the record is deleted, in case it was created all the same, unless the error wraps ErrNotCreated.
	AppendRecord(ctx context.Context, r Record) error
	// DeleteRecord takes away this record and no other of the same name. That it is not there is no error.
	DeleteRecord(ctx context.Context, r Record) error
}

// ErrNotCreated is wrapped by errors of AppendRecord of which it is certain that nothing was created, such as a refusal by
// the service: nothing is to be deleted then. [Webhook] and [Exec] wrap it. Providers of libdns and lego do not tell:
// what they have failed to create is deleted, as lego does too.
var ErrNotCreated = errors.New("solver: the record was not created")

// notCreated is an error that wraps ErrNotCreated, and does not say so.
type notCreated struct{ error }

func (e notCreated) Is(target error) bool { return target == ErrNotCreated }

func (e notCreated) Unwrap() error { return e.error }

// label returns the record's name relative to its zone, "@" for the zone itself.
func (r Record) label() string {
	return challenge.RelativeName(r.Name, r.Zone)
}

// seconds returns the TTL in whole seconds, at least one.
func (r Record) seconds() int { return int(max(r.TTL, time.Second) / time.Second) }
