package migrate_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"log"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/certmanager/migrate"
	"github.com/everseal/everseal/storage"
)

// A server moves from certbot: it is seen first what would be taken, and then it is.
func ExampleMigration_Certbot() {
	folder, err := certbotFolder("example.com", "old.example.com") // in practice "/etc/letsencrypt"
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(folder)
	m, err := certmanager.New(certmanager.Config{
		Names: []string{"example.com"}, AgreeToTerms: true, Storage: new(storage.Memory), // in practice a folder or a database
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, dry := range []bool{true, false} {
		report, err := (&migrate.Migration{Manager: m, DryRun: dry}).Certbot(context.Background(), folder)
		if err != nil {
			log.Fatal(err)
		}
		for _, item := range report.Taken {
			fmt.Println("taken:", item.Names, "dry run:", report.DryRun)
		}
		for _, item := range report.Left {
			fmt.Println("left: ", item.Names, item.Reason)
		}
	}
	_, served := m.Certificate("example.com")
	fmt.Println("served:", served)
	// Output:
	// taken: [example.com] dry run: true
	// left:  [old.example.com] the names are not managed: have them in the Config
	// taken: [example.com] dry run: false
	// left:  [old.example.com] the names are not managed: have them in the Config
	// served: true
}

// certbotFolder returns a folder with certificates as certbot has them, without links.
func certbotFolder(names ...string) (folder string, err error) {
	if folder, err = os.MkdirTemp("", "letsencrypt"); err != nil {
		return "", err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", err
	}
	for i, name := range names {
		template := &x509.Certificate{
			SerialNumber: big.NewInt(int64(i + 1)), Subject: pkix.Name{CommonName: name}, Issuer: pkix.Name{CommonName: "a CA"}, DNSNames: []string{name},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(90 * 24 * time.Hour),
		}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			return "", err
		}
		at := filepath.Join(folder, "live", name)
		if err := os.MkdirAll(at, 0o700); err != nil {
			return "", err
		}
		for file, block := range map[string]*pem.Block{"fullchain.pem": {Type: "CERTIFICATE", Bytes: der}, "privkey.pem": {Type: "PRIVATE KEY", Bytes: secret}} {
			if err := os.WriteFile(filepath.Join(at, file), pem.EncodeToMemory(block), 0o600); err != nil {
				return "", err
			}
		}
	}
	return folder, nil
}
