package record_test

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/everseal/everseal/certmanager/internal/record"
)

// BenchmarkDecode reads a certificate for a P-256 key with two above it, as each start does for each certificate.
func BenchmarkDecode(b *testing.B) {
	ca, shared := newTestCA(b), new(record.Intermediates)
	const name = "site-000001.example.com"
	value, identifiers := encode(b, ca.record(b, newKey(b), name)), dns(name)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := record.DecodeCertificate(value, identifiers, shared); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	c := newTestCA(b).record(b, newKey(b), "site-000001.example.com")
	b.ReportAllocs()
	for b.Loop() {
		encode(b, c)
	}
}

// BenchmarkMemory reports what a record of BenchmarkDecode takes of the heap: B/cert, beside B/leaf, the length of the
// leaf's DER.
func BenchmarkMemory(b *testing.B) {
	const n = 10_000
	ca, shared := newTestCA(b), new(record.Intermediates)
	values := make([][]byte, n)
	for i := range values {
		values[i] = encode(b, ca.record(b, newKey(b), fmt.Sprintf("site-%06d.example.com", i)))
	}
	for b.Loop() {
		before, leaves := heap(), 0
		records := make([]*record.Certificate, n)
		for i := range records {
			var err error
			if records[i], err = record.DecodeCertificate(values[i], nil, shared); err != nil {
				b.Fatal(err)
			}
			leaves += len(records[i].Chain[0])
		}
		b.ReportMetric(float64(heap()-before)/n, "B/cert")
		b.ReportMetric(float64(leaves)/n, "B/leaf")
		runtime.KeepAlive(records)
	}
	runtime.KeepAlive(values)
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}
