package certmanager

import (
	"github.com/everseal/everseal/certmanager/internal/record"
	"github.com/everseal/everseal/storage"
)

// A carryover is what one attempt leaves for the next in memory.
type carryover struct {
	memory  *memory             // of work that did not come to a certificate
	unsaved *record.Certificate // issued and served, but the storage has not taken it
	claim   *storage.Claim      // to a lease that another process has
	tries   int                 // of claim, in vain
}

// isEmpty reports whether nothing is left.
func (c *carryover) isEmpty() bool { return c == nil || *c == carryover{} }

// withdraw gives up a claim that is not needed any more.
func (c *carryover) withdraw() {
	if c.claim != nil {
		c.claim.Withdraw()
	}
	c.claim, c.tries = nil, 0
}
