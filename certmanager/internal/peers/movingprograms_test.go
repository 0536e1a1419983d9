package peers

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// certbot returns its folder, usually /etc/letsencrypt. One of the certificates it has renewed once.
func certbot(t *testing.T, w *workplace, domain string) string {
	program, folder := lookUp(t, "certbot"), t.TempDir()
	settings := []string{"certonly", "--config-dir", folder, "--work-dir", t.TempDir(), "--logs-dir", t.TempDir(), "--server", w.directory,
		"--non-interactive", "--agree-tos", "--email", "admin@" + domain}
	webroot := slices.Concat(settings, []string{"--webroot", "--webroot-path", w.webroot(t, domain)})
	rsa := []string{"-d", "rsa." + domain, "--key-type", "rsa"}
	records := func(action string) string {
		return fmt.Sprintf(`curl --silent --fail --data "{\"fqdn\": \"_acme-challenge.$CERTBOT_DOMAIN\", \"value\": \"$CERTBOT_VALIDATION\"}" %s/%s`, w.records, action)
	}
	for _, arguments := range [][]string{
		slices.Concat(webroot, []string{"-d", domain, "-d", "www." + domain}),
		slices.Concat(webroot, rsa),
		slices.Concat(webroot, rsa, []string{"--force-renewal"}),
		slices.Concat(settings, []string{"-d", "*.wild." + domain, "-d", "wild." + domain, "--manual", "--preferred-challenges", "dns",
			"--manual-auth-hook", records("present"), "--manual-cleanup-hook", records("cleanup")}),
	} {
		run(t, []string{"REQUESTS_CA_BUNDLE=" + w.root}, program, arguments...)
	}
	return folder
}

// lego4 is lego of version 4, which Debian has.
func lego4(t *testing.T, w *workplace, domain string) string {
	program, folder := lookUp(t, "lego"), t.TempDir()
	settings := []string{"--path", folder, "--server", w.directory, "--accept-tos", "--email", "admin@" + domain}
	webroot := slices.Concat(settings, []string{"--http", "--http.webroot", w.webroot(t, domain)})
	environment := []string{"LEGO_CA_CERTIFICATES=" + w.root, "LEGO_DISABLE_CNAME_SUPPORT=true", "HTTPREQ_ENDPOINT=" + w.records}
	for _, arguments := range [][]string{
		slices.Concat(webroot, []string{"-d", domain, "-d", "www." + domain, "run"}),
		slices.Concat(webroot, []string{"-d", "rsa." + domain, "--key-type", "rsa2048", "run"}),
		slices.Concat(settings, []string{"-d", "*.wild." + domain, "-d", "wild." + domain, "--dns", "httpreq", "--dns.disable-cp", "run"}),
	} {
		run(t, environment, program, arguments...)
	}
	return folder
}

// lego5 is lego of version 5, by its command line and by a file of settings, in which a certificate has a name of its own. One of the
// certificates it has renewed once.
func lego5(t *testing.T, w *workplace, domain string) string {
	program, folder, email := buildLego5(t), t.TempDir(), "admin@"+domain
	webroot := w.webroot(t, domain)
	settings := []string{"run", "--path", folder, "--server", w.directory, "--accept-tos", "--email", email}
	byWebroot := slices.Concat(settings, []string{"-d", domain, "-d", "www." + domain, "--http", "--http.webroot", webroot})
	config := filepath.Join(t.TempDir(), "lego.yml")
	writeFile(t, config, fmt.Sprintf(`
storage: %q
servers:
  pebble: {url: %q}
accounts:
  %[3]s: {server: pebble, email: %[3]s, acceptsTermsOfService: true}
challenges:
  web: {http: {webroot: %[4]q}}
certificates:
  mail: {challenge: web, account: %[3]s, keyType: RSA2048, domains: [%[5]s]}
`, folder, w.directory, email, webroot, "rsa."+domain))
	environment := []string{"LEGO_CA_CERTIFICATES=" + w.root, "LEGO_DISABLE_CNAME_SUPPORT=true", "HTTPREQ_ENDPOINT=" + w.records}
	for _, arguments := range [][]string{
		byWebroot,
		slices.Concat(byWebroot, []string{"--renew-force", "--no-random-sleep"}),
		slices.Concat(settings, []string{"-d", "*.wild." + domain, "-d", "wild." + domain,
			"--dns", "httpreq", "--dns.propagation.disable-ans", "--dns.propagation.disable-rns"}),
		{"--config", config},
	} {
		run(t, environment, program, arguments...)
	}
	return folder
}

// lego4to5 returns a folder of lego of version 4 that version 5 has made its own.
func lego4to5(t *testing.T, w *workplace, domain string) string {
	program := buildLego5(t)
	folder := lego4(t, w, domain)
	run(t, nil, "sh", "-c", `cd "$1" && echo y | "$2" migrate --path "$3"`, "sh", t.TempDir(), program, folder)
	return folder
}

// buildLego5 builds lego's program from its module, which no package of Debian has, with one DNS provider of its many: see the go.mod
// in its folder. That takes minutes, unless Go's cache has what it is built of.
func buildLego5(t *testing.T) string {
	t.Helper()
	if os.Getenv("CI") == "" && os.Getenv("EVERSEAL_LARGE_SERVERS") == "" {
		t.Skip("lego 5 takes minutes to build: set EVERSEAL_LARGE_SERVERS=1 to have it built")
	}
	program := filepath.Join(t.TempDir(), "lego5")
	command := exec.CommandContext(t.Context(), "go", "build", "-tags", "lego_dnslight,lego_dns_httpreq", "-o", program, "github.com/go-acme/lego/v5")
	command.Dir = "lego5"
	command.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS="+strings.TrimSpace(os.Getenv("GOFLAGS")+" -mod=readonly"))
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", command, err, output)
	}
	return program
}

// dehydrated returns its base folder, usually /var/lib/dehydrated. It is a shell script that starts a program for each member of
// what the CA says: so there are few certificates, and few authorizations for them.
func dehydrated(t *testing.T, w *workplace, domain string) string {
	program, folder, settings := lookUp(t, "dehydrated"), t.TempDir(), t.TempDir()
	hook := filepath.Join(settings, "hook.sh")
	writeFile(t, hook, fmt.Sprintf(`#!/bin/sh
case "$1" in
deploy_challenge) action=present ;;
clean_challenge) action=cleanup ;;
*) exit 0 ;;
esac
curl --silent --fail --data "{\"fqdn\": \"_acme-challenge.$2\", \"value\": \"$4\"}" "%s/$action"
`, w.records))
	if err := os.Chmod(hook, 0o700); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(settings, "config")
	writeFile(t, config, fmt.Sprintf("CA=%q\nBASEDIR=%q\nCHALLENGETYPE=dns-01\nHOOK=%q\nCONTACT_EMAIL=%q\nCURL_OPTS=%q\n",
		w.directory, folder, hook, "admin@"+domain, "--cacert "+w.root))
	writeFile(t, filepath.Join(folder, "domains.txt"), fmt.Sprintf("%[1]s *.%[1]s\n%[1]s *.%[1]s > rsa\n", domain))
	at := filepath.Join(folder, "certs", "rsa")
	if err := os.MkdirAll(at, 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(at, "config"), "KEY_ALGO=rsa\nKEYSIZE=2048\n")
	run(t, nil, program, "--config", config, "--register", "--accept-terms")
	run(t, nil, program, "--config", config, "--cron")
	return folder
}

// caddy returns the folder that it keeps in its user's home, in .local/share.
func caddy(t *testing.T, w *workplace, domain string) string {
	home, plain, secure := t.TempDir(), freeAddress(t), freeAddress(t)
	_, plainPort, _ := net.SplitHostPort(plain)
	_, securePort, _ := net.SplitHostPort(secure)
	global := fmt.Sprintf(`{
	admin off
	http_port %s
	https_port %s
	cert_issuer acme %s {
		email admin@%s
		trusted_roots %s
		disable_tlsalpn_challenge
	}
}
`, plainPort, securePort, w.directory, domain, w.root)
	site := func(names, settings string) string { return names + " {\n" + settings + "	respond hello\n}\n" }
	w.proxy(domain, plain)
	// Names that are obtained at once each register an account, and the key of one can stay beside the URL of another: there is one
	// by the time of the second and third.
	runCaddy(t, home, global+site(domain, ""), 1)
	runCaddy(t, home, global+site(domain+", www."+domain, "")+site("rsa."+domain, "	tls {\n		key_type rsa2048\n	}\n"), 2)
	return filepath.Join(home, "caddy")
}

// runCaddy has it serve the sites until it has obtained so many certificates.
func runCaddy(t *testing.T, home, sites string, wanted int) {
	t.Helper()
	config := filepath.Join(home, "Caddyfile")
	writeFile(t, config, sites)
	command := exec.CommandContext(within(t), lookUp(t, "caddy"), "run", "--config", config, "--adapter", "caddyfile")
	command.Env = append(os.Environ(), "XDG_DATA_HOME="+home, "XDG_CONFIG_HOME="+home)
	output, err := command.StderrPipe()
	if err == nil {
		err = command.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	obtained := 0
	for lines := bufio.NewScanner(output); lines.Scan(); {
		t.Log(lines.Text())
		if strings.Contains(lines.Text(), "certificate obtained successfully") {
			if obtained++; obtained == wanted {
				_ = command.Process.Signal(syscall.SIGTERM)
			}
		}
	}
	if err := command.Wait(); err != nil || obtained < wanted {
		t.Fatalf("caddy has obtained %d certificates: %v", obtained, err)
	}
}
