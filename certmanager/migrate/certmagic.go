package migrate

import (
	"context"
	"encoding/json"
	"errors"
	"path"
	"strings"

	"github.com/everseal/everseal/certmanager/internal/record"
)

// CertMagic moves what CertMagic, and so Caddy, has in the folder of its FileStorage, usually ~/.local/share/caddy or
// /var/lib/caddy/.local/share/caddy, or the same with certmagic.
func (g *Migration) CertMagic(ctx context.Context, folder string) (*Report, error) {
	return g.inFolder(ctx, folder, func(ctx context.Context, r *run) error {
		issuers, err := r.folder.entries("certificates")
		if err != nil {
			return err
		}
		for _, issuer := range issuers {
			if err := r.certmagicIssuer(ctx, path.Join("certificates", issuer.Name())); err != nil {
				return err
			}
		}
		return r.certmagicAccounts()
	})
}

// certmagicIssuer takes the certificates of one issuer: each is in a folder of its own.
func (r *run) certmagicIssuer(ctx context.Context, at string) error {
	entries, err := r.folder.entries(at)
	if err != nil {
		r.leave(Item{Kind: KindCertificate, Source: at}, err)
		return nil
	}
	for _, entry := range entries {
		if !r.folder.isFolder(at, entry) {
			continue
		}
		if err := r.found(ctx, r.certmagicCertificate(path.Join(at, entry.Name()), entry.Name())); err != nil {
			return err
		}
	}
	return nil
}

// certmagicCertificate reads the certificate in a folder.
func (r *run) certmagicCertificate(at, name string) certificate {
	c := r.pair(path.Join(at, name+".crt"), path.Join(at, name+".key"))
	c.source = at
	meta, err := r.folder.readIf(path.Join(at, name+".json"))
	c.err = errors.Join(c.err, err)
	var known struct {
		Data struct {
			CA      string `json:"ca"`
			Account string `json:"account"`
		} `json:"issuer_data"`
	}
	if json.Unmarshal(meta.data, &known) == nil { // other issuers have other data
		c.ca, c.account = known.Data.CA, known.Data.Account
	}
	return c
}

// certmagicAccounts finds the accounts: a folder for each CA, and below it one for each account, with a key and a JSON file of the
// same name.
func (r *run) certmagicAccounts() error {
	issuers, err := r.folder.entries("acme")
	if err != nil {
		return r.foundAccount(account{source: "acme", err: err})
	}
	for _, issuer := range issuers {
		users := path.Join("acme", issuer.Name(), "users")
		accounts, err := r.folder.entries(users)
		if err != nil {
			err = r.foundAccount(account{source: users, err: err})
		}
		for _, entry := range accounts {
			if err == nil && r.folder.isFolder(users, entry) {
				err = r.certmagicAccount(path.Join(users, entry.Name()))
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// certmagicAccount reads the account in a folder.
func (r *run) certmagicAccount(at string) error {
	entries, err := r.folder.entries(at)
	if err != nil {
		return r.foundAccount(account{source: at, err: err})
	}
	for _, entry := range entries {
		name, isKey := strings.CutSuffix(entry.Name(), ".key")
		if !isKey {
			continue
		}
		a := account{source: at}
		key, err := r.folder.read(path.Join(at, entry.Name()))
		stored, storedErr := r.folder.readIf(path.Join(at, name+".json"))
		if a.err = errors.Join(err, storedErr); a.err == nil {
			a.changed = key.changed
			a.key, a.err = record.ParseKeyPEM(key.data)
		}
		var known struct{ Location, Status string }
		if a.err == nil && len(stored.data) > 0 && json.Unmarshal(stored.data, &known) != nil {
			a.err = errors.New("its registration is no JSON, or a member of it has the wrong type")
		}
		a.url, a.name, a.status = known.Location, known.Location, known.Status
		if err := r.foundAccount(a); err != nil {
			return err
		}
	}
	return nil
}
