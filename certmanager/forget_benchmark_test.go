package certmanager

import (
	"fmt"
	"testing"

	"github.com/everseal/everseal/storage"
)

// BenchmarkForget has a million names forgotten by one call.
func BenchmarkForget(b *testing.B) {
	names := make([]string, 1_000_000)
	for i := range names {
		names[i] = fmt.Sprintf("site-%06d.example.com", i)
	}
	for b.Loop() {
		b.StopTimer()
		m, err := New(Config{Names: names, Issuers: []Issuer{&scriptedIssuer{}}, Storage: new(storage.Memory)})
		if err != nil {
			b.Fatal(err)
		}
		for e := range m.catalogue.all() {
			m.dispatcher.Update(e)
		}
		b.StartTimer()
		if err := m.Forget(names...); err != nil {
			b.Fatal(err)
		}
		if n := m.catalogue.index.Len(); n != 0 {
			b.Fatalf("%d names are left", n)
		}
	}
}
