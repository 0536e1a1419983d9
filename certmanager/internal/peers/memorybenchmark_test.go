package peers

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
)

// A corpus is certificates with a key each, which the libraries load from their storages.
type corpus struct {
	issuer *authority
	names  []string
	leaves int              // bytes of DER, of all
	store  *storage.Memory  // for everseal
	files  certmagicStorage // for CertMagic
}

// newCorpus has a manager obtain certificates for n names, P-256 with a chain of three.
func newCorpus(ctx context.Context, n int) (*corpus, error) {
	root, err := newAuthority()
	if err != nil {
		return nil, err
	}
	c := &corpus{names: shuffled(exactFormat, n, 1), store: new(storage.Memory), files: make(certmagicStorage)}
	if c.issuer, err = newAuthorityBelow(root); err != nil {
		return nil, err
	}
	m, err := c.manager()
	if err != nil {
		return nil, err
	}
	running, cancel := context.WithCancel(ctx)
	var run sync.WaitGroup
	run.Go(func() {
		err = m.Run(running)
		cancel()
	})
	waited := m.Wait(running)
	cancel()
	run.Wait()
	if waited != nil {
		return nil, errors.Join(waited, err)
	}
	return c, c.copyForCertMagic(ctx)
}

// manager returns a new one, which has loaded nothing.
func (c *corpus) manager() (*certmanager.Manager, error) {
	return certmanager.New(certmanager.Config{
		Names:   c.names,
		Issuers: []certmanager.Issuer{c.issuer},
		Storage: c.store,
		Logger:  slog.New(slog.DiscardHandler),
	})
}

// copyForCertMagic stores what the manager has stored in the other library's form.
func (c *corpus) copyForCertMagic(ctx context.Context) error {
	for key, err := range c.store.List(ctx, "certificates/"+c.issuer.ID()) {
		if err != nil {
			return err
		}
		item, err := c.store.Load(ctx, key)
		if err != nil {
			return err
		}
		var chain, private bytes.Buffer
		for block, rest := pem.Decode(item.Value); block != nil; block, rest = pem.Decode(rest) {
			switch {
			case strings.HasSuffix(block.Type, "PRIVATE KEY"):
				_ = pem.Encode(&private, block)
			case block.Type == "CERTIFICATE":
				if chain.Len() == 0 {
					c.leaves += len(block.Bytes)
				}
				_ = pem.Encode(&chain, block)
			}
		}
		name := strings.Split(key, "/")[2]
		about, err := json.Marshal(certmagic.CertificateResource{SANs: []string{name}})
		if err != nil {
			return err
		}
		issuer := certmagicIssuer{}.IssuerKey()
		c.files[certmagic.StorageKeys.SiteCert(issuer, name)] = chain.Bytes()
		c.files[certmagic.StorageKeys.SitePrivateKey(issuer, name)] = private.Bytes()
		c.files[certmagic.StorageKeys.SiteMeta(issuer, name)] = about
	}
	if len(c.files) != 3*len(c.names) {
		return fmt.Errorf("%d values are stored for CertMagic, want three for each of %d certificates", len(c.files), len(c.names))
	}
	return nil
}

// loadEverseal has a new manager load the certificates.
func (c *corpus) loadEverseal(ctx context.Context) (getCertificate, func(), error) {
	m, err := c.manager()
	if err != nil {
		return nil, nil, err
	}
	return m.GetCertificate, func() {}, m.Load(ctx)
}

// loadCertMagic has a new cache load the certificates.
func (c *corpus) loadCertMagic(ctx context.Context) (getCertificate, func(), error) {
	var config *certmagic.Config
	cache := certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return config, nil },
		Logger:           zap.NewNop(),
	})
	config = certmagic.New(cache, certmagic.Config{
		Issuers: []certmagic.Issuer{certmagicIssuer{}},
		Storage: c.files,
		OCSP:    certmagic.OCSPConfig{DisableStapling: true},
		Logger:  zap.NewNop(),
	})
	for _, name := range c.names {
		if _, err := config.CacheManagedCertificate(ctx, name); err != nil {
			return nil, nil, err
		}
	}
	return config.GetCertificate, cache.Stop, nil
}

// A certmagicStorage is one that is only read.
type certmagicStorage map[string][]byte

var errReadOnly = errors.New("this storage is only read")

// Load returns a copy, as a storage of files does.
func (s certmagicStorage) Load(_ context.Context, key string) ([]byte, error) {
	value, ok := s[key]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return slices.Clone(value), nil
}

func (s certmagicStorage) Exists(_ context.Context, key string) bool { return s[key] != nil }

func (s certmagicStorage) Store(context.Context, string, []byte) error { return errReadOnly }

func (s certmagicStorage) Delete(context.Context, string) error { return errReadOnly }

func (s certmagicStorage) List(context.Context, string, bool) ([]string, error) {
	return nil, errReadOnly
}

func (s certmagicStorage) Stat(context.Context, string) (certmagic.KeyInfo, error) {
	return certmagic.KeyInfo{}, errReadOnly
}

func (s certmagicStorage) Lock(context.Context, string) error { return errReadOnly }

func (s certmagicStorage) Unlock(context.Context, string) error { return errReadOnly }

// A certmagicIssuer has issued what is stored.
type certmagicIssuer struct{ certmagic.Issuer }

// IssuerKey names the issuer in the keys of the storage.
func (certmagicIssuer) IssuerKey() string { return "benchmark" }

// BenchmarkMemory loads 100,000 certificates from a storage, P-256 with a chain of three, and reports what one takes of the
// heap: B/cert, beside B/leaf, the length of its DER. They are the same ones for each library.
func BenchmarkMemory(b *testing.B) {
	const n = 100_000
	made := sync.OnceValues(func() (*corpus, error) { return newCorpus(b.Context(), n) })
	for _, l := range []struct {
		name string
		load func(*corpus, context.Context) (getCertificate, func(), error)
	}{{"everseal", (*corpus).loadEverseal}, {"certmagic", (*corpus).loadCertMagic}} {
		b.Run(l.name, func(b *testing.B) {
			c, err := made()
			if err != nil {
				b.Fatal(err)
			}
			hello, err := realHello(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				before := heap()
				get, stop, err := l.load(c, b.Context())
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(heap()-before)/n, "B/cert")
				b.ReportMetric(float64(c.leaves)/n, "B/leaf")
				for _, name := range c.names {
					hello.ServerName = name
					if certificate, err := get(hello); err != nil || certificate == nil || len(certificate.Certificate) != 3 {
						b.Fatalf("%s: %v, want a chain of three", name, err)
					}
				}
				stop()
			}
		})
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}
