package storage_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/everseal/everseal/storage"
)

// valueSizes are those of a certificate record and of the largest record there can be.
var valueSizes = []int{8 << 10, storage.MaxValue}

func BenchmarkDir(b *testing.B) { benchmark(b, storage.Dir(b.TempDir())) }

// BenchmarkDirWatched is BenchmarkDir while a watch is told of each save.
func BenchmarkDirWatched(b *testing.B) {
	d := storage.Dir(b.TempDir())
	ctx, cancel := context.WithCancel(b.Context())
	listening, ended := make(chan bool), make(chan bool)
	go func() {
		defer close(ended)
		for key, err := range d.Watch(ctx, "") {
			if key == "" && err == nil {
				close(listening)
			}
		}
	}()
	<-listening
	benchmark(b, d)
	cancel()
	<-ended
}

// BenchmarkDirScan reads records that lie in folders of their own, as those of certificates do.
func BenchmarkDirScan(b *testing.B) {
	const records = 2000
	d := storage.Dir(b.TempDir())
	for i := range records {
		if _, err := d.Save(b.Context(), fmt.Sprintf("certificates/issuer/www.customer-%07d.example/ecdsa-p256", i), make([]byte, 4<<10), ""); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		for _, err := range d.Scan(b.Context(), "certificates", "") {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if n != records {
			b.Fatalf("%d records", n)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/records, "ns/record")
}

func BenchmarkMemory(b *testing.B) { benchmark(b, new(storage.Memory)) }

func benchmark(b *testing.B, s storage.Store) {
	for _, size := range valueSizes {
		key := fmt.Sprintf("certificates/issuer/%d", size)
		value := make([]byte, size)
		revision, err := s.Save(b.Context(), key, value, "")
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("Save/bytes=%d", size), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if revision, err = s.Save(b.Context(), key, value, revision); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("Load/bytes=%d", size), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Load(b.Context(), key); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
