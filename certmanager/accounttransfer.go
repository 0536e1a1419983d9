package certmanager

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"strings"

	"github.com/everseal/everseal/certmanager/internal/record"
	"github.com/everseal/everseal/storage"
)

// An AccountTransfer is an account that another program has registered with a CA, for [Account.Transfer].
type AccountTransfer struct {
	Key crypto.Signer // an *ecdsa.PrivateKey or *rsa.PrivateKey
	// URL is where the account is (RFC 8555 §7.3). If it is empty, or not at the host of the CA's directory, the CA is asked for
	// it when the account is first used.
	URL string
	// DryRun has nothing stored.
	DryRun bool
}

// ErrOtherAccount is wrapped by the error of [Account.Transfer] if the storage has another account with the CA.
var ErrOtherAccount = errors.New("there is another account with the CA in the storage")

// maxAccountURL bounds the URL of an account, in bytes.
const maxAccountURL = 1024

// Transfer makes an account from another program that which the manager orders with, whose limits, authorizations and
// renewals it therefore has. The CA is not asked. If the storage has another one already, that stays, and the error wraps
// [ErrOtherAccount]. Transfer reports whether this changes what is stored: the account being there already is no error.
func (a *Account) Transfer(ctx context.Context, t AccountTransfer) (changed bool, err error) {
	if a.account == nil {
		return false, errNoAccount
	}
	changed, err = a.transfer(ctx, &t)
	return changed, a.failed(err)
}

func (a *Account) transfer(ctx context.Context, t *AccountTransfer) (changed bool, err error) {
	if t.Key == nil {
		return false, errors.New("there is no key")
	}
	if keyTypeOf(t.Key.Public()) == "" {
		return false, errors.New("its key is none that CAs take: they take ECDSA with P-256 or P-384, and RSA with 2048, 3072 or 4096 bits")
	}
	issuer := a.account.issuer
	rec := record.Account{Directory: issuer.directoryURL(), Key: record.Key{Signer: t.Key}, URL: t.URL}
	if !isBeside(t.URL, rec.Directory) {
		rec.URL = ""
	}
	value, err := rec.Encode()
	if err != nil {
		return false, err
	}
	if item, err := a.store.Load(ctx, issuer.accountKey()); err == nil {
		return false, a.compare(item.Value, rec.Key)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return false, storageFailure(err)
	}
	if t.DryRun {
		return true, nil
	}
	_, err = a.store.Save(ctx, issuer.accountKey(), value, "")
	if errors.Is(err, storage.ErrConflict) {
		return false, fmt.Errorf("%w: it was made this moment", ErrOtherAccount)
	}
	if err != nil {
		return false, storageFailure(err)
	}
	return true, nil
}

// compare returns an error unless the stored account has the key.
func (a *Account) compare(value []byte, key record.Key) error {
	stored, err := recordOf(a.account, a.store).decode(value)
	if err == nil && !stored.Key.Equal(key) {
		err = fmt.Errorf("%w: to have this one used, delete the record %s first", ErrOtherAccount, a.account.issuer.accountKey())
	}
	return err
}

// isBeside reports whether the URL of an account is one of the CA's whose directory that is.
func isBeside(account, directory string) bool {
	a, err := url.Parse(account)
	d, dErr := url.Parse(directory)
	return err == nil && dErr == nil && len(account) <= maxAccountURL && a.Scheme == d.Scheme && strings.EqualFold(a.Host, d.Host) && a.User == nil
}
