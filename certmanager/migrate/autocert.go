package migrate

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager/internal/record"
)

// Autocert moves what golang.org/x/crypto/acme/autocert has in the folder of its DirCache. Its files name no CA: the account is
// one with that of [Migration.Directory]. If that is not set, it is one with Let's Encrypt, autocert's own choice, or with
// its staging environment, by the certificates in the folder, and is left if all of them are of another CA.
func (g *Migration) Autocert(ctx context.Context, folder string) (*Report, error) {
	return g.inFolder(ctx, folder, func(ctx context.Context, r *run) error {
		entries, err := r.folder.entries(".")
		if err != nil {
			return err
		}
		var accounts []string
		for _, entry := range entries {
			name := entry.Name()
			switch {
			case entry.IsDir(), strings.HasSuffix(name, "+token"), strings.HasSuffix(name, "+http-01"):
			case name == "acme_account+key", name == "acme_account.key":
				accounts = append(accounts, name)
			default:
				read, readErr := r.folder.read(name)
				err = r.found(ctx, certificate{source: name, chain: read.data, key: read.data, isPublic: read.isPublic, err: readErr})
			}
			if err != nil {
				return err
			}
		}
		for _, name := range accounts {
			if err := r.autocertAccount(name); err != nil {
				return err
			}
		}
		return nil
	})
}

// autocertAccount reads the account, of which there is the key alone, once the certificates were found.
func (r *run) autocertAccount(name string) error {
	a := account{source: name, ca: cmp.Or(r.Directory, r.autocertCA())}
	read, err := r.folder.read(name)
	if a.err = err; err == nil {
		a.changed = read.changed
		a.key, a.err = record.ParseKeyPEM(read.data)
	}
	return r.foundAccount(a)
}

// autocertCA returns the URL of the directory of the CA that has signed the certificates that were found; empty: it is not known.
func (r *run) autocertCA() string {
	signed := make(map[string]bool)
	for _, item := range slices.Concat(r.report.Taken, r.report.Left) {
		if item.Serial != "" {
			signed[item.CA] = true
		}
	}
	switch {
	case signed[acme.LetsEncrypt], len(signed) == 0:
		return acme.LetsEncrypt
	case signed[acme.LetsEncryptStaging]:
		return acme.LetsEncryptStaging
	}
	return ""
}
