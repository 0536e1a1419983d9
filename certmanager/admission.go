package certmanager

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of the work for handshakes that wait.
const (
	maxDemands       = 1000             // names at once
	maxWaiting       = 10000            // handshakes at once
	handshakeTimeout = 90 * time.Second // of one handshake's wait
	policyTimeout    = 30 * time.Second // of one answer of Config.OnDemand
	denialPeriod     = time.Minute      // for which a denial is remembered
)

// An admission bounds what handshakes may set off and wait for.
type admission struct {
	queue chan *demand // from handshakes to Run

	mu        sync.Mutex         // guards what follows; no other lock is taken under it
	byName    map[string]*demand // names being obtained for handshakes that wait
	waiting   int                // handshakes that wait for any of them, or for a managed name to be loaded
	negatives negatives          // names that handshakes need not ask for again soon
	newNames  newNames           // that certificates are obtained for
	lapsed    map[string]bool    // names whose work is to be deleted, unless they are wanted again
}

// A demand is the work on one name that handshakes wait for. It belongs to the manager: the handshake that began it may
// end.
type demand struct {
	name        string
	remote      netip.AddrPort        // of the client that began it
	entry       atomic.Pointer[entry] // that is being obtained; nil: none yet
	forgotten   atomic.Bool           // by Forget
	done        chan struct{}         // closed when what follows is set
	certificate *tls.Certificate      // nil: err says why
	err         error
}

func newAdmission(maxNewNames int) admission {
	return admission{
		queue: make(chan *demand, maxDemands), byName: make(map[string]*demand),
		newNames: newNames{most: cmp.Or(maxNewNames, defaultMaxNewNames)},
	}
}

// admitNew counts the entry as one whose name has no certificate yet. The error is a *negative, if there are too many.
func (a *admission) admitNew(e *entry) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	if err := a.newNames.take(e.Group(), now); err != nil {
		return &negative{until: now.Add(cappedPeriod), err: fmt.Errorf("certmanager: %v: %w", &e.subject, err)}
	}
	return nil
}

// demand returns the work on the name, and begins it if there is none. The handshake that asks is to call leave.
func (a *admission) demand(name string, remote netip.AddrPort) (*demand, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.negatives.find(name, time.Now()); err != nil {
		return nil, err
	}
	d := a.byName[name]
	crowded := d == nil && len(a.byName) >= maxDemands || a.waiting >= maxWaiting
	if d == nil && !crowded {
		d = &demand{name: name, remote: remote, done: make(chan struct{})}
		select {
		case a.queue <- d:
			a.byName[name] = d
		default: // of those that were forgotten
			crowded = true
		}
	}
	if crowded {
		return nil, fmt.Errorf("certmanager: %s has no certificate, and too many others are being obtained at the moment", name)
	}
	a.waiting++
	return d, nil
}

// enter counts a handshake that is going to wait, if there are not too many.
func (a *admission) enter() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.waiting >= maxWaiting {
		return false
	}
	a.waiting++
	return true
}

// leave is for a handshake that has waited.
func (a *admission) leave() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.waiting--
}

// failing returns the entry of a name that could not be obtained lately, or nil.
func (a *admission) failing(name string) *entry {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.negatives[name].failing(time.Now())
}

// allFailing returns the entries that could not be obtained lately.
func (a *admission) allFailing() []*entry {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	var all []*entry
	for _, r := range a.negatives {
		if e := r.failing(now); e != nil {
			all = append(all, e)
		}
	}
	return all
}

// finish tells the waiting handshakes the outcome.
func (a *admission) finish(d *demand, certificate *tls.Certificate, err error) {
	a.mu.Lock()
	if a.byName[d.name] == d {
		delete(a.byName, d.name)
	}
	if n, ok := errors.AsType[*negative](err); ok {
		a.negatives.add(d.name, n, time.Now())
	}
	a.mu.Unlock()
	d.certificate, d.err = certificate, err
	close(d.done)
}

// end fails what Run leaves undone.
func (a *admission) end() {
	for {
		select {
		case d := <-a.queue:
			a.finish(d, nil, fmt.Errorf("certmanager: %s has no certificate: %w", d.name, errNotRunning))
		default:
			return
		}
	}
}
