package peers

import (
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/certmanager/migrate"
	"github.com/everseal/everseal/storage"
)

// A tool is what a server moves in from.
type tool struct {
	name      string // its certificates are for names below the domain <name>.example.test
	isProgram bool   // of its own, which must be installed
	// obtain has it obtain certificates, and returns the folder, or file, that it keeps them in.
	obtain func(t *testing.T, w *workplace, domain string) string
	// move is the method that moves them.
	move         func(m *migrate.Migration, ctx context.Context, source string) (*migrate.Report, error)
	certificates int
	left         int // accounts that are left: a manager has one with a CA
}

func tools() []tool {
	return []tool{
		{"certbot", true, certbot, (*migrate.Migration).Certbot, 3, 0},
		{"lego4", true, lego4, (*migrate.Migration).Lego, 3, 0},
		{"lego5", true, lego5, (*migrate.Migration).Lego, 3, 0},
		{"lego4to5", true, lego4to5, (*migrate.Migration).Lego, 3, 0},
		{"caddy", true, caddy, (*migrate.Migration).CertMagic, 3, 0},
		{"dehydrated", true, dehydrated, (*migrate.Migration).Dehydrated, 2, 0},
		{"certmagic", false, certMagic, (*migrate.Migration).CertMagic, 3, 0},
		{"autocert", false, autocertCache, (*migrate.Migration).Autocert, 3, 0},
	}
}

// TestMoving has each tool obtain certificates from one CA, and a manager take over what it has. The manager serves each of them
// and asks the CA for nothing; what it renews then, it renews with the tool's account.
func TestMoving(t *testing.T) {
	w := startWorkplace(t, pebbleSettings{reuse: 99})
	var accounts atomic.Int64
	t.Run("from", func(t *testing.T) {
		for _, tool := range tools() {
			t.Run(tool.name, func(t *testing.T) {
				t.Parallel()
				if tool.isProgram && raceDetector {
					t.Skip("without the race detector it is tested")
				}
				domain := tool.name + ".example.test"
				source := tool.obtain(t, w, domain)
				issued := w.latest(domain)
				if len(issued) != tool.certificates {
					t.Fatalf("the CA has issued %d certificates, want %d", len(issued), tool.certificates)
				}
				accounts.Add(int64(len(w.accountsOf(domain))))
				move(t, moving{w, tool, source, w.directory, w.client(), w.roots(), issued})
			})
		}
	})
	if n := w.accounts(); n != int(accounts.Load()) {
		t.Errorf("the CA has %d accounts, the tools had %d", n, accounts.Load())
	}
}

// A moving is the way of what a tool has to a manager.
type moving struct {
	*workplace
	tool      tool
	source    string
	directory string              // of the CA as the tool knows it
	client    *http.Client        // for the CA
	roots     *x509.CertPool      // of what the tool has
	issued    []*x509.Certificate // what it has
}

// move does what an operator does: a look at what would be, the migration, and the new server.
func move(t *testing.T, m moving) {
	t.Helper()
	before := contents(t, m.source)
	way := &recorder{next: m.client.Transport}
	config := certmanager.Config{
		Subjects:            subjects(m.issued),
		Issuers:             []certmanager.Issuer{&certmanager.ACME{DirectoryURL: m.directory, HTTPClient: &http.Client{Transport: way}, AgreeToTerms: true}},
		Solvers:             []acme.Solver{m.solver()},
		Preflight:           certmanager.PreflightOff, // the names are in no DNS but the CA's
		Storage:             new(storage.Memory),
		RenewalInfoInterval: -1,
		Logger:              slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	migration := func(dryRun bool) *migrate.Report {
		manager, err := certmanager.New(config)
		if err != nil {
			t.Fatal(err)
		}
		report, err := m.tool.move(&migrate.Migration{Manager: manager, Directory: m.directory, DryRun: dryRun}, t.Context(), m.source)
		if err != nil {
			t.Fatal(err)
		}
		return report
	}
	m.takes(t, migration(true), false)
	for key, err := range config.Storage.List(t.Context(), "") {
		t.Errorf("a dry run has stored %q (%v)", key, err)
	}
	account := m.takes(t, migration(false), false)
	m.takes(t, migration(false), true)
	if after := contents(t, m.source); !maps.Equal(before, after) {
		t.Errorf("the source was\n%q\nand is now\n%q", before, after)
	}

	manager, address := startManager(t, config)
	for _, certificate := range m.issued {
		if got := presented(t, address, certificate, m.roots); serial(got) != serial(certificate) {
			t.Errorf("for %q a certificate of %s to %s is served, not the tool's", certificate.DNSNames, got.NotBefore, got.NotAfter)
		}
	}
	if asked := way.asked(); len(asked) != 0 {
		t.Errorf("the CA was asked for %q", asked)
	}
	former := m.accountsOf(m.domain())
	for _, subject := range config.Subjects {
		if err := manager.Renew(within(t), subject.Names[0]); err != nil {
			t.Errorf("renew %q: %v", subject.Names, err)
		}
	}
	for _, certificate := range m.issued {
		if got := presented(t, address, certificate, m.workplace.roots()); serial(got) == serial(certificate) {
			t.Errorf("%q is not renewed", certificate.DNSNames)
		}
	}
	accounts := m.accountsOf(m.domain())
	if last := accounts[len(accounts)-1]; len(accounts) != max(1, len(former)) || account != "" && last != path.Base(account) {
		t.Errorf("the orders are those of the accounts %q, and were those of %q; the account moved is %s", accounts, former, account)
	}
}

// domain is what all names of the tool's are below.
func (m *moving) domain() string { return m.tool.name + ".example.test" }

// takes fails the test unless the report has each certificate and the account among what was taken, and nothing else. It returns
// the account's URL, if the tool has that.
func (m *moving) takes(t *testing.T, report *migrate.Report, before bool) (account string) {
	t.Helper()
	t.Logf("\n%s", report)
	serials := make(map[string]bool)
	accounts := 0
	for _, item := range report.Taken {
		if item.Present != before || item.Issuer == "" {
			t.Errorf("%+v: want one that is of the issuer, and that was there before: %t", item, before)
		}
		if item.Kind == migrate.KindAccount {
			accounts, account = accounts+1, item.Account
			continue
		}
		serials[item.Serial] = true
	}
	for _, certificate := range m.issued {
		if !serials[serial(certificate)] {
			t.Errorf("%q is not taken", certificate.DNSNames)
		}
	}
	if len(serials) != len(m.issued) || accounts != 1 || len(report.Left) != m.tool.left {
		t.Errorf("%d certificates and %d accounts are taken, %d items left; want %d, 1 and %d", len(serials), accounts, len(report.Left), len(m.issued), m.tool.left)
	}
	return account
}

// startManager starts a server with a manager, and returns where.
func startManager(t *testing.T, config certmanager.Config) (manager *certmanager.Manager, address string) {
	t.Helper()
	manager, err := certmanager.New(config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- manager.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	secure := listen(t)
	startWeb(t, manager.Listener(secure), http.HandlerFunc(page))
	if err := manager.Wait(within(t)); err != nil {
		t.Fatal(err)
	}
	return manager, secure.Addr().String()
}

// presented returns the certificate that a client gets that wants the names and the kind of key of another one.
func presented(t *testing.T, address string, like *x509.Certificate, roots *x509.CertPool) *x509.Certificate {
	t.Helper()
	suite := tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
	if _, isRSA := like.PublicKey.(*rsa.PublicKey); isRSA {
		suite = tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
	}
	config := &tls.Config{
		ServerName: strings.Replace(like.DNSNames[0], "*", "any", 1), RootCAs: roots,
		MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{suite}, // with TLS 1.3 a client has no say
	}
	conn, err := (&tls.Dialer{Config: config}).DialContext(within(t), "tcp", address)
	if err != nil {
		t.Fatalf("handshake for %s: %v", config.ServerName, err)
	}
	defer conn.Close()
	return conn.(*tls.Conn).ConnectionState().PeerCertificates[0]
}

// latest returns the last certificate of each kind of key for each set of names below the domain.
func (p *pebble) latest(domain string) []*x509.Certificate {
	last := make(map[string]*x509.Certificate)
	for _, certificate := range p.certificates("") {
		if isBelow(certificate.DNSNames[0], domain) {
			names := slices.Sorted(slices.Values(certificate.DNSNames)) // lego 5 has them in any order
			last[fmt.Sprint(names, keyTypeOf(certificate))] = certificate
		}
	}
	return slices.Collect(maps.Values(last))
}

func isBelow(name, domain string) bool { return name == domain || strings.HasSuffix(name, "."+domain) }

// accountsOf returns the ids of the accounts that have made orders for names below the domain, each once, and the last one at the
// end.
func (p *pebble) accountsOf(domain string) (accounts []string) {
	for _, id := range p.traffic.ids() {
		if order := p.database.GetOrderByID(id); order != nil && isBelow(order.Identifiers[0].Value, domain) {
			accounts = slices.DeleteFunc(accounts, func(a string) bool { return a == order.AccountID })
			accounts = append(accounts, order.AccountID)
		}
	}
	return accounts
}

// keyTypeOf returns the kind of the certificate's key.
func keyTypeOf(certificate *x509.Certificate) certmanager.KeyType {
	switch key := certificate.PublicKey.(type) {
	case *rsa.PublicKey:
		return certmanager.KeyType(fmt.Sprintf("rsa-%d", key.N.BitLen()))
	case *ecdsa.PublicKey:
		return certmanager.KeyType(fmt.Sprintf("ecdsa-p%d", key.Curve.Params().BitSize))
	}
	return ""
}

// subjects returns what a manager has to manage that is to have certificates like these.
func subjects(certificates []*x509.Certificate) (all []certmanager.Subject) {
	for _, certificate := range certificates {
		i := slices.IndexFunc(all, func(s certmanager.Subject) bool { return slices.Equal(s.Names, certificate.DNSNames) })
		if i < 0 {
			i, all = len(all), append(all, certmanager.Subject{Names: certificate.DNSNames})
		}
		all[i].KeyTypes = append(all[i].KeyTypes, keyTypeOf(certificate))
		slices.Sort(all[i].KeyTypes) // ECDSA first
	}
	return all
}

// contents returns what is in a folder, or a file: the mode of each, and what a hash of its content, or where a link leads.
func contents(t *testing.T, source string) map[string]string {
	t.Helper()
	found := make(map[string]string)
	err := filepath.WalkDir(source, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		content := ""
		switch {
		case entry.Type() == fs.ModeSymlink:
			content, err = os.Readlink(path)
		case entry.Type().IsRegular():
			var data []byte
			data, err = os.ReadFile(path)
			content = fmt.Sprintf("%x", sha256.Sum256(data))
		}
		found[path] = info.Mode().String() + " " + content
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
