package certmanager

import "github.com/everseal/everseal/certmanager/internal/record"

// A carryover is what one attempt leaves for the next in memory.
type carryover struct {
	memory  *memory             // of work that did not come to a certificate
	unsaved *record.Certificate // issued and served, but the storage has not taken it
	lease   claim               // to that of the work
	former  claim               // to that of the work with an issuer as an earlier release had it
}

// isEmpty reports whether nothing is left.
func (c *carryover) isEmpty() bool { return c == nil || *c == carryover{} }

// withdraw gives up the claims, that nothing needs to be done for any more.
func (c *carryover) withdraw() {
	c.lease.withdraw()
	c.former.withdraw()
}
