package certmanager

import "testing"

// BenchmarkGetCertificateParallel has all processors ask at once, for one name, as of a server that has one: with -cpu 1,2
// it shows whether they get in each other's way.
func BenchmarkGetCertificateParallel(b *testing.B) {
	m := fill(b, 1, "site-%06d.example.com")
	hello := clientHello(b)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		own := *hello
		own.ServerName = "site-000000.example.com"
		for pb.Next() {
			if c, err := m.GetCertificate(&own); err != nil || c == nil {
				b.Error(c, err)
			}
		}
	})
}
