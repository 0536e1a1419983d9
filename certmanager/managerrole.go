package certmanager

import (
	"errors"
	"fmt"
	"time"
)

// A Role is what a manager does of the work that all those do that share a storage.
type Role string

// The roles, besides the usual one of doing all.
const (
	// RoleServe is to serve what others obtain, and to answer validations. The storage is only read, so that it can be a
	// replica; what is missing is looked for there each minute, and the successor of a certificate, when it is due, every ten.
	RoleServe Role = "serve"
	// RoleRenew is to obtain and renew what others serve. It answers validations, too, if they lead here, and serves no
	// names: GetCertificate returns nil, nil, and Serve an error.
	RoleRenew Role = "renew"
)

// check reports a role that is none.
func (r Role) check() error {
	switch r {
	case "", RoleServe, RoleRenew:
		return nil
	}
	return fmt.Errorf("Config.Role is %.40q: it can be %q or %q, or empty for both", string(r), RoleServe, RoleRenew)
}

// maxRenewing is how many certificates stay in memory that nobody serves.
const maxRenewing = 1000

// errServesOnly is why nothing is obtained by a manager with RoleServe.
var errServesOnly = errors.New("this manager only serves (Config.Role), and nobody that it shares the storage with has obtained it yet")

// errReadsOnly is why a manager with RoleServe refuses what would be written to the storage.
var errReadsOnly = errors.New("this manager only serves (Config.Role): have it done by another one that shares the storage")

// errRenewsOnly is why a manager with RoleRenew serves no server.
var errRenewsOnly = errors.New("certmanager: this manager only renews (Config.Role): call Run, and serve by another one that shares the storage")

// awaitInterval is the time between two looks for what is missing and others are to obtain.
const awaitInterval = time.Minute

// awaitUntil returns when it is seen again whether others have obtained a certificate for the entry.
func awaitUntil(e *entry) time.Time {
	now := time.Now()
	if now.Before(e.end()) {
		return now.Add(maxDeferral)
	}
	return now.Add(awaitInterval)
}
