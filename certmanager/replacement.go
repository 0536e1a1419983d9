package certmanager

import (
	"crypto/x509"
	"fmt"
	"time"

	"github.com/everseal/everseal/certmanager/internal/record"
)

// isNoBetter returns why the stored certificate stays, rather than r from elsewhere; nil: r is to take its place.
func (t *Transfer) isNoBetter(r, current *record.Certificate) error {
	end := current.End.UTC().Format(time.RFC3339)
	if time.Now().Before(current.End) {
		if t.isReplaced(r, current) {
			return stayError(fmt.Sprintf("the manager has obtained another since, which ends at %s: to have this one served, delete that first", end))
		}
		if suits := isOfItsKind(current); !t.isImport && suits != isOfItsKind(r) {
			if suits {
				return stayError(fmt.Sprintf("the names have a certificate with the kind of key that they are managed with, %s, which ends at %s", r.KeyType, end))
			}
			return nil
		}
	}
	if current.End.After(r.End) {
		return fmt.Errorf("%w, at %s: to have this one served, delete that first", ErrNotNewer, end)
	}
	return nil
}

// isReplaced reports whether the manager has obtained the stored certificate in place of r, or of one that came after r. Who calls
// Import may want to go back to another one than the last.
func (t *Transfer) isReplaced(r, current *record.Certificate) bool {
	return current.Predecessor != "" && (current.Predecessor == r.Serial || !t.isImport && r.NotBefore.Before(current.NotBefore))
}

// isOfItsKind reports whether the certificate has the kind of key that its names are managed with.
func isOfItsKind(r *record.Certificate) bool {
	leaf, err := x509.ParseCertificate(r.Chain[0])
	return err == nil && keyTypeOf(leaf.PublicKey) == KeyType(r.KeyType)
}

// A stayError is why what is stored stays. It is [ErrNotNewer], though not all of these end later.
type stayError string

func (e stayError) Error() string { return string(e) }

func (stayError) Is(target error) bool { return target == ErrNotNewer }
