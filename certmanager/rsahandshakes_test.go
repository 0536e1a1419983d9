package certmanager_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
)

// TestHandshakesWhileRSAKeysAreMade has a hundred keys of the slowest kind be wanted at once. No more of them are made at once than
// half of the processors can make, and handshakes, which are real ones, succeed all along, also for names that come meanwhile.
func TestHandshakesWhileRSAKeysAreMade(t *testing.T) {
	const keys, handshakes = 100, 100
	ca := newLocalCA(t, "local")
	m, stop := runQuietly(t, certmanager.Config{Names: []string{"example.com"}, Storage: new(storage.Memory), Issuers: []certmanager.Issuer{ca}})
	defer stop()
	if err := m.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	slow := make([]certmanager.Subject, keys)
	for i := range slow {
		slow[i] = certmanager.Subject{Names: []string{fmt.Sprintf("rsa%d.example", i)}, KeyTypes: []certmanager.KeyType{certmanager.RSA4096}}
	}
	if err := m.Manage(slow...); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); rsaKeysBeingMade() == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no key is made")
		}
	}
	trusted := x509.NewCertPool()
	trusted.AddCert(ca.root)
	most := 0
	for i := range handshakes {
		name := "example.com"
		if i%10 == 9 {
			name = fmt.Sprintf("new%d.example", i)
			if err := m.Manage(certmanager.Subject{Names: []string{name}}); err != nil {
				t.Fatal(err)
			}
			if err := m.Wait(t.Context(), name); err != nil {
				t.Error(err)
			}
		}
		shakeHands(t, &tls.Config{ServerName: name, RootCAs: trusted}, m.TLSConfig(), false)
		most = max(most, rsaKeysBeingMade())
	}
	if bound := max(1, runtime.GOMAXPROCS(0)/2); most == 0 || most > bound {
		t.Errorf("%d keys for RSA were being made at once, want %d at most", most, bound)
	}
	if n := ca.count() - 1 - handshakes/10; n >= keys {
		t.Errorf("all %d keys were made before the handshakes were over", n)
	}
}

// rsaKeysBeingMade returns how many goroutines are at it, as their stacks tell.
func rsaKeysBeingMade() int {
	stacks := make([]byte, 4<<20)
	return strings.Count(string(stacks[:runtime.Stack(stacks, true)]), "crypto/rsa.GenerateKey(")
}
