package peers

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	zx509 "github.com/zmap/zcrypto/x509"
	"github.com/zmap/zlint/v3"
	"github.com/zmap/zlint/v3/lint"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
)

// A server moves from one CA to another that wants an external account: what the first has issued is served until it is
// renewed, and the first is asked for nothing more.
func TestMoveToAnotherCA(t *testing.T) {
	const name = "moving.example.test"
	from, to := startPebble(t, pebbleSettings{}), startPebbleWithExternalAccount(t)
	mac, err := acme.ParseMACKey(externalMAC)
	if err != nil {
		t.Fatal(err)
	}
	former := &certmanager.ACME{DirectoryURL: from.directory, HTTPClient: from.client()}
	config := certmanager.Config{Names: []string{name}, AgreeToTerms: true, Storage: new(storage.Memory), Issuers: []certmanager.Issuer{former}}
	s := startServer(t, from, config)
	s.events.wait(t, certmanager.EventObtained, name)
	before := serial(s.served(t, name))
	s.stop()

	config.Issuers = []certmanager.Issuer{
		&certmanager.ACME{DirectoryURL: to.directory, HTTPClient: to.client(), ExternalAccount: &acme.ExternalAccount{KeyID: externalID, MACKey: mac}}, former,
	}
	s = startServer(t, to, config)
	if loaded := s.events.wait(t, certmanager.EventLoaded, name); loaded.Serial != before {
		t.Errorf("after the move %s is served, want %s", loaded.Serial, before)
	}
	if err := s.Renew(within(t), name); err != nil {
		t.Fatal(err)
	}
	if after := serial(s.served(t, name)); after == before {
		t.Error("the renewal has changed nothing")
	}
	from.wants(t, 1, 1)
	to.wants(t, 1, 1)
	if n := to.accounts(); n != 1 {
		t.Errorf("%d accounts with an external one", n)
	}
}

// A CA that is down, and one that makes no account, have the next one asked.
func TestFirstCAIsOfNoUse(t *testing.T) {
	for name, first := range map[string]func(t *testing.T) *pebble{
		"down": func(t *testing.T) *pebble {
			p := startPebble(t, pebbleSettings{})
			p.front.CloseClientConnections()
			p.front.Close()
			return p
		},
		"refuses": func(t *testing.T) *pebble { return startPebble(t, pebbleSettings{externalAccount: true}) },
	} {
		t.Run(name, func(t *testing.T) {
			useless, second := first(t), startPebble(t, pebbleSettings{})
			s := startServer(t, second, certmanager.Config{Names: []string{"spared.example.test"}, AgreeToTerms: true, Issuers: []certmanager.Issuer{
				&certmanager.ACME{DirectoryURL: useless.directory, HTTPClient: useless.client()},
				&certmanager.ACME{DirectoryURL: second.directory, HTTPClient: second.client()},
			}})
			s.events.wait(t, certmanager.EventObtained, "spared.example.test")
			s.served(t, "spared.example.test")
			useless.wants(t, 0, 0)
		})
	}
}

// A name that has failed is tried at a second Pebble, as staging, before the first has another order.
func TestDryRunAtStaging(t *testing.T) {
	const name = "rehearsed.example.test"
	p, staging := startPebble(t, pebbleSettings{}), startPebble(t, pebbleSettings{})
	s := startServer(t, p, certmanager.Config{AgreeToTerms: true, Issuers: []certmanager.Issuer{&certmanager.ACME{
		DirectoryURL: p.directory, HTTPClient: p.client(), Staging: &certmanager.ACME{DirectoryURL: staging.directory, HTTPClient: staging.client()},
	}}})
	plain, _ := p.http.current()
	nowhere := listen(t)
	nowhere.Close()
	lead := func(secure, plain string) {
		for _, q := range []*pebble{p, staging} {
			q.tls.direct.Store(true)
			q.http.direct.Store(true)
			q.tls.lead(secure)
			q.http.lead(plain)
		}
	}
	lead(nowhere.Addr().String(), nowhere.Addr().String())
	if err := s.Manage(certmanager.Subject{Names: []string{name}}); err != nil {
		t.Fatal(err)
	}
	s.events.wait(t, certmanager.EventFailed, name)
	p.wants(t, 1, 0)
	staging.wants(t, 0, 0)
	if err := s.Renew(within(t), name); err == nil {
		t.Error("it was obtained though it leads nowhere")
	}
	p.wants(t, 1, 0)
	staging.wants(t, 1, 0)
	lead(s.address, plain)
	if err := s.Renew(within(t), name); err != nil {
		t.Fatal(err)
	}
	s.served(t, name) // by a client that trusts production alone
	p.wants(t, 2, 1)
	staging.wants(t, 2, 1)
}

// A profile and a chain to another root are had of a CA that offers them.
func TestProfileAndPreferredChain(t *testing.T) {
	const name = "wishing.example.test"
	p := startPebble(t, pebbleSettings{alternates: 1, profiles: []string{"chosen"}, lifetime: 240 * time.Hour})
	root := p.chains.GetRootCert(1).Cert
	s := startServer(t, p, certmanager.Config{Names: []string{name}, AgreeToTerms: true, Issuers: []certmanager.Issuer{&certmanager.ACME{
		DirectoryURL: p.directory, HTTPClient: p.client(), Profile: "chosen", PreferredChain: root.Subject.CommonName,
	}}})
	s.events.wait(t, certmanager.EventObtained, name)
	served, _ := s.Certificate(name)
	last, err := zx509.ParseCertificate(served.Certificate[len(served.Certificate)-1])
	if err != nil || last.Issuer.CommonName != root.Subject.CommonName {
		t.Errorf("the chain leads to %q, want %q; %v", last.Issuer.CommonName, root.Subject.CommonName, err)
	}
	for _, id := range p.traffic.ids() {
		if order := p.database.GetOrderByID(id); order != nil && order.Profile != "chosen" {
			t.Errorf("an order has the profile %q", order.Profile)
		}
	}
}

// What a local CA signs is taken by openssl and curl, and by zlint but for what is public CAs' alone.
func TestLocalCA(t *testing.T) {
	const name = "db.internal"
	store, ca := new(storage.Memory), &certmanager.LocalCA{Permitted: []string{"internal", "127.0.0.0/8"}, Excluded: []string{"guests.internal"}}
	s := startServer(t, startPebble(t, pebbleSettings{}), certmanager.Config{Names: []string{name, "127.0.0.1"}, Issuers: []certmanager.Issuer{ca}, Storage: store})
	s.events.wait(t, certmanager.EventObtained, name)
	s.events.wait(t, certmanager.EventObtained, "127.0.0.1")
	root, err := ca.Root(t.Context(), store)
	if err != nil {
		t.Fatal(err)
	}
	served, _ := s.Certificate(name)
	folder := t.TempDir()
	file := func(name string, der []byte) string {
		path := filepath.Join(folder, name)
		writePEM(t, path, der)
		return path
	}
	rootFile := filepath.Join(folder, "root.pem")
	if err := os.WriteFile(rootFile, root, 0o600); err != nil {
		t.Fatal(err)
	}
	leaf, between := file("leaf.pem", served.Certificate[0]), file("between.pem", served.Certificate[1])
	run := func(program string, args ...string) {
		t.Helper()
		if output, err := exec.CommandContext(within(t), lookUp(t, program), args...).CombinedOutput(); err != nil {
			t.Errorf("%s %v: %v\n%s", program, args, err, output)
		}
	}
	run("openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-verify_hostname", name, "-CAfile", rootFile, "-untrusted", between, leaf)
	run("curl", "--silent", "--show-error", "--fail", "--cacert", rootFile, "--connect-to", "::"+s.address, "https://"+name+"/")
	run("curl", "--silent", "--show-error", "--fail", "--cacert", rootFile, "https://"+s.address+"/")
	address, _ := s.Certificate("127.0.0.1")
	for role, der := range map[string][]byte{"leaf": served.Certificate[0], "address": address.Certificate[0], "intermediate": served.Certificate[1], "root": decodeChain(root)[0]} {
		lintLocal(t, role, der)
	}
}

func lintLocal(t *testing.T, role string, der []byte) {
	t.Helper()
	certificate, err := zx509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	excluded := localLintsExcluded()
	for name, result := range zlint.LintCertificate(certificate).Results {
		if result.Status >= lint.Warn && excluded[name] == "" {
			t.Errorf("%s: %s: %s %s (%s)", role, name, result.LintMetadata.Description, result.Details, result.LintMetadata.Citation)
		}
	}
}

// localLintsExcluded are rules for public CAs that a local one can't follow, each with the reason.
func localLintsExcluded() map[string]string {
	const (
		policy   = "the policies are those of public CAs, which it is none of"
		internal = "it is for internal names and addresses"
	)
	excluded := lintsExcluded()
	for name, reason := range map[string]string{
		"e_sub_cert_cert_policy_empty":                  policy,
		"e_sub_cert_certificate_policies_missing":       policy,
		"e_sub_ca_certificate_policies_missing":         policy,
		"e_invalid_ca_certificate_policies":             policy,
		"e_ca_country_name_missing":                     "it has no country",
		"e_dnsname_not_valid_tld":                       internal,
		"e_ext_san_contains_reserved_ip":                internal,
		"e_ext_nc_intersects_reserved_ip":               internal,
		"w_ext_subject_key_identifier_missing_sub_cert": "the Baseline Requirements advise against it",
	} {
		excluded[name] = reason
	}
	return excluded
}
