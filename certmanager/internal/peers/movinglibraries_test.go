package peers

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"testing"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
	xacme "golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"
)

// certMagic returns the folder of a FileStorage. CertMagic obtains a certificate for each name.
func certMagic(t *testing.T, w *workplace, domain string) string {
	store := &certmagic.FileStorage{Path: t.TempDir()}
	trusted := x509.NewCertPool()
	trusted.AddCert(w.front.Certificate())
	for keyType, names := range map[certmagic.KeyType][]string{
		certmagic.P384:    {domain, "*.wild." + domain},
		certmagic.RSA2048: {"rsa." + domain},
	} {
		var config *certmagic.Config
		cache := certmagic.NewCache(certmagic.CacheOptions{
			GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return config, nil },
			Logger:           zap.NewNop(),
		})
		config = certmagic.New(cache, certmagic.Config{
			Storage: store, KeySource: certmagic.StandardKeyGenerator{KeyType: keyType},
			OCSP: certmagic.OCSPConfig{DisableStapling: true}, Logger: zap.NewNop(),
		})
		config.Issuers = []certmagic.Issuer{certmagic.NewACMEIssuer(config, certmagic.ACMEIssuer{
			CA: w.directory, Email: "admin@" + domain, Agreed: true, TrustedRoots: trusted,
			DNS01Solver: acmezSolver{&w.answers}, Logger: zap.NewNop(),
		})}
		err := config.ManageSync(within(t), names)
		cache.Stop()
		if err != nil {
			t.Fatal(err)
		}
	}
	return store.Path
}

// autocertCache returns the folder of a DirCache. One name has certificates of both kinds, as clients of both kinds have asked.
func autocertCache(t *testing.T, w *workplace, domain string) string {
	cache := autocert.DirCache(t.TempDir())
	m := &autocert.Manager{
		Prompt: autocert.AcceptTOS, Cache: cache, HostPolicy: autocert.HostWhitelist(domain, "www."+domain),
		Client: &xacme.Client{DirectoryURL: w.directory, HTTPClient: w.client()},
	}
	w.handle(domain, m.HTTPHandler(nil))
	secure := listen(t)
	startWeb(t, tls.NewListener(secure, m.TLSConfig()), http.HandlerFunc(page))
	w.tls.lead(secure.Addr().String())
	modern := tls.ClientHelloInfo{
		SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256}, SupportedCurves: []tls.CurveID{tls.CurveP256},
		CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256},
	}
	hellos := []tls.ClientHelloInfo{modern, modern, {}}
	for i, name := range []string{domain, "www." + domain, domain} {
		hellos[i].ServerName = name
		if _, err := m.GetCertificate(&hellos[i]); err != nil {
			t.Fatal(err)
		}
	}
	return string(cache)
}
