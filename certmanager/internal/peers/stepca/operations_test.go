package stepca

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"strings"
	"testing"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/certmanager/internal/record"
	"github.com/everseal/everseal/storage"
)

// What operators do with a manager, done with this CA: two kinds of key, a certificate imported and renewed, one revoked
// behind its successor, names forgotten and deleted, the account's contact changed and the account given up.
func TestOperations(t *testing.T) {
	const name, imported = "operated.example.test", "imported.example.test"
	ca := start(t)
	ctx, store := within(t), new(storage.Memory)
	certificate, key := issued(t, ca, imported) // before the CA's ports lead to the manager
	s := startServer(t, ca, certmanager.Config{
		Subjects: []certmanager.Subject{{Names: []string{name}, KeyTypes: []certmanager.KeyType{certmanager.ECDSAP256, certmanager.RSA2048}}},
		Solvers:  solversFor(ca, acme.TypeHTTP01),
		Storage:  store,
	})
	if err := s.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	kinds := make(map[certmanager.KeyType]string)
	for status := range s.All() {
		kinds[status.KeyType] = status.Serial
	}
	if len(kinds) != 2 || serial(s.served(t, name)) != kinds[certmanager.ECDSAP256] {
		t.Errorf("there are %v", kinds)
	}

	if err := s.Import(ctx, certificate, key); err != nil {
		t.Fatal(err)
	}
	before := s.served(t, imported)
	if status, _ := s.Status(imported); !status.Imported || status.Serial != serial(before) {
		t.Errorf("what was imported is %+v, served is %s", status, serial(before))
	}
	if err := s.Renew(ctx, imported); err != nil || s.served(t, imported).Equal(before) {
		t.Errorf("what was imported is not renewed: %v", err)
	}

	old := s.served(t, name)
	if err := s.Revoke(ctx, name, acme.ReasonSuperseded); err != nil {
		t.Fatal(err)
	}
	if s.served(t, name).Equal(old) {
		t.Error("what was revoked is still served")
	}
	if err := accountIn(t, ca, store).RevokeCertificate(ctx, old.Raw, acme.ReasonSuperseded); !errors.Is(err, acme.ErrAlreadyRevoked) {
		t.Errorf("the CA says of what was revoked: %v", err)
	}

	account, err := s.Account("")
	if err != nil {
		t.Fatal(err)
	}
	if err := account.UpdateContact(ctx, "admin@example.test"); err != nil {
		t.Error(err)
	}
	if err := account.ChangeKey(ctx); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("ChangeKey: %v; the CA has none", err)
	}

	if err := s.Delete(ctx, name); err != nil {
		t.Error(err)
	}
	if _, ok := s.Certificate(name); ok {
		t.Error("what was deleted is served")
	}
	if err := account.Deactivate(ctx); err != nil {
		t.Fatal(err)
	}
	if err := s.Renew(ctx, imported); err == nil || !strings.Contains(err.Error(), "delete the stored record") {
		t.Errorf("after the account was given up: %v", err)
	}
}

// issued returns a certificate of the CA's, and its key, as another program has them in PEM.
func issued(t *testing.T, ca *authorityServer, name string) (certificate, key []byte) {
	t.Helper()
	private := newKey(t)
	got, err := newAccount(t, ca).Issue(within(t), acme.Request{Identifiers: identifiers(t, name), Key: private, Solvers: solvers(t, ca, acme.TypeHTTP01)})
	if err != nil {
		t.Fatal(err)
	}
	for _, der := range got.Chain {
		certificate = append(certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return certificate, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// accountIn returns a client for the manager's account.
func accountIn(t *testing.T, ca *authorityServer, s storage.Store) *acme.Client {
	t.Helper()
	for key, err := range s.List(t.Context(), "accounts") {
		if err != nil {
			t.Fatal(err)
		}
		item, err := s.Load(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		if account, err := record.DecodeAccount(item.Value); err == nil {
			return &acme.Client{DirectoryURL: ca.directory, HTTPClient: ca.client(), Key: account.Key.Signer}
		}
	}
	t.Fatal("the storage has no account")
	return nil
}

// A local CA before this one in Config.Issuers signs alone.
func TestLocalCABeforeThis(t *testing.T) {
	const name = "local.example.test"
	ca, store := start(t), new(storage.Memory)
	local := &certmanager.LocalCA{Name: "local-test-ca"}
	s := startServer(t, ca, certmanager.Config{Names: []string{name}, Storage: store, KeyTypes: []certmanager.KeyType{certmanager.RSA2048}, Issuers: []certmanager.Issuer{
		local, &certmanager.ACME{DirectoryURL: ca.directory, HTTPClient: ca.client()}}})
	if err := s.Wait(within(t)); err != nil {
		t.Fatal(err)
	}
	root, err := local.Root(within(t), store)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(root)
	c, _ := s.Certificate(name)
	leaf, err := x509.ParseCertificate(c.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	between := x509.NewCertPool()
	for _, der := range c.Certificate[1:] {
		if above, err := x509.ParseCertificate(der); err == nil {
			between.AddCert(above)
		}
	}
	if _, err := leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots, Intermediates: between}); err != nil {
		t.Error(err)
	}
	if _, ok := leaf.PublicKey.(*rsa.PublicKey); !ok {
		t.Errorf("the key is %T", leaf.PublicKey)
	}
	ca.wants(t, 0, 0)
}
