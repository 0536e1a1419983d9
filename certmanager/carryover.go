package certmanager

import (
	"time"

	"github.com/everseal/everseal/certmanager/internal/lifecycle"
	"github.com/everseal/everseal/certmanager/internal/record"
)

// A carryover is what one attempt leaves for the next in memory.
type carryover struct {
	memory  *memory             // of work that did not come to a certificate
	unsaved *record.Certificate // issued and served, but the storage has not taken it
	lease   claim               // to that of the work
	former  claim               // to that of the work with an issuer as an earlier release had it
	turn    *awaitedTurn        // of an answer that could not be published; nil: none is waited for
}

// isEmpty reports whether nothing is left.
func (c *carryover) isEmpty() bool { return c == nil || *c == carryover{} }

// withdraw gives up the claims, that nothing needs to be done for any more.
func (c *carryover) withdraw() {
	c.lease.withdraw()
	c.former.withdraw()
}

// carryoverOf returns what the last attempt left for the entry, to be written to. The caller has the task under way, as for what
// follows.
func carryoverOf(e *entry) *carryover {
	if e.left == nil {
		e.left = new(carryover)
	}
	return e.left
}

// tidy forgets what an attempt has left if that is nothing.
func tidy(e *entry) {
	if e.left.isEmpty() {
		e.left = nil
	}
	noteClaims(e)
}

// drop is the outcome of a task whose entry was forgotten.
func drop(e *entry) outcome {
	if e.left != nil {
		e.left.withdraw()
		e.left = nil
	}
	noteClaims(e)
	return outcome{kind: lifecycle.Deferred, until: time.Now(), err: errForgotten}
}

// noteClaims notes whether there are claims to be withdrawn when the entry is forgotten.
func noteClaims(e *entry) {
	if l := e.left; l != nil && (l.lease.Claim != nil || l.former.Claim != nil) {
		e.roles.set(claiming)
	} else {
		e.roles.unset(claiming)
	}
}
