package migrate_test

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"path"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// toJSON returns the value as JSON.
func toJSON(t testing.TB, v any) []byte {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// certbot writes what certbot would have: with links in live/.
func (w *world) certbot(folder string, all []pair) {
	id := hex.EncodeToString(sha256.New().Sum(nil)[:16])
	for _, p := range all {
		name := strings.TrimPrefix(p.names[0], "*.")
		for kind, text := range map[string][]byte{"cert": p.leafPEM(), "chain": p.abovePEM(), "fullchain": p.chain, "privkey": pkcs8(w.t, p.key)} {
			write(w.t, folder, fmt.Sprintf("archive/%s/%s3.pem", name, kind), text)
			link(w.t, folder, fmt.Sprintf("live/%s/%s.pem", name, kind), fmt.Sprintf("../../archive/%s/%s3.pem", name, kind))
		}
		write(w.t, folder, "renewal/"+name+".conf", fmt.Appendf(nil, "# renew_before_expiry = 30 days\nversion = 2.1.0\narchive_dir = /etc/letsencrypt/archive/%s\n\n# Options used in the renewal process\n[renewalparams]\naccount = %s\nauthenticator = webroot\nserver = %s\nkey_type = ecdsa\n[[webroot_map]]\n%s = /var/www\nserver = https://wrong.example\n", name, id, w.ca.URL, name))
	}
	write(w.t, folder, "live/README", []byte("This directory contains your keys and certificates.\n"))
	u, err := url.Parse(w.ca.URL)
	if err != nil {
		w.t.Fatal(err)
	}
	at := path.Join("accounts", u.Host, u.Path, id)
	write(w.t, folder, at+"/private_key.json", toJSON(w.t, jose.JSONWebKey{Key: w.accountKey}))
	write(w.t, folder, at+"/regr.json", toJSON(w.t, map[string]any{"body": map[string]any{}, "uri": w.account.AccountURL}))
	write(w.t, folder, at+"/meta.json", []byte(`{"creation_dt": "2026-01-01T00:00:00Z", "creation_host": "host", "register_to_eff": null}`))
}

// host returns that of the CA, as lego has it in paths.
func (w *world) host() string {
	u, err := url.Parse(w.ca.URL)
	if err != nil {
		w.t.Fatal(err)
	}
	return strings.ReplaceAll(u.Host, ":", "_")
}

// legoCertificates writes the certificates of lego, of either version.
func (w *world) legoCertificates(folder string, all []pair, key func(testing.TB, any) []byte) {
	for _, p := range all {
		name := "certificates/" + strings.ReplaceAll(p.names[0], "*", "_")
		write(w.t, folder, name+".crt", p.chain)
		write(w.t, folder, name+".issuer.crt", p.abovePEM())
		write(w.t, folder, name+".key", key(w.t, p.key))
		write(w.t, folder, name+".json", toJSON(w.t, map[string]any{"domain": p.names[0], "certUrl": strings.Replace(w.account.AccountURL, "/account/", "/certificate/", 1)}))
	}
}

func (w *world) legoV4(folder string, all []pair) {
	w.legoCertificates(folder, all, func(t testing.TB, key any) []byte { return oldKey(t, key.(signer)) })
	at := "accounts/" + w.host() + "/foo@example.com/"
	write(w.t, folder, at+"keys/foo@example.com.key", oldKey(w.t, w.accountKey))
	write(w.t, folder, at+"account.json", toJSON(w.t, map[string]any{"email": "foo@example.com", "registration": map[string]any{"body": map[string]any{"status": "valid"}, "uri": w.account.AccountURL}}))
}

func (w *world) legoV5(folder string, all []pair) {
	w.legoCertificates(folder, all, func(t testing.TB, key any) []byte { return pkcs8(t, key.(signer)) })
	at := "accounts/" + w.host() + "/foo@example.com/"
	write(w.t, folder, at+"foo@example.com.key", pkcs8(w.t, w.accountKey))
	write(w.t, folder, at+"account.json", toJSON(w.t, map[string]any{
		"id": "foo@example.com", "email": "foo@example.com", "keyType": "EC256", "server": w.ca.URL,
		"registration": map[string]any{"status": "valid", "accountURL": w.account.AccountURL},
	}))
}

// acmesh writes what acme.sh would have: of the second certificate on with keys of ECDSA in their folder's name.
func (w *world) acmesh(folder string, all []pair) {
	for i, p := range all {
		at := p.names[0]
		if i > 0 {
			at += "_ecc"
		}
		write(w.t, folder, at+"/"+p.names[0]+".cer", p.leafPEM())
		write(w.t, folder, at+"/"+p.names[0]+".key", oldKey(w.t, p.key))
		write(w.t, folder, at+"/ca.cer", p.abovePEM())
		write(w.t, folder, at+"/fullchain.cer", p.chain)
		reload := base64.StdEncoding.EncodeToString([]byte("systemctl reload nginx"))
		write(w.t, folder, at+"/"+p.names[0]+".conf", fmt.Appendf(nil, "Le_Domain='%s'\nLe_Alt='no'\nLe_Webroot='dns_cf'\nLe_ReloadCmd='__ACME_BASE64__START_%s__ACME_BASE64__END_'\nLe_API='%s'\nLe_Keylength='ec-256'\n", p.names[0], reload, w.ca.URL))
	}
	write(w.t, folder, "account.conf", []byte("LOG_FILE='/dev/null'\nSAVED_CF_Key='secret'\n"))
	write(w.t, folder, "acme.sh", []byte("#!/usr/bin/env sh\nexit 1\n"))
	write(w.t, folder, "dnsapi/dns_cf.sh", []byte("#!/usr/bin/env sh\n"))
	u, err := url.Parse(w.ca.URL)
	if err != nil {
		w.t.Fatal(err)
	}
	at := path.Join("ca", u.Host, u.Path)
	write(w.t, folder, at+"/account.key", oldKey(w.t, w.accountKey))
	write(w.t, folder, at+"/account.json", []byte(`{"status": "valid"}`))
	write(w.t, folder, at+"/ca.conf", fmt.Appendf(nil, "CA_EMAIL='foo@example.com'\nACCOUNT_URL='%s'\nCA_KEY_HASH='abc='\n", w.account.AccountURL))
}

// dehydrated writes what dehydrated would have: links with a time in the target.
func (w *world) dehydrated(folder string, all []pair) {
	for _, p := range all {
		at := "certs/" + strings.TrimPrefix(p.names[0], "*.")
		for kind, text := range map[string][]byte{"cert": p.leafPEM(), "chain": p.abovePEM(), "fullchain": p.chain, "privkey": oldKey(w.t, p.key)} {
			write(w.t, folder, fmt.Sprintf("%s/%s-1700000000.pem", at, kind), text)
			link(w.t, folder, fmt.Sprintf("%s/%s.pem", at, kind), kind+"-1700000000.pem")
		}
	}
	at := "accounts/" + base64.RawURLEncoding.EncodeToString([]byte(w.ca.URL+"\n"))
	write(w.t, folder, at+"/account_key.pem", oldKey(w.t, w.accountKey))
	write(w.t, folder, at+"/registration_info.json", []byte(`{"key": {"kty": "EC"}, "contact": [], "status": "valid"}`))
	write(w.t, folder, at+"/account_id.json", toJSON(w.t, map[string]any{"url": w.account.AccountURL}))
	write(w.t, folder, "domains.txt", []byte("example.com\n"))
}

// certmagic writes what CertMagic and Caddy would have.
func (w *world) certmagic(folder string, all []pair) {
	u, err := url.Parse(w.ca.URL)
	if err != nil {
		w.t.Fatal(err)
	}
	issuer := strings.NewReplacer(":", "-", "/", "-").Replace(u.Host + u.Path)
	for _, p := range all {
		name := strings.ReplaceAll(p.names[0], "*", "wildcard_")
		at := "certificates/" + issuer + "/" + name + "/" + name
		write(w.t, folder, at+".crt", p.chain)
		write(w.t, folder, at+".key", oldKey(w.t, p.key))
		write(w.t, folder, at+".json", toJSON(w.t, map[string]any{"sans": p.names, "issuer_data": map[string]any{"url": w.ca.URL + "/certificate/1", "ca": w.ca.URL, "account": w.account.AccountURL}}))
	}
	at := "acme/" + issuer + "/users/foo@example.com/foo"
	write(w.t, folder, at+".key", oldKey(w.t, w.accountKey))
	write(w.t, folder, at+".json", toJSON(w.t, map[string]any{"status": "valid", "contact": []string{"mailto:foo@example.com"}, "location": w.account.AccountURL}))
	write(w.t, folder, "locks/some.lock", nil)
	write(w.t, folder, "ocsp/example.com-abc", []byte{0})
}

// autocert writes what autocert would have.
func (w *world) autocert(folder string, all []pair) {
	for i, p := range all {
		name := p.names[0]
		if i == 1 {
			name += "+rsa"
		}
		write(w.t, folder, name, oldKey(w.t, p.key), p.chain)
	}
	write(w.t, folder, "acme_account+key", oldKey(w.t, w.accountKey))
	write(w.t, folder, "example.com+token", []byte("token"))
	write(w.t, folder, "token+http-01", []byte("token"))
}

// traefik writes acme.json, with a resolver that has nothing before that which has all.
func (w *world) traefik(folder string, all []pair) {
	var certificates []map[string]any
	for _, p := range all {
		certificates = append(certificates, map[string]any{
			"domain": map[string]any{"main": p.names[0], "sans": p.names[1:]}, "certificate": p.chain, "key": oldKey(w.t, p.key), "Store": "default",
		})
	}
	account, err := x509.MarshalPKCS8PrivateKey(w.accountKey)
	if err != nil {
		w.t.Fatal(err)
	}
	text := fmt.Sprintf(`{"empty": {"Account": null, "Certificates": null}, "le": {"Account": %s, "Certificates": %s}}`, toJSON(w.t, map[string]any{
		"Email": "foo@example.com", "PrivateKey": account, "KeyType": "4096",
		"Registration": map[string]any{"body": map[string]any{"status": "valid"}, "uri": w.account.AccountURL},
	}), toJSON(w.t, certificates))
	write(w.t, folder, "acme.json", []byte(text))
}

// secrets writes what kubectl prints.
func (w *world) secrets(folder string, all []pair) {
	items := []any{map[string]any{"kind": "Secret", "type": "Opaque", "metadata": map[string]any{"name": "password", "namespace": "web"}, "data": map[string]any{"tls.crt": "c2VjcmV0"}}}
	for _, p := range all {
		items = append(items, map[string]any{
			"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": map[string]any{"name": p.names[0], "namespace": "web"},
			"data": map[string]any{"tls.crt": p.chain, "tls.key": pkcs8(w.t, p.key), "ca.crt": ""},
		})
	}
	write(w.t, folder, "secrets.json", toJSON(w.t, map[string]any{"apiVersion": "v1", "items": items, "kind": "List", "metadata": map[string]any{"resourceVersion": ""}}))
}

// pemFiles writes certificates and keys in several ways.
func (w *world) pemFiles(folder string, all []pair) {
	for i, p := range all {
		switch i {
		case 0:
			write(w.t, folder, "both.pem", pkcs8(w.t, p.key), p.chain)
		case 1:
			write(w.t, folder, "certs/leaf.crt", []byte("a remark\n"), p.leafPEM())
			write(w.t, folder, "private/leaf.key", oldKey(w.t, p.key))
		default:
			write(w.t, folder, "more/cert.pem", p.leafPEM())
			write(w.t, folder, "more/chain.pem", p.abovePEM())
			write(w.t, folder, "more/fullchain.pem", p.chain)
			write(w.t, folder, "more/privkey.pem", oldKey(w.t, p.key))
		}
	}
	write(w.t, folder, "readme.txt", []byte("what is here"))
}
