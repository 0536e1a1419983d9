package pkcs11

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"

	"github.com/miekg/pkcs11"

	"github.com/everseal/everseal/certmanager"
)

// A Config says which token to use. It is not changed after Connect.
type Config struct {
	Module string // path of the token's library, such as "/usr/lib/softhsm/libsofthsm2.so"
	Token  string // label of the token
	// PIN returns that of the token's user. It is called when sessions are opened, and never shown. One that the
	// token has refused is not tried again, for tokens lock themselves after a few.
	PIN func() (string, error)
	// Sessions is how many signatures and other calls the token is asked for at once. Zero: 16.
	Sessions int
}

// LogValue names the token and its library.
func (c Config) LogValue() slog.Value {
	return slog.GroupValue(slog.String("module", c.Module), slog.String("token", c.Token))
}

const defaultSessions = 16

// Keys are the private keys on a token: a [certmanager.Keys]. [Connect] makes one; the methods of the zero value return an
// error. They are safe for concurrent use.
type Keys struct {
	module   *pkcs11.Ctx
	slot     uint
	sessions *pool
	creating chan struct{} // has an element while a key is made
}

var (
	_ certmanager.Keys = (*Keys)(nil)

	errNotConnected = errors.New("pkcs11: the Keys were not made by Connect")
)

// Connect loads the library, finds the token and logs in. The library stays loaded when the Keys are closed: others in the
// process may use it.
func Connect(ctx context.Context, config Config) (*Keys, error) {
	switch {
	case config.Module == "":
		return nil, errors.New("pkcs11: Config.Module is empty: it is the path of the token's library, such as /usr/lib/softhsm/libsofthsm2.so")
	case config.Token == "":
		return nil, errors.New("pkcs11: Config.Token is empty: it is the token's label")
	case config.PIN == nil:
		return nil, errors.New("pkcs11: Config.PIN is nil: it returns the PIN of the token's user")
	case config.Sessions < 0:
		return nil, fmt.Errorf("pkcs11: Config.Sessions is %d: zero means %d, and less than one does nothing", config.Sessions, defaultSessions)
	}
	module := pkcs11.New(config.Module)
	if module == nil {
		return nil, fmt.Errorf("pkcs11: the library %q can't be loaded: it is not there, or no PKCS #11 library for this system", config.Module)
	}
	if err := module.Initialize(); err != nil && !isCode(err, pkcs11.CKR_CRYPTOKI_ALREADY_INITIALIZED) {
		return nil, fmt.Errorf("pkcs11: initialize the library %q: %w", config.Module, err)
	}
	slot, err := slotOf(module, config.Token)
	if err != nil {
		return nil, err
	}
	if config.Sessions == 0 {
		config.Sessions = defaultSessions
	}
	k := &Keys{module: module, slot: slot, creating: make(chan struct{}, 1)}
	k.sessions = newPool(module, slot, config)
	if err := k.sessions.use(ctx.Done(), func(pkcs11.SessionHandle) error { return nil }); err != nil {
		return nil, failed(ctx, err)
	}
	return k, nil
}

// slotOf finds the token of the label.
func slotOf(module *pkcs11.Ctx, label string) (uint, error) {
	slots, err := module.GetSlotList(true)
	if err != nil {
		return 0, fmt.Errorf("pkcs11: list the slots with a token: %w", err)
	}
	var found []uint
	for _, slot := range slots {
		if info, err := module.GetTokenInfo(slot); err == nil && info.Label == label {
			found = append(found, slot)
		}
	}
	switch len(found) {
	case 0:
		return 0, fmt.Errorf("pkcs11: no token has the label %q; %d tokens were found", label, len(slots))
	case 1:
		return found[0], nil
	}
	return 0, fmt.Errorf("pkcs11: %d tokens have the label %q: give them different ones", len(found), label)
}

// Close ends the sessions. Calls under way may fail, and those that come later do; so do the signers that were made.
func (k *Keys) Close() error {
	if k.sessions == nil {
		return errNotConnected
	}
	k.sessions.close()
	return nil
}

// Create makes a key pair on the token, or returns the one that has the reference.
func (k *Keys) Create(ctx context.Context, ref string, t certmanager.KeyType) (crypto.Signer, error) {
	if k.sessions == nil {
		return nil, errNotConnected
	}
	select {
	case k.creating <- struct{}{}: // between the look for the key and its making no other is made
	case <-ctx.Done():
		return nil, fmt.Errorf("pkcs11: wait for another key to be made: %w", context.Cause(ctx))
	}
	defer func() { <-k.creating }()
	var found *signer
	err := k.sessions.use(ctx.Done(), func(s pkcs11.SessionHandle) (err error) {
		if found, err = k.find(s, ref); errors.Is(err, fs.ErrNotExist) {
			if err = k.make(s, ref, t); err == nil {
				found, err = k.find(s, ref)
			}
		}
		return err
	})
	if err != nil {
		return nil, failed(ctx, err)
	}
	return found, nil
}

// make makes a key pair in place of what is left of one that was half made. It tries again when the token stumbles: SoftHSM
// does if another session, of whatever process, looks for objects just then.
func (k *Keys) make(s pkcs11.SessionHandle, ref string, t certmanager.KeyType) error {
	const maxRuns = 5
	for runs := 1; ; runs++ {
		if err := k.remove(s, ref); err != nil {
			return err
		}
		err := k.generate(s, ref, t)
		if runs == maxRuns || !isCode(err, pkcs11.CKR_GENERAL_ERROR, pkcs11.CKR_FUNCTION_FAILED, pkcs11.CKR_TEMPLATE_INCONSISTENT) {
			return err
		}
	}
}

// Open returns the key that has the reference. The error is [fs.ErrNotExist] if there is none.
func (k *Keys) Open(ctx context.Context, ref string) (crypto.Signer, error) {
	if k.sessions == nil {
		return nil, errNotConnected
	}
	var found *signer
	err := k.sessions.use(ctx.Done(), func(s pkcs11.SessionHandle) (err error) {
		found, err = k.find(s, ref)
		return err
	})
	if err != nil {
		return nil, failed(ctx, err)
	}
	return found, nil
}

// Delete deletes the key pair that has the reference, and what a deletion that was interrupted has left of it.
func (k *Keys) Delete(ctx context.Context, ref string) error {
	if k.sessions == nil {
		return errNotConnected
	}
	return failed(ctx, k.sessions.use(ctx.Done(), func(s pkcs11.SessionHandle) error { return k.remove(s, ref) }))
}

func (k *Keys) remove(s pkcs11.SessionHandle, ref string) error {
	objects, err := k.objects(s, ref)
	for _, object := range objects {
		if err == nil {
			err = k.module.DestroyObject(s, object)
		}
	}
	return err
}

// failed returns the error of a call, which may be nil.
func failed(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errNoSession) && ctx.Err() != nil:
		return fmt.Errorf("pkcs11: %w: %w", err, context.Cause(ctx))
	}
	return fmt.Errorf("pkcs11: %w", err)
}

// isCode reports whether the error is the library's, and has one of the codes.
func isCode(err error, codes ...uint) bool {
	code, ok := errors.AsType[pkcs11.Error](err)
	for _, c := range codes {
		if ok && uint(code) == c {
			return true
		}
	}
	return false
}
