package migrate_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/certmanager/migrate"
	"github.com/everseal/everseal/storage/storagetest"
)

// manySecrets writes Secrets as JSON, one after the other, with names of one platform's customers.
func manySecrets(t testing.TB, out io.Writer, n int, key *ecdsa.PrivateKey) {
	secret := base64.StdEncoding.EncodeToString(pkcs8(t, key))
	fmt.Fprint(out, `{"kind": "List", "items": [`)
	for i := range n {
		template := &x509.Certificate{
			SerialNumber: big.NewInt(int64(i + 1)), Subject: pkix.Name{CommonName: "x"}, DNSNames: []string{fmt.Sprintf("customer%06d.example.com", i)},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(90 * 24 * time.Hour),
		}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			t.Error(err)
			return
		}
		if i > 0 {
			fmt.Fprint(out, ",")
		}
		fmt.Fprintf(out, `{"type": "kubernetes.io/tls", "metadata": {"name": "c%d"}, "data": {"tls.crt": "%s", "tls.key": "%s"}}`, i,
			base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), secret)
	}
	fmt.Fprint(out, `]}`)
}

// TestManyOnDemand moves a platform's names. What it costs of the storage and of memory is the same for each, however many there
// are: EVERSEAL_MANY_NAMES sets how many.
func TestManyOnDemand(t *testing.T) {
	n := 300
	if many, err := strconv.Atoi(os.Getenv("EVERSEAL_MANY_NAMES")); err == nil {
		n = many
	}
	w := newWorld(t)
	saved := 0
	counted := &storagetest.Faulty{Store: w.store}
	counted.SetFaults(storagetest.Fault{Kind: storagetest.Slow, On: storagetest.Save | storagetest.Load | storagetest.List, Hit: func(string) { saved++ }})
	w.store = counted
	config := w.config()
	config.OnDemand = func(context.Context, certmanager.Question) error { return nil }
	m := newManager(t, config)
	in, out := io.Pipe()
	key := ecdsaKey(t)
	go func() {
		manySecrets(t, out, n, key)
		out.CloseWithError(io.EOF)
	}()
	begin := time.Now()
	report, err := (&migrate.Migration{Manager: m, Directory: w.ca.URL}).Secrets(t.Context(), in)
	if err != nil || len(report.Taken) != n {
		t.Fatalf("%d taken, %d left, %v", len(report.Taken), len(report.Left), err)
	}
	if saved != 3*n {
		t.Errorf("%d calls of the storage for %d certificates", saved, n)
	}
	if loaded := m.Stats().Loaded; loaded != 0 {
		t.Errorf("%d are in memory", loaded)
	}
	var memory runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&memory)
	t.Logf("%d in %v, %d MB in use with the storage", n, time.Since(begin), memory.HeapInuse>>20)
}
