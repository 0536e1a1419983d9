package deploy

import (
	"crypto/sha256"
	"time"

	"github.com/everseal/everseal/certmanager"
)

// A target is one name whose certificate gets files.
type target struct {
	name, lineage string
	names         []string // of the certificate
	served        identity // of the certificate that sums are of
	sums          []sum    // of the files; nil: there is none yet
	files         backoff  // of writing them

	// A version counts as installed before it is tried: what a failure has left half done is done, or found done, by the
	// next attempt.
	changed    bool // files were written, or may have been, since they were last found right
	generation int  // of what is installed
	due        time.Time
	command    backoff // of running the command; due until generation is done
}

// An identity tells a certificate from its successor.
type identity struct {
	leaf   [sha256.Size]byte // of what is in memory
	status certificateStatus
}

// A certificateStatus is what a Status tells of a certificate that may have been evicted from memory.
type certificateStatus struct {
	issuer, serial      string
	notBefore, notAfter time.Time
}

// identityOf returns that of the name's certificate; false: there is none.
func identityOf(m *certmanager.Manager, name string, s certmanager.Status) (i identity, isServed bool) {
	i.status = certificateStatus{s.Issuer, s.Serial, s.NotBefore, s.NotAfter}
	if c, ok := m.Certificate(name); ok {
		i.leaf = sha256.Sum256(c.Certificate[0])
		return i, true
	}
	return i, s.Serial != ""
}

// is reports whether both are of one certificate.
func (i identity) is(other identity) bool {
	if i.leaf != [sha256.Size]byte{} && other.leaf != [sha256.Size]byte{} {
		return i.leaf == other.leaf
	}
	return i.status == other.status
}

// A backoff is how long what fails waits.
type backoff struct {
	attempts int // that failed in a row
	next     time.Time
}

const firstPause = 10 * time.Second // after a failure; each one after it doubles it

// fail notes a failure.
func (b *backoff) fail(longest time.Duration) {
	b.attempts++
	b.next = time.Now().Add(min(firstPause<<min(b.attempts-1, 10), longest))
}

// waits reports whether it is not to be tried yet.
func (b *backoff) waits(now time.Time) bool { return now.Before(b.next) }
