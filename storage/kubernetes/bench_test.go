package kubernetes

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/everseal/everseal/storage"
)

// A raw sends requests with net/http and encoding/json alone, as who has only these would.
type raw struct{ *Store }

func (r raw) send(ctx context.Context, method, name string, query url.Values, accept string, from, into any) error {
	var body io.Reader
	if from != nil {
		reader, writer := io.Pipe()
		go func() { writer.CloseWithError(json.NewEncoder(writer).Encode(from)) }()
		body = reader
	}
	q, err := http.NewRequestWithContext(ctx, method, r.base+"/api/v1/namespaces/"+r.namespace+"/secrets"+name+"?"+query.Encode(), body)
	if err != nil {
		return err
	}
	token, err := r.token()
	if err != nil {
		return err
	}
	q.Header.Set("Authorization", "Bearer "+token)
	q.Header.Set("Accept", accept)
	q.Header.Set("Content-Type", "application/json")
	response, err := r.http.Do(q)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode/100 != 2 {
		return fmt.Errorf("%s", response.Status)
	}
	return json.NewDecoder(response.Body).Decode(into)
}

func (r raw) load(ctx context.Context, key string) (found map[string]any, err error) {
	err = r.send(ctx, http.MethodGet, "/"+r.secretName(key), nil, "application/json", nil, &found)
	return found, err
}

func (r raw) save(ctx context.Context, found map[string]any) error {
	found["metadata"].(map[string]any)["annotations"].(map[string]any)[nonceAnnotation] = rand.Text()
	return r.send(ctx, http.MethodPut, "/"+found["metadata"].(map[string]any)["name"].(string), nil, "application/json", found, &found)
}

func (r raw) list(ctx context.Context, prefix, limit, accept string) (n int, err error) {
	query := r.selection(prefix)
	query.Set("limit", limit)
	for {
		var p struct {
			Metadata map[string]string
			Items    []struct {
				Metadata struct {
					Name, UID, ResourceVersion string
					Annotations, Labels        map[string]string
				}
				Data map[string][]byte
			}
		}
		if err := r.send(ctx, http.MethodGet, "", query, accept, nil, &p); err != nil {
			return 0, err
		}
		n += len(p.Items)
		if p.Metadata["continue"] == "" {
			return n, nil
		}
		query.Set("continue", p.Metadata["continue"])
	}
}

// BenchmarkStore compares what a store does with the same requests by net/http and encoding/json alone.
func BenchmarkStore(b *testing.B) {
	s := newStoreOf(b)
	ctx, r := b.Context(), raw{s}
	value := make([]byte, 8<<10)
	_, _ = rand.Read(value)
	revision, err := s.Save(ctx, "one", value, "")
	if err != nil {
		b.Fatal(err)
	}
	run := func(name string, f func() error) {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if err := f(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	want := func(n, records int, err error) error {
		if err == nil && n != records {
			return fmt.Errorf("%d records, want %d", n, records)
		}
		return err
	}
	run("Load/store", func() error { _, err := s.Load(ctx, "one"); return err })
	run("Load/driver", func() error { _, err := r.load(ctx, "one"); return err })
	run("Save/store", func() (err error) { revision, err = s.Save(ctx, "one", value, revision); return err })
	found, err := r.load(ctx, "one")
	if err != nil {
		b.Fatal(err)
	}
	run("Save/driver", func() error { return r.save(ctx, found) })
	benchmarkLease(b, s, r)
	var saving sync.WaitGroup
	for first := range 8 {
		saving.Go(func() {
			for i := first; i < 11_000; i += 8 {
				key := fmt.Sprintf("scan/%d", i)
				if i >= 10_000 {
					key = fmt.Sprintf("list/%d", i)
				}
				if _, err := s.Save(ctx, key, value, ""); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	saving.Wait()
	run("List1000/store", func() error {
		n := 0
		for _, err := range s.List(ctx, "list") {
			if n++; err != nil {
				return err
			}
		}
		return want(n, 1000, nil)
	})
	run("List1000/driver", func() error {
		n, err := r.list(ctx, "list", strconv.Itoa(keysPage), listOfMetadata)
		return want(n, 1000, err)
	})
	run("Scan10000/store", func() error {
		n := 0
		for _, err := range s.Scan(ctx, "scan", "") {
			if n++; err != nil {
				return err
			}
		}
		return want(n, 10_000, nil)
	})
	run("Scan10000/driver", func() error {
		n, err := r.list(ctx, "scan", strconv.Itoa(recordsPage), "application/json")
		return want(n, 10_000, err)
	})
}

// benchmarkLease compares a lease that is acquired and released with a GET and two PUTs.
func benchmarkLease(b *testing.B, s *Store, r raw) {
	ctx := b.Context()
	acquire := func() error {
		lease, err := storage.Acquire(ctx, s, "lease", time.Minute)
		if err != nil {
			return err
		}
		return lease.Release(ctx)
	}
	if err := acquire(); err != nil {
		b.Fatal(err)
	}
	b.Run("Lease/store", func(b *testing.B) {
		for b.Loop() {
			if err := acquire(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Lease/driver", func(b *testing.B) {
		for b.Loop() {
			found, err := r.load(ctx, "lease")
			if err != nil {
				b.Fatal(err)
			}
			for range 2 {
				if err := r.save(ctx, found); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}
