package certmanager

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
)

// errAgreeable is the warning about a policy that agrees to a name that nobody can know.
var errAgreeable = errors.New("certmanager: Config.OnDemand allows a name that it can't know: whoever has a DNS record lead here, or names " +
	"what there is not, has certificates ordered until the CA's limits are reached: have it return an error that wraps ErrDenied for all names that are not yours or your customers'")

// probePolicy asks Config.OnDemand about a random name below .com, which nobody has. That it denies, or does not answer, is
// as it should be, or shows when it is asked in earnest.
func (ds *demands) probePolicy(ctx context.Context) {
	name := strings.ToLower(rand.Text()) + ".com"
	if err := ds.policy.ask(ctx, Question{Name: name}); err == nil && ctx.Err() == nil {
		ds.emit(ctx, Event{Kind: EventWarning, Err: errAgreeable})
	}
}
