package migrate

import (
	"cmp"
	"context"
	"crypto"
	"errors"
	"fmt"
	"net/url"
	"path"
	"slices"
	"time"

	"github.com/everseal/everseal/certmanager"
)

// An account is one that was found.
type account struct {
	source  string
	name    string // how the source's certificates name it; empty: they do not
	key     crypto.Signer
	url     string
	ca      string // URL of the directory, or host; empty: that of the account's URL, or the source does not say
	status  string // RFC 8555 §7.1.2, as far as the source has it
	changed time.Time
	err     error // why it can't be read; nil: it could be
}

// maxAccounts bounds the accounts of a source.
const maxAccounts = 10_000

// walk counts a folder in which accounts are looked for: links may lead round in circles.
func (r *run) walk(ctx context.Context) error {
	if r.walked++; r.walked > maxAccounts {
		return fmt.Errorf("there are more than %d folders for accounts, or links among them that lead in circles", maxAccounts)
	}
	return ctx.Err()
}

// accountsBelow finds the accounts in the folders at and below one, where the path of each is the URL of the CA's directory:
// those that have a file with the key.
func (r *run) accountsBelow(ctx context.Context, folder, key string, read func(folder string) account) error {
	var look func(folder string, depth int) error
	look = func(folder string, depth int) error {
		if err := r.walk(ctx); err != nil {
			return err
		}
		entries, err := r.folder.entries(folder)
		if err != nil {
			return r.foundAccount(account{source: folder, err: err})
		}
		for _, entry := range entries {
			switch {
			case entry.Name() == key:
				err = r.foundAccount(read(folder))
			case depth < maxDepth && r.folder.isFolder(folder, entry):
				err = look(path.Join(folder, entry.Name()), depth+1)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	return look(folder, 0)
}

// foundAccount notes an account, for settleAccounts to take one of each CA. The error is one that ends the migration.
func (r *run) foundAccount(a account) error {
	if len(r.accounts) == maxAccounts {
		return fmt.Errorf("there are more than %d accounts", maxAccounts)
	}
	if a.ca == "" {
		a.ca = cmp.Or(hostOf(a.url), r.Directory)
	}
	switch {
	case a.err != nil:
	case a.status != "" && a.status != "valid":
		a.err = fmt.Errorf("its status is %q", printable(a.status))
	case a.key == nil:
		a.err = errors.New("there is no key for it")
	}
	r.accounts = append(r.accounts, a)
	return nil
}

// settleAccounts takes one account of each CA: that which the storage has already, or else the one that is used most.
func (r *run) settleAccounts(ctx context.Context) error {
	slices.SortStableFunc(r.accounts, func(a, b account) int {
		return cmp.Or(cmp.Compare(r.votes[b.name], r.votes[a.name]), b.changed.Compare(a.changed))
	})
	var issuers []string
	usable := make(map[string][]*account) // by issuer
	for i := range r.accounts {
		a := &r.accounts[i]
		issuer := r.issuerAt(a.ca)
		switch {
		case a.err != nil || issuer != "":
		case a.ca == "":
			a.err = errors.New("the source does not say which CA it is with: set Migration.Directory")
		default:
			a.err = errors.New("its CA is none of Config.Issuers")
		}
		if a.err != nil {
			r.leave(a.item(issuer), a.err)
			continue
		}
		if usable[issuer] == nil {
			issuers = append(issuers, issuer)
		}
		usable[issuer] = append(usable[issuer], a)
	}
	for _, issuer := range issuers {
		if err := r.chooseAccount(ctx, issuer, usable[issuer]); err != nil {
			return err
		}
	}
	return nil
}

// chooseAccount takes one of the accounts with the issuer.
func (r *run) chooseAccount(ctx context.Context, issuer string, accounts []*account) error {
	var best *account
	present := false
	for _, a := range accounts {
		changed, err := r.transferAccount(ctx, issuer, a, true)
		if err != nil && endsAll(ctx, err) {
			return err
		}
		if a.err = err; err == nil && best == nil {
			best, present = a, !changed
		}
	}
	if best != nil && !present && !r.DryRun {
		if _, err := r.transferAccount(ctx, issuer, best, false); err != nil {
			if endsAll(ctx, err) {
				return err
			}
			for _, a := range accounts { // another process has stored one meanwhile
				a.err = cmp.Or(a.err, err)
			}
			best = nil
		}
	}
	for _, a := range accounts {
		item := a.item(issuer)
		switch {
		case a == best:
			item.Present = present
			r.report.Taken = append(r.report.Taken, item)
		case a.err != nil && (best == nil || !errors.Is(a.err, certmanager.ErrOtherAccount)):
			r.leave(item, a.err)
		default:
			r.leave(item, fmt.Errorf("the manager has one account with a CA, and that of %s is used", best.source))
		}
	}
	return nil
}

// transferAccount has the manager take the account over.
func (r *run) transferAccount(ctx context.Context, issuer string, a *account, dryRun bool) (changed bool, err error) {
	at, err := r.Manager.Account(issuer)
	if err != nil {
		return false, err
	}
	return at.Transfer(ctx, certmanager.AccountTransfer{Key: a.key, URL: a.url, DryRun: dryRun})
}

// endsAll reports whether the error ends the migration.
func endsAll(ctx context.Context, err error) bool {
	return errors.Is(err, certmanager.ErrStorage) || ctx.Err() != nil
}

func (a *account) item(issuer string) Item {
	return Item{Kind: KindAccount, Source: a.source, Account: printable(a.url), CA: printable(a.ca), Issuer: issuer}
}

// hostOf returns the host of a URL, or what is given if it is none.
func hostOf(text string) string {
	if u, err := url.Parse(text); err == nil && u.Host != "" {
		return u.Host
	}
	return text
}
