package certmanager

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/everseal/everseal/certmanager/internal/record"
)

const (
	maxAhead  = time.Minute // how far in the future a certificate may begin without a word: the clocks of clients differ as much
	movedPart = 24          // without a word a renewal is moved by this part of the lifetime: most CAs date back a little
)

// checkTimes warns if a certificate that has just been obtained has less of its lifetime left than it should, or has not
// begun.
func (i *issuance) checkTimes(ctx context.Context, r *record.Certificate) {
	oddities := oddTimes(r)
	if len(oddities) == 0 {
		return
	}
	told, similar := i.common.of(reasonTimes, r.Issuer).tellEachMinute(time.Now()) // mostly it is so with all certificates of a CA
	i.emit(ctx, Event{
		quiet: !told, similar: similar,
		Kind: EventWarning, Names: i.entry.names(), Issuer: r.Issuer, Serial: r.Serial, NotAfter: r.End, Next: renewal(r),
		Err: fmt.Errorf("certmanager: %v: %w", &i.entry.subject, errors.New(strings.Join(oddities, "; "))),
	})
}

// oddTimes says what is odd about the times of a certificate that has just been obtained.
func oddTimes(r *record.Certificate) (oddities []string) {
	if ahead := r.NotBefore.Sub(r.Obtained); ahead > maxAhead {
		oddities = append(oddities, fmt.Sprintf("the certificate begins at %s, %v in the future by this machine's clock: set that clock, or the CA's; clients may refuse the certificate until then",
			stamp(r.NotBefore), ahead.Round(time.Second)))
	}
	if usual, due := usualRenewal(r), renewal(r); r.EndOf == "" && due.Sub(usual) > r.End.Sub(r.NotBefore)/movedPart {
		oddities = append(oddities, fmt.Sprintf("the certificate began at %s, %v ago by this machine's clock, and ends in %v: the CA dates back, its certificate is an old one, or a clock is wrong; it is renewed at %s and not at %s",
			stamp(r.NotBefore), r.Obtained.Sub(r.NotBefore).Round(time.Second), r.End.Sub(r.Obtained).Round(time.Second), stamp(due), stamp(usual)))
	}
	if r.EndOf != "" {
		oddities = append(oddities, fmt.Sprintf("the intermediate %s of its chain ends at %s, and the certificate at %s: it is renewed by the first of them; ask the CA for a newer chain",
			r.EndOf, stamp(r.End), stamp(r.NotAfter)))
	}
	if r.Ended != "" {
		oddities = append(oddities, fmt.Sprintf("the intermediate %s of its chain had ended when the certificate came: clients may refuse it; ask the CA for a newer chain", r.Ended))
	}
	return oddities
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
