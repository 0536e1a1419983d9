package certmanager

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/everseal/everseal/certmanager/internal/record"
	"github.com/everseal/everseal/storage"
)

// A deletion takes away what an archive reads.
type deletion struct{ *archive }

// deleteCertificates deletes the stored certificates of a subject, and returns their key types.
func (d deletion) deleteCertificates(ctx context.Context, subject string) (keyTypes map[string]bool, err error) {
	keyTypes = make(map[string]bool)
	for key, err := range d.keysOf(ctx, subject) {
		if err != nil {
			return nil, err
		}
		if _, _, keyType, ok := record.ParseCertificateKey(key); ok {
			if err := d.deleteCertificate(ctx, key); err != nil {
				return nil, err
			}
			keyTypes[keyType] = true
		}
	}
	return keyTypes, nil
}

// deleteCertificate deletes a stored certificate, whatever it is changed to meanwhile, and before it the key if that is kept
// elsewhere: there would be nothing left to tell of it.
func (d deletion) deleteCertificate(ctx context.Context, key string) (err error) {
	for range deletionTries {
		item, loadErr := d.item(ctx, key)
		if loadErr != nil || item.Revision == "" {
			return loadErr
		}
		if err = d.deleteItem(ctx, key, item); !errors.Is(err, storage.ErrConflict) {
			return err
		}
	}
	return err
}

// deleteItem deletes what is stored at the key of a certificate. Before it is gone it is noted that it was deleted, and not lost.
func (d deletion) deleteItem(ctx context.Context, key string, item storage.Item) error {
	now := time.Now()
	noted := record.Deletion{Deleted: now, Obtained: now}
	if c, err := record.DecodeCertificate(item.Value, nil, &d.intermediates); err == nil {
		noted.Obtained, noted.End = c.Obtained, c.NotAfter
		if err := d.deleteDistantKey(ctx, c); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, storageTimeout, errSlowStorage)
	defer cancel()
	_, err := storage.Update(ctx, d.store, record.DeletionKey(key), func([]byte) ([]byte, error) { return noted.Encode() })
	if err == nil {
		err = d.store.Delete(ctx, key, item.Revision)
	}
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return slowStorage(ctx, err)
}

// deleteThis deletes a certificate, in DER, if it is what is stored at the key, and before it the key if that is kept elsewhere.
func (d deletion) deleteThis(ctx context.Context, key string, der []byte) error {
	ctx, cancel := context.WithTimeoutCause(ctx, storageTimeout, errSlowStorage)
	defer cancel()
	item, err := d.store.Load(ctx, key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return storageFailure(slowStorage(ctx, err))
	}
	c, err := record.DecodeCertificate(item.Value, nil, &d.intermediates)
	if err != nil || !bytes.Equal(c.Chain[0], der) {
		return nil
	}
	if err := d.deleteDistantKey(ctx, c); err != nil {
		return err
	}
	err = d.store.Delete(ctx, key, item.Revision)
	if err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, storage.ErrConflict) { // another is there meanwhile
		return nil
	}
	return storageFailure(slowStorage(ctx, err))
}

// deleteDistantKey deletes the certificate's key if that is kept elsewhere.
func (d deletion) deleteDistantKey(ctx context.Context, c *record.Certificate) error {
	if c.Key.Reference == "" {
		return nil
	}
	return d.keyring.delete(ctx, c.Key.Reference)
}

// delete deletes a record, whatever it is changed to meanwhile.
func (d deletion) delete(ctx context.Context, key string) (err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, storageTimeout, errSlowStorage)
	defer cancel()
	for range deletionTries {
		var item storage.Item
		if item, err = d.store.Load(ctx, key); err == nil {
			err = d.store.Delete(ctx, key, item.Revision)
		}
		switch {
		case err == nil, errors.Is(err, fs.ErrNotExist):
			return nil
		case !errors.Is(err, storage.ErrConflict):
			return slowStorage(ctx, err)
		}
	}
	return err
}

// wasDeleted reports whether the certificate of that time, whose record is gone from the key, was deleted, and not lost.
func (a *archive) wasDeleted(ctx context.Context, key string, obtained time.Time) (deleted bool, err error) {
	item, err := a.item(ctx, record.DeletionKey(key))
	if err != nil || item.Revision == "" {
		return false, err
	}
	d, err := record.DecodeDeletion(item.Value)
	if err != nil {
		return false, fmt.Errorf("the stored record %s: %w", record.DeletionKey(key), err)
	}
	return d.Concerns(obtained), nil
}
