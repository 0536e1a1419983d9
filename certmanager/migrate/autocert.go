package migrate

import (
	"cmp"
	"context"
	"strings"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager/internal/record"
)

// Autocert moves what golang.org/x/crypto/acme/autocert has in the folder of its DirCache. Its files name no CA: the account is
// one with that of [Migration.Directory], or Let's Encrypt, autocert's own choice.
func (g *Migration) Autocert(ctx context.Context, folder string) (*Report, error) {
	return g.inFolder(ctx, folder, func(ctx context.Context, r *run) error {
		entries, err := r.folder.entries(".")
		if err != nil {
			return err
		}
		for _, entry := range entries {
			name := entry.Name()
			switch {
			case entry.IsDir(), strings.HasSuffix(name, "+token"), strings.HasSuffix(name, "+http-01"):
			case name == "acme_account+key", name == "acme_account.key":
				err = r.autocertAccount(name)
			default:
				read, readErr := r.folder.read(name)
				err = r.found(ctx, certificate{source: name, chain: read.data, key: read.data, isPublic: read.isPublic, err: readErr})
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// autocertAccount reads the account, of which there is the key alone.
func (r *run) autocertAccount(name string) error {
	a := account{source: name, ca: cmp.Or(r.Directory, acme.LetsEncrypt)}
	read, err := r.folder.read(name)
	if a.err = err; err == nil {
		a.changed = read.changed
		a.key, a.err = record.ParseKeyPEM(read.data)
	}
	return r.foundAccount(a)
}
