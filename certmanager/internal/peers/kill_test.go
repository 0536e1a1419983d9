package peers

import (
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/everseal/everseal/storage"
)

// A server process is killed at random moments of an issuance, some of them again when it goes on with it, and started
// again. In the end it has the certificate, and the CA has issued one: where a balancer holds the CA's validation until
// the server is there again, and where the validation fails and another order has to be made.
func TestKill(t *testing.T) {
	const rounds = 24
	p := startPebble(t, pebbleSettings{})
	longest := max(undisturbed(t, p, false), undisturbed(t, p, true))
	for round := range rounds {
		// The moments are spread evenly over the issuance, at random within each part of it.
		at := time.Duration((float64(round) + rand.Float64()) / rounds * float64(longest))
		lives := []time.Duration{at}
		if round%3 == 0 {
			lives = append(lives, rand.N(longest))
		}
		config := childConfig{Name: fmt.Sprintf("killed-%d.example.test", round)}
		if round%2 == 1 {
			config.HTTP01 = true
		}
		direct := round%4 >= 2
		p.http.direct.Store(direct)
		p.tls.direct.Store(direct)
		if !t.Run(fmt.Sprintf("after %v, direct=%v", lives, direct), func(t *testing.T) { testKill(t, p, config, lives) }) {
			return
		}
	}
}

// undisturbed returns how long a server takes from its start to its certificate.
func undisturbed(t *testing.T, p *pebble, http01 bool) time.Duration {
	t.Helper()
	name := "undisturbed.example.test"
	if http01 {
		name = "plainly." + name
	}
	c := startChild(t, p, childConfig{Directory: p.directory, Trust: p.front.Certificate().Raw, Storage: t.TempDir(), Name: name, HTTP01: http01})
	start := time.Now()
	c.says(t, "serial")
	took := time.Since(start)
	c.kill(t)
	t.Logf("undisturbed, an issuance takes %v", took)
	return took
}

// testKill kills a server after each of its lives, and then lets it live.
func testKill(t *testing.T, p *pebble, config childConfig, lives []time.Duration) {
	config.Directory, config.Trust, config.Storage = p.directory, p.front.Certificate().Raw, t.TempDir()
	for _, life := range lives {
		c := startChild(t, p, config)
		<-time.After(life)
		c.kill(t)
		checkStored(t, storage.Dir(config.Storage))
	}
	checkRevived(t, p, config)
}

// TestKillAtRequest kills the server at each request to the CA in turn: before the CA sees the request, or before the
// server sees the answer.
func TestKillAtRequest(t *testing.T) {
	const mostRequests = 100
	p := startPebble(t, pebbleSettings{})
	for i, test := range []struct {
		name           string
		served, direct bool
	}{
		{"request lost", false, false},
		{"answer lost", true, false},
		{"answer lost, direct", true, true},
	} {
		p.http.direct.Store(test.direct)
		p.tls.direct.Store(test.direct)
		for request, reached := 1, true; reached; request++ {
			if request > mostRequests {
				t.Fatalf("an issuance takes more than %d requests", mostRequests)
			}
			at := moment{request, test.served}
			config := childConfig{Name: fmt.Sprintf("killed-%d-at-%d.example.test", i, request)}
			if !t.Run(fmt.Sprintf("%s/%d", test.name, request), func(t *testing.T) { reached = testKillAtRequest(t, p, config, at) }) {
				return
			}
		}
	}
}

// A moment is one in the traffic between server and CA.
type moment struct {
	request int  // number of the request; the first is 1
	served  bool // after the CA has seen it
}

// testKillAtRequest reports whether the issuance got as far as that request.
func testKillAtRequest(t *testing.T, p *pebble, config childConfig, at moment) (reached bool) {
	config.Directory, config.Trust, config.Storage = p.directory, p.front.Certificate().Raw, t.TempDir()
	arrived, dead := make(chan struct{}), make(chan struct{})
	p.traffic.divert(func(number int, serve func()) {
		if number != at.request {
			serve()
			return
		}
		if at.served {
			serve()
		}
		close(arrived)
		<-dead
		panic(http.ErrAbortHandler)
	})
	defer p.traffic.divert(nil)
	c := startChild(t, p, config)
	select {
	case <-arrived:
	case <-c.lines: // it has the certificate
		close(dead)
		c.kill(t)
		return false
	case <-time.After(patience):
		t.Fatal("neither the request nor a certificate came")
	}
	c.kill(t)
	close(dead)
	checkStored(t, storage.Dir(config.Storage))
	checkRevived(t, p, config)
	return true
}

// checkRevived starts the server again and fails the test unless it gets its certificate, at once and for one that the
// CA has issued in all its lives.
func checkRevived(t *testing.T, p *pebble, config childConfig) {
	t.Helper()
	before := len(p.certificates(config.Name))
	if before > 1 {
		t.Fatalf("the CA has issued %d certificates to a server that was killed", before)
	}
	c := startChild(t, p, config)
	defer c.kill(t)
	start := time.Now()
	want := c.says(t, "serial")
	took := time.Since(start)
	leaf, err := handshake(within(t), p, c.address, config.Name)
	if err != nil {
		t.Fatal(err)
	}
	if got := serial(leaf); got != want {
		t.Errorf("serial number %s is served, want %s", got, want)
	}
	issued := p.certificates(config.Name)
	if len(issued) != 1 {
		t.Fatalf("the CA has issued %d certificates, want 1", len(issued))
	}
	if got := serial(issued[0]); got != want {
		t.Errorf("the CA has issued serial number %s, %s is served", got, want)
	}
	t.Logf("issued when killed: %v; then served after %v", before == 1, took.Round(time.Millisecond))
}

// checkStored fails the test unless each certificate in the storage is there with its key.
func checkStored(t *testing.T, s storage.Store) {
	t.Helper()
	for key, err := range s.List(within(t), "certificates") {
		if err != nil {
			t.Fatal(err)
		}
		item, err := s.Load(within(t), key)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tls.X509KeyPair(item.Value, item.Value); err != nil {
			t.Errorf("%s: %v", key, err)
		}
	}
}
