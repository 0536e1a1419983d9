package migrate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Certbot moves what certbot has in its configuration folder, usually /etc/letsencrypt. Of lineages whose links in live/ are
// lost, the newest files in archive/ are taken.
func (g *Migration) Certbot(ctx context.Context, folder string) (*Report, error) {
	return g.inFolder(ctx, folder, func(ctx context.Context, r *run) error {
		lineages, err := r.lineages()
		if err != nil {
			return err
		}
		for _, name := range lineages {
			if err := r.found(ctx, r.lineage(name)); err != nil {
				return err
			}
		}
		return r.accountsBelow(ctx, "accounts", "private_key.json", r.certbotAccount)
	})
}

// lineages returns the names of all that certbot renews, or has renewed.
func (r *run) lineages() ([]string, error) {
	var names []string
	for _, folder := range []string{"live", "archive", "renewal"} {
		entries, err := r.folder.entries(folder)
		if err != nil {
			return nil, err
		}
		for _, entry := range entries {
			name, isConf := strings.CutSuffix(entry.Name(), ".conf")
			if isConf == (folder == "renewal") && isConf != r.folder.isFolder(folder, entry) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// lineage reads a certificate of certbot's.
func (r *run) lineage(name string) certificate {
	c := certificate{source: path.Join("live", name)}
	conf, err := r.folder.readIf(path.Join("renewal", name+".conf"))
	if err != nil {
		c.err = err
		return c
	}
	parameters := parseINI(conf.data, "renewalparams")
	c.ca, c.account = parameters["server"], parameters["account"]
	chain, chainErr := r.folder.read(path.Join(c.source, "fullchain.pem"))
	key, keyErr := r.folder.read(path.Join(c.source, "privkey.pem"))
	if errors.Is(chainErr, fs.ErrNotExist) || errors.Is(keyErr, fs.ErrNotExist) {
		archive := path.Join("archive", name)
		if n := r.newestVersion(archive); n > 0 {
			c.source = path.Join(archive, fmt.Sprintf("fullchain%d.pem", n))
			chain, chainErr = r.folder.read(c.source)
			key, keyErr = r.folder.read(path.Join(archive, fmt.Sprintf("privkey%d.pem", n)))
		}
	}
	c.chain, c.key, c.isPublic, c.err = chain.data, key.data, key.isPublic, errors.Join(chainErr, keyErr)
	return c
}

// newestVersion returns the highest number that both chain and key of a lineage have in the archive; 0: there is none.
func (r *run) newestVersion(archive string) (newest int) {
	entries, err := r.folder.entries(archive)
	if err != nil {
		return 0
	}
	numbered := regexp.MustCompile(`^fullchain([1-9][0-9]{0,8})\.pem$`)
	for _, entry := range entries {
		match := numbered.FindStringSubmatch(entry.Name())
		if match == nil {
			continue
		}
		n, err := strconv.Atoi(match[1])
		if err == nil && n > newest && r.folder.has(path.Join(archive, fmt.Sprintf("privkey%d.pem", n))) {
			newest = n
		}
	}
	return newest
}

// certbotAccount reads an account of certbot's.
func (r *run) certbotAccount(folder string) account {
	server, name := path.Split(strings.TrimPrefix(folder, "accounts/"))
	a := account{source: folder, name: name, ca: "https://" + strings.TrimSuffix(server, "/")}
	key, err := r.folder.read(path.Join(folder, "private_key.json"))
	if err == nil {
		a.changed = key.changed
		a.key, err = parseJWK(key.data)
	}
	registration, readErr := r.folder.readIf(path.Join(folder, "regr.json"))
	if err = errors.Join(err, readErr); err == nil {
		a.url, a.status, err = parseRegistration(registration.data)
	}
	a.err = err
	return a
}

// parseRegistration reads what certbot, lego and Traefik keep of an account beside its key.
func parseRegistration(text []byte) (url, status string, err error) {
	var r struct {
		Body struct {
			Status string `json:"status"`
		} `json:"body"`
		URI string `json:"uri"`
	}
	if len(text) == 0 {
		return "", "", nil
	}
	if json.Unmarshal(text, &r) != nil {
		return "", "", errors.New("its registration is no JSON, or a member of it has the wrong type")
	}
	return r.URI, r.Body.Status, nil
}
