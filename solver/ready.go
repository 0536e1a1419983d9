package solver

import (
	"errors"
	"fmt"
)

// ready reports what keeps the provider from working, as far as it can tell.
func ready(p Provider) error {
	if p == nil {
		return errNoProvider
	}
	if checked, ok := p.(interface{ Ready() error }); ok {
		return checked.Ready()
	}
	return nil
}

// Ready reports what keeps the solver from ever working, such as a Provider that is not set, without asking anybody. A
// provider of one's own can have such a method, too.
func (d *DNS01) Ready() error {
	if err := ready(d.Provider); err != nil {
		return fmt.Errorf("solver: dns-01: %w", inner{err})
	}
	return nil
}

// Ready does as that of [DNS01].
func (d *DNSAccount01) Ready() error {
	if err := ready(d.Provider); err != nil {
		return fmt.Errorf("solver: dns-account-01: %w", inner{err})
	}
	return nil
}

// Ready does as that of [DNS01], but that a record may stand without a Provider.
func (d *DNSPersist01) Ready() error {
	if d.Provider == nil {
		return nil
	}
	if err := ready(d.Provider); err != nil {
		return fmt.Errorf("solver: dns-persist-01: %w", inner{err})
	}
	return nil
}

// Ready reports a solver that has no provider.
func (l *Lego) Ready() error {
	if l.provider == nil {
		return errNoLegoProvider
	}
	return nil
}

var errNoLegoProvider = errors.New("solver: this Lego has no provider: give one to LegoV4 or LegoV5")

// Ready reports a Dir that is not set.
func (w *Webroot) Ready() error {
	if w.Dir == "" {
		return errNoWebroot
	}
	return nil
}

var errNoWebroot = errors.New("solver: Webroot.Dir is empty: set it to the document root of the server on port 80")
