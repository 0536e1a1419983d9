package solver

import (
	"testing"

	"github.com/everseal/everseal/acme"
)

// BenchmarkChallengeCertificate measures what answering adds to a handshake.
func BenchmarkChallengeCertificate(b *testing.B) {
	id := acme.Identifier{Type: acme.TypeDNS, Value: "example.com"}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := newChallengeCertificate(id, "token.thumbprint"); err != nil {
			b.Fatal(err)
		}
	}
}
