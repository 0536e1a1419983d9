package peers

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	pebbleacme "github.com/letsencrypt/pebble/v2/acme"
	"github.com/letsencrypt/pebble/v2/core"

	"github.com/everseal/everseal/certmanager/migrate"
)

// What tools that are not installed have made is kept, in a folder each; see the README there.
const (
	keptFolder  = "testdata/moving"
	keptAddress = "127.0.0.1:14000" // of the CA that issued it
)

// A keptTool is one whose folder is kept.
type keptTool struct {
	tool
	source string // in its folder
}

func keptTools() []keptTool {
	return []keptTool{
		{tool{"acmesh", true, acmeSh, (*migrate.Migration).ACMESh, 3, 0}, "."},
		{tool{"lego5", true, lego5, (*migrate.Migration).Lego, 3, 0}, "."},
		{tool{"traefik", true, traefik, (*migrate.Migration).Traefik, 3, 1}, "acme.json"},
	}
}

// A keptAccount is what a CA knows of an account.
type keptAccount struct {
	Domain string          `json:"domain"` // of the tool
	ID     string          `json:"id"`
	Key    json.RawMessage `json:"key"` // public, a JWK
}

// TestMovingKept is TestMoving with what is kept, at a CA that knows the tools' accounts.
func TestMovingKept(t *testing.T) {
	w := startWorkplace(t, pebbleSettings{})
	var known []keptAccount
	if err := json.Unmarshal(readFile(t, "accounts.json"), &known); err != nil {
		t.Fatal(err)
	}
	var ids []string // of accounts, each before and now
	for _, account := range known {
		ids = append(ids, account.ID, w.know(t, account))
	}
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig: w.client().Transport.(*http.Transport).TLSClientConfig,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, w.front.Listener.Addr().String())
		},
	}}
	t.Cleanup(client.CloseIdleConnections)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(readFile(t, "root.pem"))
	for _, tool := range keptTools() {
		t.Run(tool.name, func(t *testing.T) {
			folder := t.TempDir()
			copyFolder(t, folder, filepath.Join(keptFolder, tool.name), strings.NewReplacer(asterisk, "*"), strings.NewReplacer(ids...))
			source := filepath.Join(folder, tool.source)
			issued := parseAll(t, readFile(t, tool.name+".pem"))
			if len(issued) != tool.certificates {
				t.Fatalf("there are %d certificates, want %d", len(issued), tool.certificates)
			}
			move(t, moving{w, tool.tool, source, "https://" + keptAddress + "/dir", client, roots, issued})
		})
	}
	if n := w.accounts(); n != 0 {
		t.Errorf("the CA has %d accounts more", n)
	}
}

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(keptFolder, name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func parseAll(t *testing.T, text []byte) (all []*x509.Certificate) {
	t.Helper()
	for _, der := range decodeChain(text) {
		certificate, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, certificate)
	}
	return all
}

// know has the CA know an account that it has not made, and returns the id that it has there.
func (p *pebble) know(t *testing.T, account keptAccount) string {
	t.Helper()
	known := &core.Account{Account: pebbleacme.Account{Status: pebbleacme.StatusValid}}
	err := json.Unmarshal(account.Key, &known.Key)
	if err == nil {
		_, err = p.database.AddAccount(known)
	}
	if err != nil {
		t.Fatal(err)
	}
	return known.ID
}

// makingVariable is set to have TestMaking make what is kept anew.
const makingVariable = "EVERSEAL_PEERS_MAKING"

// TestMaking makes what is kept, with the tools, which must be installed.
func TestMaking(t *testing.T) {
	if os.Getenv(makingVariable) == "" {
		t.Skipf("set %s to make %s anew", makingVariable, keptFolder)
	}
	listener, err := net.Listen("tcp", keptAddress)
	if err != nil {
		t.Fatal(err)
	}
	const years = 365 * 24 * time.Hour
	w := startWorkplace(t, pebbleSettings{listener: listener, lifetime: 29 * years, reuse: 99}) // the CA itself has 30
	writeKept(t, "root.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.chains.GetRootCert(0).DER}))
	var accounts []keptAccount
	for _, tool := range keptTools() {
		domain := tool.name + ".example.test"
		source := tool.obtain(t, w, domain)
		kept := filepath.Join(keptFolder, tool.name)
		if err := os.RemoveAll(kept); err != nil {
			t.Fatal(err)
		}
		copyFolder(t, kept, source, strings.NewReplacer("*", asterisk), new(strings.Replacer))
		var issued bytes.Buffer
		for _, certificate := range w.latest(domain) {
			_ = pem.Encode(&issued, &pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})
		}
		writeKept(t, tool.name+".pem", issued.Bytes())
		for _, id := range w.accountsOf(domain) {
			key, err := json.Marshal(w.database.GetAccountByID(id).Key)
			if err != nil {
				t.Fatal(err)
			}
			accounts = append(accounts, keptAccount{domain, id, key})
		}
	}
	encoded, err := json.MarshalIndent(accounts, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	writeKept(t, "accounts.json", append(encoded, '\n'))
}

// asterisk stands for "*" in the names of what is kept: that is in no file's name on Windows.
const asterisk = "%2A"

// copyFolder copies files, for this user alone, with changes of their names and contents.
func copyFolder(t *testing.T, to, from string, names, contents *strings.Replacer) {
	t.Helper()
	files := os.DirFS(from)
	err := fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		target := filepath.Join(to, filepath.FromSlash(names.Replace(name)))
		if err != nil || entry.IsDir() {
			return errors.Join(err, os.MkdirAll(target, 0o700))
		}
		data, err := fs.ReadFile(files, name)
		return errors.Join(err, os.WriteFile(target, []byte(contents.Replace(string(data))), 0o600))
	})
	if err != nil {
		t.Fatal(err)
	}
}

func writeKept(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(keptFolder, name), data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// acmeSh is github.com/acmesh-official/acme.sh.
func acmeSh(t *testing.T, w *workplace, domain string) string {
	program, folder := lookUp(t, "acme.sh"), t.TempDir()
	plugins := filepath.Join(folder, "dnsapi")
	if err := os.Mkdir(plugins, 0o700); err != nil {
		t.Fatal(err)
	}
	plugin := ""
	for action, path := range map[string]string{"add": "present", "rm": "cleanup"} {
		plugin += fmt.Sprintf("dns_records_%s() {\n\tcurl --silent --fail --data \"{\\\"fqdn\\\": \\\"$1\\\", \\\"value\\\": \\\"$2\\\"}\" %s/%s\n}\n", action, w.records, path)
	}
	writeFile(t, filepath.Join(plugins, "dns_records.sh"), plugin)
	webroot := w.webroot(t, domain)
	for _, arguments := range [][]string{
		{"-d", domain, "-d", "www." + domain, "-w", webroot, "--reloadcmd", "echo 'it is reloaded'"},
		{"-d", "rsa." + domain, "-w", webroot, "--keylength", "2048"},
		{"-d", "*.wild." + domain, "-d", "wild." + domain, "--dns", "dns_records", "--dnssleep", "0"},
	} {
		run(t, []string{"PATH=/usr/bin:/bin"}, program, append([]string{"--issue", "--home", folder, "--server", w.directory, "--ca-bundle", w.root, "--accountemail", "admin@" + domain}, arguments...)...)
	}
	for _, own := range []string{plugins, filepath.Join(folder, "http.header")} {
		if err := os.RemoveAll(own); err != nil {
			t.Fatal(err)
		}
	}
	rename(t, folder, webroot, "/var/www/html")
	rename(t, folder, w.root, "/etc/ssl/certs/ca.pem")
	rename(t, folder, folder, "/root/.acme.sh")
	return folder
}

// rename has the files in the folder name another path.
func rename(t *testing.T, folder, from, to string) {
	t.Helper()
	for name := range contents(t, folder) {
		data, err := os.ReadFile(name)
		if err == nil && bytes.Contains(data, []byte(from)) {
			err = os.WriteFile(name, bytes.ReplaceAll(data, []byte(from), []byte(to)), 0o600)
		}
		if err != nil && !strings.Contains(err.Error(), "is a directory") {
			t.Fatal(err)
		}
	}
}

// traefik is a program around package pkg/provider/acme of Traefik.
func traefik(t *testing.T, w *workplace, domain string) string {
	program, folder, web := lookUp(t, "traefik-acme"), t.TempDir(), freeAddress(t)
	w.proxy(domain, web)
	run(t, []string{"LEGO_CA_CERTIFICATES=" + w.root, "LEGO_DISABLE_CNAME_SUPPORT=true", "HTTPREQ_ENDPOINT=" + w.records},
		program, filepath.Join(folder, "acme.json"), w.directory, "admin@"+domain, web)
	return folder
}
