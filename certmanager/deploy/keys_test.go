package deploy_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"io/fs"
	"sync"

	"github.com/everseal/everseal/certmanager"
)

// distantKeys are keys that are kept elsewhere.
type distantKeys struct{ keys sync.Map }

func (k *distantKeys) Create(_ context.Context, ref string, _ certmanager.KeyType) (crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	k.keys.Store(ref, key)
	return key, err
}

func (k *distantKeys) Open(_ context.Context, ref string) (crypto.Signer, error) {
	if key, ok := k.keys.Load(ref); ok {
		return key.(crypto.Signer), nil
	}
	return nil, fs.ErrNotExist
}

func (k *distantKeys) Delete(_ context.Context, ref string) error {
	k.keys.Delete(ref)
	return nil
}
