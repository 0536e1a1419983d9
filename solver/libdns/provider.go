package libdns

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/everseal/everseal/solver"
	"github.com/libdns/libdns"
)

// New returns a [solver.Provider] that edits zones by a provider of libdns. It is as safe for concurrent use
// as that provider.
func New(provider interface {
	libdns.RecordAppender
	libdns.RecordDeleter
}) solver.Provider {
	return &editor{provider}
}

// An editor is a solver.Provider by the provider.
type editor struct {
	provider interface {
		libdns.RecordAppender
		libdns.RecordDeleter
	}
}

// AppendRecord has the record appended.
func (e *editor) AppendRecord(ctx context.Context, r solver.Record) error {
	if err := e.check(r); err != nil {
		return err
	}
	_, err := e.provider.AppendRecords(ctx, zoneOf(r), []libdns.Record{textOf(r)})
	if err != nil && ctx.Err() == nil && e.has(ctx, r) {
		return nil
	}
	return err
}

// DeleteRecord has the record deleted.
func (e *editor) DeleteRecord(ctx context.Context, r solver.Record) error {
	if err := e.check(r); err != nil {
		return err
	}
	// Without a time to live any matches; who does not know of that is asked again with the one set.
	text := textOf(r)
	text.TTL = 0
	deleted, err := e.provider.DeleteRecords(ctx, zoneOf(r), []libdns.Record{text})
	if err != nil || len(deleted) > 0 {
		return err
	}
	_, err = e.provider.DeleteRecords(ctx, zoneOf(r), []libdns.Record{textOf(r)})
	return err
}

// check reports what could not be handed to the provider. To delete a text that is empty would be to delete
// all records at the name.
func (e *editor) check(r solver.Record) error {
	switch {
	case e.provider == nil:
		return errors.New("libdns: no provider was given to New")
	case r.Value == "" || r.Name == "" || r.Zone == "":
		return fmt.Errorf("libdns: the record %q with the text %q in the zone %q lacks one of them", r.Name, r.Value, r.Zone)
	}
	return nil
}

// has reports whether the provider lists the record.
func (e *editor) has(ctx context.Context, r solver.Record) bool {
	getter, ok := e.provider.(libdns.RecordGetter)
	if !ok {
		return false
	}
	records, err := getter.GetRecords(ctx, zoneOf(r))
	return err == nil && slices.ContainsFunc(records, func(record libdns.Record) bool {
		rr := record.RR()
		return rr.Type == "TXT" && strings.EqualFold(rr.Name, textOf(r).Name) && rr.Data == r.Value
	})
}

func zoneOf(r solver.Record) string { return r.Zone + "." }

func textOf(r solver.Record) libdns.TXT {
	return libdns.TXT{Name: libdns.RelativeName(r.Name, r.Zone), TTL: r.TTL, Text: r.Value}
}
