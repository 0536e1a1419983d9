package certmanager

import (
	"cmp"
	"context"
	"crypto"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"time"

	"github.com/everseal/everseal/certmanager/internal/record"
)

// Keys has the private keys made, and keeps them, where they can't be read: in a KMS, an HSM or a TPM. Its methods are called
// concurrently, for different references; they obey ctx, which has a timeout.
//
// A reference is the manager's: at most 48 lower-case letters, digits and hyphens, beginning with a letter, and used for one
// key only. It is in the records in the storage, before Create is called, and for as long as the key may be there: however
// a process ends, no key is forgotten.
type Keys interface {
	// Create makes a key of the type and returns it. If there is one by the reference, it returns that: the process
	// may have been killed after an earlier call.
	Create(ctx context.Context, ref string, t KeyType) (crypto.Signer, error)
	// Open returns the key. It is called once for each certificate that a process serves, at the first handshake that needs it,
	// and again a second after it failed. An error for which errors.Is finds [fs.ErrNotExist] says that there is none.
	//
	// The signer is used concurrently, and by handshakes, so it should not take long to sign. One for RSA signs with PSS
	// too (*rsa.PSSOptions), as TLS 1.3 does.
	Open(ctx context.Context, ref string) (crypto.Signer, error)
	// Delete deletes the key. There being none is no error.
	Delete(ctx context.Context, ref string) error
}

const (
	keysTimeout = 30 * time.Second // of one call of Keys, by whoever can wait
	openTimeout = 10 * time.Second // for which handshakes wait for their key
	openPause   = time.Second      // after which a key that could not be opened is tried again
	maxOpening  = 64               // keys that are opened at once for handshakes
)

// A keyring is where a manager's private keys come from.
type keyring struct {
	keys    Keys // nil: keys are made here, and are in the records
	logger  *slog.Logger
	making  chan struct{} // has an element for each RSA key being made here
	opening chan struct{} // has an element for each key being opened for handshakes
}

// newKeyring returns one that makes at most so many RSA keys at once.
func newKeyring(keys Keys, logger *slog.Logger, sideBySide int) *keyring {
	return &keyring{keys, cmp.Or(logger, slog.Default()), make(chan struct{}, sideBySide), make(chan struct{}, maxOpening)}
}

// A keysError is a failure of Config.Keys, and not of the issuer that needs a key.
type keysError struct{ error }

func (e keysError) Unwrap() error { return e.error }

// isInHouse reports whether the error is one of the storage or of Config.Keys: no issuer is to blame.
func isInHouse(err error) bool {
	return errors.As(err, new(storageError)) || errors.As(err, new(keysError))
}

// errNoKeys is why a key can't be used.
var errNoKeys = errors.New("its key is kept elsewhere: set Config.Keys to where it was made")

// errSlowKeys is why a call of Config.Keys was given up.
var errSlowKeys = fmt.Errorf("no answer within %v", keysTimeout)

// newReference returns a reference for a key that is yet to be made.
func newReference(purpose string) string {
	return "everseal-" + purpose + "-" + strings.ToLower(rand.Text())
}

// create has Keys make the key, or return the one that it has made.
func (k *keyring) create(ctx context.Context, ref string, t KeyType) (signer crypto.Signer, err error) {
	err = k.call(ctx, "create", ref, func(ctx context.Context) error {
		if signer, err = k.keys.Create(ctx, ref, t); err == nil && !t.fits(signer) {
			err = fmt.Errorf("what it returned is no key of the type %s", t)
		}
		return err
	})
	return signer, err
}

// open returns the key that Keys has.
func (k *keyring) open(ctx context.Context, ref string) (signer crypto.Signer, err error) {
	err = k.call(ctx, "open", ref, func(ctx context.Context) error {
		if signer, err = k.keys.Open(ctx, ref); err == nil && signer == nil {
			err = errors.New("it returned none")
		}
		return err
	})
	return signer, err
}

// openOrMake opens a key that is kept elsewhere, of whatever type it is, or has one of the type made, for who has the lease.
func (k *keyring) openOrMake(ctx context.Context, key *record.Key, t KeyType) error {
	err := k.openKey(ctx, key)
	if errors.Is(err, fs.ErrNotExist) {
		key.Signer, err = k.create(ctx, key.Reference, t)
	}
	return err
}

// openKey opens a key that is kept elsewhere.
func (k *keyring) openKey(ctx context.Context, key *record.Key) (err error) {
	if key.Signer == nil {
		key.Signer, err = k.open(ctx, key.Reference)
	}
	return err
}

// delete has Keys delete the key.
func (k *keyring) delete(ctx context.Context, ref string) error {
	return k.call(ctx, "delete", ref, func(ctx context.Context) error { return k.keys.Delete(ctx, ref) })
}

// call calls a method of Keys, for which there is a timeout.
func (k *keyring) call(ctx context.Context, verb, ref string, f func(context.Context) error) error {
	if k.keys == nil {
		return keysError{errNoKeys}
	}
	limited, cancel := context.WithTimeoutCause(ctx, keysTimeout, errSlowKeys)
	defer cancel()
	err := guard(ctx, k.logger, "Keys", func() error { return f(limited) })
	if err == nil {
		return nil
	}
	if cause := context.Cause(limited); errors.Is(cause, errSlowKeys) {
		err = cause
	}
	return keysError{fmt.Errorf("Config.Keys fails: %s the key %s: %w", verb, ref, err)}
}

// deleteUnused deletes the keys that are due, but for those in use, and returns what is left to be deleted.
func (k *keyring) deleteUnused(ctx context.Context, all record.UnusedKeys, inUse func(ref string) bool) (left record.UnusedKeys, err error) {
	left = all
	if k.keys == nil {
		return left, nil
	}
	for _, ref := range all.Due(time.Now()) {
		if inUse(ref) {
			continue
		}
		if failed := k.delete(ctx, ref); failed != nil {
			err = failed
			continue
		}
		left.Remove(ref)
	}
	return left, err
}

// fits reports whether the key is of the type.
func (t KeyType) fits(signer crypto.Signer) bool {
	return signer != nil && t != "" && keyTypeOf(signer.Public()) == t
}
