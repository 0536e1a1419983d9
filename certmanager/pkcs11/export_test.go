package pkcs11

import (
	"context"

	"github.com/miekg/pkcs11"
)

// DestroyPrivate leaves the public key alone of a pair, as a call that is broken off can.
func (k *Keys) DestroyPrivate(ctx context.Context, ref string) error {
	return k.sessions.use(ctx.Done(), func(s pkcs11.SessionHandle) error {
		object, err := k.object(s, ref, pkcs11.CKO_PRIVATE_KEY)
		if err != nil {
			return err
		}
		return k.module.DestroyObject(s, object)
	})
}
