package peers

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/everseal/everseal/acme"
)

// BenchmarkIssue obtains certificates from one Pebble that neither sleeps nor asks to wait. Its figures are per
// certificate, where several are obtained at once those of the whole divided by their number:
//
//	go test -run '^$' -bench 'Issue$' -benchtime 5x
//
// All clients have the settings that they come with. A row begins no certificate after issueBudget, so that those of
// lego, which polls each authorization after about five seconds, take minutes together and not hours.
func BenchmarkIssue(b *testing.B) { benchmarkIssue(b, pebbleSettings{}, 0, []int{1, 20}) }

// BenchmarkIssueSlowCA does so from one that takes 1.5 s for a validation and asks to be polled after 3 s, at random in
// seconds or as a date, of which clients see the whole seconds only:
//
//	go test -run '^$' -bench 'IssueSlowCA' -benchtime 5x
func BenchmarkIssueSlowCA(b *testing.B) {
	benchmarkIssue(b, pebbleSettings{retryAfter: 3}, 1500*time.Millisecond, []int{1})
}

// issueBudget is the time after which a row begins no more certificates.
const issueBudget = 15 * time.Second

func benchmarkIssue(b *testing.B, s pebbleSettings, validation time.Duration, parallel []int) {
	for _, library := range peerLibraries() {
		for _, names := range []int{1, 10} {
			b.Run(fmt.Sprintf("client=%s/names=%d", library.name, names), func(b *testing.B) {
				p := startPebble(b, s)
				answers := &answers{delay: validation}
				plain, secure := answers.serve(b)
				p.http.lead(plain)
				p.tls.lead(secure)
				client, err := library.open(b.Context(), site{
					directory: p.directory, client: p.client(), challenge: acme.TypeHTTP01, answers: answers,
				})
				if err != nil {
					b.Fatal(err)
				}
				m := &issueMeasurement{pebble: p, client: client, names: names}
				for _, workers := range parallel {
					b.Run(fmt.Sprintf("parallel=%d", workers), func(b *testing.B) { m.measure(b, workers) })
				}
			})
		}
	}
}

// An issueMeasurement obtains certificates from one CA, each for names of its own.
type issueMeasurement struct {
	pebble *pebble
	client peer
	names  int // of each certificate
	begun  atomic.Int64
}

// measure has the workers obtain b.N certificates, or one each if that is more. The testing package calls it with 1 for
// b.N first, and uses the figures of the second call alone: the first one fills the clients' pools of nonces and
// connections.
func (m *issueMeasurement) measure(b *testing.B, workers int) {
	count := max(b.N, workers)
	work := make(chan struct{}, count)
	for range count {
		work <- struct{}{}
	}
	close(work)
	var obtained atomic.Int64
	var group sync.WaitGroup
	before, start := m.pebble.traffic.total(), time.Now()
	for range workers {
		group.Go(func() {
			for range work {
				if err := m.obtain(b.Context()); err != nil {
					b.Error(err)
					return
				}
				obtained.Add(1)
				if time.Since(start) > issueBudget {
					return
				}
			}
		})
	}
	group.Wait()
	certificates := float64(obtained.Load())
	b.ReportMetric(float64(time.Since(start))/certificates, "ns/op")
	b.ReportMetric(float64(m.pebble.traffic.total()-before)/certificates, "requests/cert")
}

func (m *issueMeasurement) obtain(ctx context.Context) error {
	n := m.begun.Add(1)
	names := make([]string, m.names)
	for i := range names {
		names[i] = fmt.Sprintf("n%d-%d.example.com", n, i)
	}
	_, err := m.client.obtain(ctx, names, nil)
	return err
}
