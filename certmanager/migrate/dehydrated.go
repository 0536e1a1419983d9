package migrate

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"path"
	"strings"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager/internal/record"
)

// Dehydrated moves what dehydrated has in its base folder, such as /var/lib/dehydrated, which has the folders certs and accounts.
// Its files do not name the CA of a certificate: that is [Migration.Directory], or the CA of its file "config", if that is in
// this folder, or the one CA with which there are accounts. The configuration is a script, of which plain assignments
// are read and none is run.
func (g *Migration) Dehydrated(ctx context.Context, folder string) (*Report, error) {
	return g.inFolder(ctx, folder, func(ctx context.Context, r *run) error {
		directories, err := r.dehydratedAccounts()
		if err != nil {
			return err
		}
		ca, err := r.dehydratedCA(directories)
		if err != nil {
			return err
		}
		entries, err := r.folder.entries("certs")
		if err != nil {
			return err
		}
		for _, entry := range entries {
			if !r.folder.isFolder("certs", entry) {
				continue
			}
			at := path.Join("certs", entry.Name())
			c := r.pair(path.Join(at, "fullchain.pem"), path.Join(at, "privkey.pem"))
			c.source, c.ca = at, ca
			if err := r.found(ctx, c); err != nil {
				return err
			}
		}
		return nil
	})
}

// dehydratedCA returns the URL of the directory that certificates are from; empty: there is no telling.
func (r *run) dehydratedCA(directories []string) (string, error) {
	if r.Directory != "" {
		return r.Directory, nil
	}
	config, err := r.folder.readIf("config")
	if err != nil {
		r.leave(Item{Kind: KindAccount, Source: "config"}, err)
	}
	ca := parseAssignments(config.data)["CA"]
	switch {
	case strings.Contains(ca, "://"):
		return ca, nil
	case ca == "letsencrypt":
		return acme.LetsEncrypt, nil
	case ca == "letsencrypt-test":
		return acme.LetsEncryptStaging, nil
	case ca == "zerossl":
		return acme.ZeroSSL, nil
	case ca == "google":
		return acme.GoogleTrustServices, nil
	case ca == "google-test":
		return acme.GoogleTrustServicesStaging, nil
	case ca == "" && len(directories) == 1:
		return directories[0], nil
	}
	return "", nil
}

// dehydratedAccounts finds the accounts: a folder for each CA, named after the URL of its directory in base64. It returns these
// URLs.
func (r *run) dehydratedAccounts() (directories []string, err error) {
	entries, err := r.folder.entries("accounts")
	if err != nil {
		return nil, r.foundAccount(account{source: "accounts", err: err})
	}
	for _, entry := range entries {
		if !r.folder.isFolder("accounts", entry) {
			continue
		}
		a := account{source: path.Join("accounts", entry.Name())}
		directory, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(entry.Name(), "="))
		if a.ca = strings.TrimSpace(string(directory)); err != nil || !strings.Contains(a.ca, "://") {
			a.ca, a.err = "", errors.New("the folder's name is not the URL of a CA's directory, in base64")
		} else {
			r.dehydratedAccount(&a)
			directories = append(directories, a.ca)
		}
		if err := r.foundAccount(a); err != nil {
			return nil, err
		}
	}
	return directories, nil
}

// dehydratedAccount reads an account.
func (r *run) dehydratedAccount(a *account) {
	key, err := r.folder.read(path.Join(a.source, "account_key.pem"))
	registration, registrationErr := r.folder.readIf(path.Join(a.source, "registration_info.json"))
	id, idErr := r.folder.readIf(path.Join(a.source, "account_id.json"))
	if a.err = errors.Join(err, registrationErr, idErr); a.err != nil {
		return
	}
	a.changed = key.changed
	var known struct{ URL, Status string }
	for _, text := range [][]byte{registration.data, id.data} {
		if len(text) > 0 && json.Unmarshal(text, &known) != nil {
			a.err = errors.New("its registration is no JSON, or a member of it has the wrong type")
			return
		}
	}
	a.url, a.status = known.URL, known.Status
	if r.folder.has(path.Join(a.source, "deactivated")) {
		a.status = "deactivated"
	}
	a.key, a.err = record.ParseKeyPEM(key.data)
}
