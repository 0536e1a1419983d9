package migrate

import (
	"context"
	"errors"
	"io/fs"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/everseal/everseal/certmanager/internal/record"
)

// ACMESh moves what acme.sh has in its folder, usually ~/.acme.sh. Its configuration files are scripts, of which plain
// assignments are read and none is run.
func (g *Migration) ACMESh(ctx context.Context, folder string) (*Report, error) {
	return g.inFolder(ctx, folder, func(ctx context.Context, r *run) error {
		entries, err := r.folder.entries(".")
		if err != nil {
			return err
		}
		for _, entry := range entries {
			domain := strings.TrimSuffix(entry.Name(), "_ecc")
			if !r.folder.isFolder(".", entry) || !r.folder.has(path.Join(entry.Name(), domain+".conf")) && !r.folder.has(path.Join(entry.Name(), domain+".cer")) {
				continue
			}
			if err := r.found(ctx, r.acmeshCertificate(entry.Name(), domain)); err != nil {
				return err
			}
		}
		return r.accountsBelow(ctx, "ca", "account.key", r.acmeshAccount)
	})
}

// acmeshCertificate reads the certificate in a folder.
func (r *run) acmeshCertificate(folder, domain string) certificate {
	conf, err := r.folder.readIf(path.Join(folder, domain+".conf"))
	chain := path.Join(folder, "fullchain.cer")
	if !r.folder.has(chain) {
		chain = path.Join(folder, domain+".cer")
	}
	c := r.pair(chain, path.Join(folder, domain+".key"))
	above, aboveErr := r.folder.readIf(path.Join(folder, "ca.cer"))
	c.source, c.chain, c.err = folder, joinPEM(c.chain, above.data), errors.Join(err, c.err, aboveErr)
	c.ca = parseAssignments(conf.data)["Le_API"]
	return c
}

// acmeshAccount reads an account. Those that were deactivated are in a folder of that name.
func (r *run) acmeshAccount(folder string) account {
	server := strings.TrimPrefix(folder, "ca/")
	a := account{source: folder, ca: "https://" + server}
	if slices.Contains(strings.Split(server, "/"), "deactivated") {
		a.status = "deactivated"
	}
	key, err := r.folder.read(path.Join(folder, "account.key"))
	conf, confErr := r.folder.readIf(path.Join(folder, "ca.conf"))
	if a.err = errors.Join(err, confErr); a.err == nil {
		a.changed, a.url = key.changed, parseAssignments(conf.data)["ACCOUNT_URL"]
		a.key, a.err = record.ParseKeyPEM(key.data)
		a.ca = withPort(a.ca, a.url)
	}
	return a
}

// withPort returns the URL with the port of the other one, if both are of one host: the folder's name lacks it.
func withPort(without, with string) string {
	a, err := url.Parse(without)
	b, otherErr := url.Parse(with)
	if err != nil || otherErr != nil || b.Port() == "" || a.Host != b.Hostname() {
		return without
	}
	a.Host = b.Host
	return a.String()
}

// pair reads a certificate and its key.
func (r *run) pair(chain, key string) certificate {
	text, err := r.folder.read(chain)
	secret, keyErr := r.folder.read(key)
	if errors.Is(keyErr, fs.ErrNotExist) {
		keyErr = errors.New("its private key is missing: " + keyErr.Error())
	}
	return certificate{source: chain, chain: text.data, key: secret.data, isPublic: secret.isPublic, err: errors.Join(err, keyErr)}
}

// joinPEM returns both texts in one.
func joinPEM(a, b []byte) []byte { return slices.Concat(a, []byte("\n"), b) }
