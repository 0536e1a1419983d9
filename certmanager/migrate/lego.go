package migrate

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"path"
	"strings"

	"github.com/everseal/everseal/certmanager/internal/record"
)

// Lego moves what lego, of version 4 or 5, has in its folder, usually .lego.
func (g *Migration) Lego(ctx context.Context, folder string) (*Report, error) {
	return g.inFolder(ctx, folder, func(ctx context.Context, r *run) error {
		entries, err := r.folder.entries("certificates")
		if err != nil {
			return err
		}
		for _, entry := range entries {
			name, isCertificate := strings.CutSuffix(entry.Name(), ".crt")
			if !isCertificate || strings.HasSuffix(name, ".issuer") {
				continue
			}
			if err := r.found(ctx, r.legoCertificate(path.Join("certificates", name))); err != nil {
				return err
			}
		}
		return r.legoAccounts()
	})
}

// legoCertificate reads the certificate whose files have the name in front.
func (r *run) legoCertificate(name string) certificate {
	c := r.pair(name+".crt", name+".key")
	issuer, err := r.folder.readIf(name + ".issuer.crt")
	c.chain = joinPEM(c.chain, issuer.data)
	resource, resourceErr := r.folder.readIf(name + ".json")
	c.err = errors.Join(c.err, err, resourceErr)
	var known struct {
		URL string `json:"certUrl"`
	}
	if json.Unmarshal(resource.data, &known) == nil && known.URL != "" {
		c.ca = hostOf(known.URL)
	}
	return c
}

// legoAccounts finds the accounts: a folder for each CA, and in it one for each account.
func (r *run) legoAccounts() error {
	hosts, err := r.folder.entries("accounts")
	if err != nil {
		return r.foundAccount(account{source: "accounts", err: err})
	}
	for _, host := range hosts {
		at := path.Join("accounts", host.Name())
		accounts, err := r.folder.entries(at)
		if err != nil {
			err = r.foundAccount(account{source: at, err: err})
		}
		for _, entry := range accounts {
			if err == nil && r.folder.isFolder(at, entry) {
				err = r.foundAccount(r.legoAccount(at, entry.Name()))
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// legoAccount reads an account. Version 4 has the key one folder below.
func (r *run) legoAccount(at, id string) account {
	a := account{source: path.Join(at, id), ca: strings.ReplaceAll(path.Base(at), "_", ":")}
	stored, err := r.folder.readIf(path.Join(a.source, "account.json"))
	keyPath := path.Join(a.source, id+".key")
	if !r.folder.has(keyPath) {
		keyPath = path.Join(a.source, "keys", id+".key")
	}
	key, keyErr := r.folder.read(keyPath)
	if a.err = errors.Join(err, keyErr); a.err != nil {
		return a
	}
	a.changed = key.changed
	var known struct {
		Server       string `json:"server"`
		Registration struct {
			Status string `json:"status"`
			URL    string `json:"accountURL"`
		} `json:"registration"`
	}
	if len(stored.data) > 0 && json.Unmarshal(stored.data, &known) != nil {
		a.err = errors.New("account.json is no JSON, or a member of it has the wrong type")
		return a
	}
	a.ca, a.url, a.status = cmp.Or(known.Server, a.ca), known.Registration.URL, known.Registration.Status
	if a.url == "" {
		var former struct {
			Registration json.RawMessage `json:"registration"`
		}
		if json.Unmarshal(stored.data, &former) == nil {
			a.url, a.status, a.err = parseRegistration(former.Registration)
		}
	}
	if a.err == nil {
		a.key, a.err = record.ParseKeyPEM(key.data)
	}
	return a
}
