package certmanager

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// A managed is one certificate under management.
type managed struct {
	subject
	loaded chan struct{} // closed once the storage was asked what it has

	mu      sync.Mutex   // guards what follows; not held over storage or network
	wanted  bool         // by a client, on demand; nobody configured it
	current *record      // what is served; nil: nothing yet
	action  Action       // what comes next
	next    time.Time    // when
	working bool         // an attempt is under way
	failure *Failure     // of the last attempt; nil: it succeeded
	unsaved *record      // issued and served, but the storage failed to take it; nil: none
	trouble int          // attempts in a row that the storage kept from being made
	waiting []chan error // callers of Renew
	heard   bool         // the attempt under way does what they want
	replace string       // serial of the certificate they want replaced; empty: there was none
}

func newManaged(s subject) *managed { return &managed{subject: s, loaded: make(chan struct{})} }

// onDemand reports whether a client wanted the certificate and nobody configured it.
func (c *managed) onDemand() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wanted
}

// configure makes a certificate that a client wanted a configured one.
func (c *managed) configure() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wanted = false
}

// markLoaded notes that the storage was asked.
func (c *managed) markLoaded() {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.loaded:
	default:
		close(c.loaded)
	}
}

func compareManaged(a, b *managed) int { return strings.Compare(a.key(), b.key()) }

// force has the next attempt replace the certificate whatever its age. The channel is sent the outcome.
func (c *managed) force() <-chan error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current != nil {
		c.replace = c.current.serial
	}
	done := make(chan error, 1)
	c.waiting = append(c.waiting, done)
	return done
}

// begin marks an attempt as under way. It reports false if one is already.
func (c *managed) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.working {
		return false
	}
	c.working = true
	return true
}

// end ends an attempt and tells those who wait for its outcome. It returns when the next one is due: at
// once where Renew was called after this attempt had looked for that.
func (c *managed) end(o outcome) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.working = false
	c.action, c.next = o.action, o.next
	c.failure = nil
	if o.err == nil {
		c.trouble = 0
	} else {
		c.failure = &Failure{Time: time.Now(), Err: o.err}
		var earlier *earlierFailure
		if errors.As(o.err, &earlier) {
			c.failure.Time = earlier.time
		}
	}
	if o.err == nil && len(c.waiting) > 0 && !c.heard {
		return time.Now()
	}
	for _, done := range c.waiting {
		done <- o.err
	}
	c.waiting, c.replace, c.heard = nil, "", false
	return o.next
}

// schedule says what comes next where no attempt was made.
func (c *managed) schedule(action Action, next time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.action, c.next = action, next
}

// failing reports whether the last attempt that this process made or heard of failed.
func (c *managed) failing() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failure != nil
}

// awaited reports whether a caller of Renew waits.
func (c *managed) awaited() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.waiting) > 0
}

// forced reports whether Renew wants the certificate replaced that is served now.
func (c *managed) forced() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heard = len(c.waiting) > 0
	return c.heard && (c.current == nil || c.current.serial == c.replace)
}

// stumble counts an attempt that the storage kept from being made, and returns how many there were in
// a row.
func (c *managed) stumble() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.trouble++
	return c.trouble
}

// serving returns the certificate served, or nil.
func (c *managed) serving() *record {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.current
}

// unkept returns the certificate of the issuer that has come but could not be stored, or nil.
func (c *managed) unkept(issuer Issuer) *record {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.unsaved == nil || c.unsaved.meta.Issuer != issuer.ID() {
		return nil
	}
	return c.unsaved
}

// setUnkept notes whether r could be stored.
func (c *managed) setUnkept(r *record, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.unsaved = nil; err != nil {
		c.unsaved = r
	}
}

// offer makes r the certificate to be served if it is newer than the one there is.
func (c *managed) offer(r *record) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !r.newerThan(c.current) {
		return false
	}
	c.current = r
	return true
}

// unavailable says why there is no certificate for the name, which is as a client sent it.
func (c *managed) unavailable(name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.failure != nil:
		return fmt.Errorf("certmanager: %.100q has no certificate; the next attempt is due at %s; the last one failed: %w",
			name, c.next.UTC().Format(time.RFC3339), c.failure.Err)
	case c.working:
		return fmt.Errorf("certmanager: %.100q has no certificate yet: it is being obtained", name)
	}
	return fmt.Errorf("certmanager: %.100q has no certificate yet: its turn comes", name)
}
