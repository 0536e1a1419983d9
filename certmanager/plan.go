package certmanager

import (
	"math"
	"math/rand/v2"
	"time"
	"unique"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager/internal/lifecycle"
	"github.com/everseal/everseal/certmanager/internal/record"
	"github.com/everseal/everseal/certmanager/internal/schedule"
)

// An advice is what an issuer has said of when to renew a certificate, as the status shows it. The zero value is nothing.
type advice struct {
	start, end  uint32 // of the window, seconds since 1970
	explanation unique.Handle[string]
}

// adviceOf returns what the plan says. Times are cut to what 32 bits hold: until 2106.
func adviceOf(p *record.Plan) advice {
	seconds := func(t time.Time) uint32 { return uint32(min(max(t.Unix(), 1), math.MaxUint32)) }
	a := advice{start: seconds(p.Start), end: seconds(p.End)}
	if p.Explanation != "" {
		a.explanation = unique.Make(p.Explanation)
	}
	return a
}

// window returns what the issuer suggests; the zero Window: nothing.
func (a advice) window() acme.Window {
	if a.end == 0 {
		return acme.Window{}
	}
	return acme.Window{Start: time.Unix(int64(a.start), 0).UTC(), End: time.Unix(int64(a.end), 0).UTC()}
}

// page returns the URL of what explains it, or "".
func (a advice) page() string {
	if a.explanation == (unique.Handle[string]{}) {
		return ""
	}
	return a.explanation.Value()
}

// pollable returns the issuer of what an entry has, if it may be asked when to renew that; nil: not.
func (o *obtainer) pollable(f *facts) *gatedIssuer {
	if f == nil || f.imported || o.pollInterval < 0 || o.role == RoleServe {
		return nil
	}
	for _, issuer := range o.issuers {
		if issuer.ID() == f.issuer {
			if _, able := capability[renewalInformer](issuer); able {
				return issuer
			}
		}
	}
	return nil
}

// expectPoll says when a certificate that has come to be served from the storage is polled for first: when whoever obtained it
// has done so, if nobody did lately. Those that are loaded at once are spread.
func (o *obtainer) expectPoll(e *entry, r *record.Certificate) {
	e.roles.unset(polling | heeding)
	if o.pollable(e.held()) == nil {
		return
	}
	now := time.Now()
	at := now.Add(spreadOf(o.catalogue.index.Len()))
	first := r.Obtained.Add(schedule.FirstPoll(0, 1) + spreadOf(math.MaxInt32)/6)
	if first.After(at) && !record.IsAhead(r.Obtained, now) {
		at = first
	}
	e.progress.change(func(s *lifecycle.State) { s.PollAt(at) })
}

// expectOwnPoll says when a certificate that this process has just obtained is polled for first, and returns the plan to be kept:
// one that says something only if the issuer has wanted those before it replaced early.
func (k *keeping) expectOwnPoll(old *record.Plan) record.Plan {
	if k.pollable(k.entry.held()) == nil {
		return record.Plan{}
	}
	now, early := time.Now(), 0
	if own := k.stored[old.Issuer].Certificate; own != nil && old.Is(own.Issuer, own.Serial) {
		half := own.NotBefore.Add(own.End.Sub(own.NotBefore) / 2)
		if !old.Renewal.IsZero() && !now.Before(old.Renewal) && now.Before(half) {
			early = min(old.Early, math.MaxInt16) + 1
		}
	}
	next := now.Add(schedule.FirstPoll(early, rand.Float64()))
	k.entry.roles.set(polling)
	k.entry.progress.change(func(s *lifecycle.State) { s.PollAt(next) })
	if early == 0 {
		return record.Plan{}
	}
	return record.Plan{Issuer: k.issued.Issuer, Serial: k.issued.Serial, Polled: now, Next: next, Early: early}
}

// isKept reports whether somebody keeps to the plan: whoever polled last is not late with the next.
func isKept(p *record.Plan, now time.Time, patience time.Duration) bool {
	return now.Before(p.Next.Add(patience)) && !record.IsAhead(p.Polled, now)
}

// pollPatience returns how late a poll may be before another process makes it.
func pollPatience(p *record.Plan) time.Duration {
	return min(max(p.Next.Sub(p.Polled)/8, time.Minute), 30*time.Minute)
}

// standby is how long a process relies on another's polls, once that is known to make them, and up to a third longer. One that
// ends just before a look is seen to have done so by the next one, after its last plan: within a day, if polls are six hours apart.
const standby = 12 * time.Hour

// A planned entry is one that is renewed, and polled for, by a plan.
type planned struct{ *entry }

// nextLook returns when to look again at the plan of another process: once soon after its next poll, and if that was made, rarely.
func (e planned) nextLook(p *record.Plan, now time.Time) time.Time {
	patience := pollPatience(p)
	look := p.Next.Add(patience + rand.N(patience))
	e.roles.unset(polling)
	if !e.roles.has(heeding) {
		e.roles.set(heeding)
		return look
	}
	if rare := now.Add(standby + rand.N(standby/3)); rare.After(look) {
		return rare
	}
	return look
}

// follow has the certificate renewed by the plan, and polled for at a time, if it is the one that the plan is of.
func (e planned) follow(p *record.Plan, poll time.Time) bool {
	e.progress.mu.Lock()
	defer e.progress.mu.Unlock()
	f := e.held()
	if f == nil || f.imported || !p.Is(f.issuer, e.serial()) {
		return false
	}
	if !p.Renewal.IsZero() {
		due := p.Renewal
		if latest := schedule.Latest(time.Unix(f.begin, 0), f.end()); due.After(latest) {
			due = latest
		}
		e.progress.state.Move(due)
		e.progress.advice = adviceOf(p)
	}
	e.progress.state.PollAt(poll)
	e.noteLate()
	return true
}

// pollAt says when the certificate with the serial number is polled for next; zero: not at all.
func (e planned) pollAt(serial string, at time.Time) {
	e.progress.mu.Lock()
	defer e.progress.mu.Unlock()
	if e.serial() == serial {
		e.progress.state.PollAt(at)
	}
}
