package libdns_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/everseal/everseal/solver"
	adapter "github.com/everseal/everseal/solver/libdns"
	"github.com/libdns/libdns"
)

var record = solver.Record{Zone: "example.com", Name: "_acme-challenge.www.example.com", Value: "LHDhK3oGRvkiefQnx7OOczTY5Tic_xZ6HcMOc_gmtoM", TTL: time.Minute}

// A zone is a provider that keeps records as libdns says.
type zone struct {
	name     string
	records  []libdns.RR
	leastTTL time.Duration // records get that if theirs is less
	strict   bool          // deletes what has the very same time to live only
	repeated error         // what a record is refused with that is there already
	asked    []libdns.Record
}

func (z *zone) AppendRecords(_ context.Context, name string, records []libdns.Record) ([]libdns.Record, error) {
	z.asked = append(z.asked, records...)
	for _, record := range records {
		rr := record.RR()
		rr.TTL = max(rr.TTL, z.leastTTL)
		switch {
		case name != z.name:
			return nil, errors.New("no such zone")
		case z.repeated != nil && slices.Contains(z.records, rr):
			return nil, z.repeated
		case !slices.Contains(z.records, rr):
			z.records = append(z.records, rr)
		}
	}
	return records, nil
}

func (z *zone) DeleteRecords(_ context.Context, name string, records []libdns.Record) (deleted []libdns.Record, err error) {
	z.asked = append(z.asked, records...)
	if name != z.name {
		return nil, errors.New("no such zone")
	}
	for _, record := range records {
		rr := record.RR()
		z.records = slices.DeleteFunc(z.records, func(other libdns.RR) bool {
			gone := other.Name == rr.Name && other.Type == rr.Type && (other.Data == rr.Data || rr.Data == "") &&
				(other.TTL == rr.TTL || rr.TTL == 0 && !z.strict)
			if gone {
				deleted = append(deleted, other)
			}
			return gone
		})
	}
	return deleted, nil
}

// A listedZone is one that can be listed too.
type listedZone struct {
	*zone
	failure error
}

func (z listedZone) GetRecords(_ context.Context, name string) (records []libdns.Record, err error) {
	if name != z.name {
		return nil, errors.New("no such zone")
	}
	for _, rr := range z.records {
		records = append(records, rr)
	}
	return records, z.failure
}

func (z *zone) want(t *testing.T, want ...libdns.RR) {
	t.Helper()
	if !slices.Equal(z.records, want) {
		t.Errorf("the records are %+v, want %+v", z.records, want)
	}
}

func TestProvider(t *testing.T) {
	others := []libdns.RR{
		{Name: "_acme-challenge.www", Type: "TXT", TTL: time.Minute, Data: "another order's"},
		{Name: "_acme-challenge.www", Type: "A", TTL: time.Minute, Data: record.Value},
		{Name: "www", Type: "TXT", TTL: time.Minute, Data: record.Value},
	}
	for name, z := range map[string]*zone{
		"one as libdns says":                  {},
		"one that raises times to live":       {leastTTL: time.Hour},
		"one that matches the time to live":   {strict: true},
		"one that refuses what it has":        {repeated: errors.New("identical record")},
		"one that refuses and raises as well": {repeated: errors.New("identical record"), leastTTL: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			z.name, z.records = "example.com.", slices.Clone(others)
			p := adapter.New(listedZone{zone: z})
			for range 2 {
				if err := p.AppendRecord(t.Context(), record); err != nil {
					t.Fatal(err)
				}
			}
			ttl := max(z.leastTTL, time.Minute)
			z.want(t, append(slices.Clone(others), libdns.RR{Name: "_acme-challenge.www", Type: "TXT", TTL: ttl, Data: record.Value})...)
			for range 2 {
				if err := p.DeleteRecord(t.Context(), record); err != nil {
					t.Fatal(err)
				}
			}
			z.want(t, others...)
			if text, ok := z.asked[0].(libdns.TXT); !ok || text.TTL != time.Minute {
				t.Errorf("the provider was given %#v", z.asked[0])
			}
		})
	}
}

func TestProviderNamesTheZoneItself(t *testing.T) {
	z := &zone{name: "validation.example.net."}
	r := solver.Record{Zone: "validation.example.net", Name: "validation.example.net", Value: "value"}
	if err := adapter.New(z).AppendRecord(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	z.want(t, libdns.RR{Name: "@", Type: "TXT", Data: "value"})
}

func TestProviderFails(t *testing.T) {
	refusal := errors.New("identical record")
	there := libdns.RR{Name: "_acme-challenge.www", Type: "TXT", TTL: time.Minute, Data: record.Value}
	elsewhere := record
	elsewhere.Zone = "www.example.com"

	// That a record is there can be seen where a zone can be listed.
	full := &zone{name: "example.com.", repeated: refusal, records: []libdns.RR{there}}
	if err := adapter.New(full).AppendRecord(t.Context(), record); !errors.Is(err, refusal) {
		t.Errorf("not listed: the error is %v", err)
	}
	if err := adapter.New(listedZone{full, errors.New("no list")}).AppendRecord(t.Context(), record); !errors.Is(err, refusal) {
		t.Errorf("listed in vain: the error is %v", err)
	}
	p := adapter.New(listedZone{zone: full})
	for _, err := range []error{p.AppendRecord(t.Context(), elsewhere), p.DeleteRecord(t.Context(), elsewhere)} {
		if err == nil || err.Error() != "no such zone" {
			t.Errorf("the error is %v", err)
		}
	}

	const want = `libdns: the record "_acme-challenge.www.example.com" with the text "" in the zone "example.com" lacks one of them`
	empty := record
	empty.Value = ""
	for _, err := range []error{p.AppendRecord(t.Context(), empty), p.DeleteRecord(t.Context(), empty)} {
		if err == nil || err.Error() != want {
			t.Errorf("the error is %v, want %s", err, want)
		}
	}
	full.want(t, there)

	none := adapter.New(nil)
	for _, err := range []error{none.AppendRecord(t.Context(), record), none.DeleteRecord(t.Context(), record)} {
		if err == nil || err.Error() != "libdns: no provider was given to New" {
			t.Errorf("the error is %v", err)
		}
	}
}
