package certmanager

import (
	"errors"
	"fmt"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager/internal/gate"
	"github.com/everseal/everseal/storage"
)

// A Reason is why a certificate that is to be obtained, or loaded, has to wait.
type Reason string

// The reasons.
const (
	ReasonBackoff Reason = "backoff" // after a failure of its own
	ReasonIssuer  Reason = "issuer"  // the issuer fails for all names, or has yet to answer those that ask it
	ReasonProcess Reason = "process" // another process has the lease of the work, or another order the place of an answer
	ReasonStorage Reason = "storage" // it can't be read or written
	ReasonKeys    Reason = "keys"    // Config.Keys fails
	ReasonPolicy  Reason = "policy"  // Config.OnDemand denies the name, or gives no answer
	ReasonRole    Reason = "role"    // it is for another manager to obtain (Config.Role)
	ReasonBudget  Reason = "budget"  // a limit of the CA's is reached (ACME.Limits)
	ReasonPaused  Reason = "paused"  // the CA takes no orders for the name until a person asks it to: the error says where
	ReasonGone    Reason = "gone"    // for days the name of a certificate obtained on demand has led elsewhere; a client has to ask for it
)

// Why names are turned away on demand, for the log.
const (
	reasonDenied     Reason = "denied"
	reasonNoAnswer   Reason = "no answer"
	reasonImpossible Reason = "impossible"
	reasonCapped     Reason = "capped"
)

// What is told of the issuers' words on when to renew.
const (
	reasonPolls       Reason = "polls"       // there is none
	reasonRescheduled Reason = "rescheduled" // it is unusual
)

// reasonCopies stands for copies that are served while the storage can't be read, for the log.
const reasonCopies Reason = "copies"

// reasonTimes stands for certificates whose times are odd, for the log.
const reasonTimes Reason = "times"

// A policyError is an error of Config.OnDemand.
type policyError struct{ error }

func (e policyError) Unwrap() error { return e.error }

// storageFailure returns an error as one of the storage, unless it is known to be one, or one of the policy's or of Config.Keys.
func storageFailure(err error) error {
	if errors.As(err, new(policyError)) || isInHouse(err) {
		return err
	}
	return storageError{fmt.Errorf("the storage fails: %w", err)}
}

// reasonOf returns what an error makes a certificate wait for.
func reasonOf(err error) Reason {
	switch {
	case errors.As(err, new(*spentError)):
		return ReasonBudget
	case isPaused(err):
		return ReasonPaused
	case errors.As(err, new(policyError)):
		return ReasonPolicy
	case errors.Is(err, errServesOnly):
		return ReasonRole
	case errors.Is(err, errGone):
		return ReasonGone
	case errors.Is(err, errHeld), errors.Is(err, storage.ErrLost), errors.As(err, new(turnError)):
		return ReasonProcess
	case errors.As(err, new(storageError)):
		return ReasonStorage
	case errors.As(err, new(keysError)):
		return ReasonKeys
	case errors.As(err, new(*gate.ClosedError)), errors.As(err, new(*UnavailableError)), !isOfOrder(err) && acme.IsOutage(err):
		return ReasonIssuer
	}
	return ReasonBackoff
}

// isOfOrder reports whether an order was lost.
func isOfOrder(err error) bool { return errors.As(err, new(*acme.OrderError)) }
