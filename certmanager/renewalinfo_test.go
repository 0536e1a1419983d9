package certmanager_test

import (
	"context"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/acme/acmetest"
	"github.com/everseal/everseal/certmanager"
)

// However many managers there are on one storage, a CA is asked about each certificate by one of them, as often as it says. When
// the one that asks ends, another takes over within a day.
func TestOneMemberPolls(t *testing.T) {
	for _, members := range []int{1, 2, 4} {
		t.Run(fmt.Sprint(members), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				ca := newInformingCA(t, "ca")
				names := []string{"a.example.com", "b.example.com", "c.example.com"}
				var stops []func()
				for i := range members {
					config := w.from(ca, names...)
					config.OnEvent = nil
					m, stop := w.start(config)
					if err := m.Wait(t.Context()); err != nil {
						t.Fatal(err)
					}
					stops = append(stops, stop)
					after(time.Duration(i) * time.Hour)
				}
				begun := time.Now()
				after(20 * day)
				for _, name := range names {
					// A period is six hours and a sixteenth of that at most; take-overs between members cost some at the beginning.
					if n := len(ca.asked(name)); n < 20*4*16/17-4 || n > 20*4+3*members {
						t.Errorf("%d polls for %s in %v", n, name, time.Since(begun))
					}
				}
				for _, stop := range stops[1:] {
					stop()
					after(2 * day)
					for _, name := range names {
						if n := len(ca.asked(name)); n < 2 || n > 2*4+3 {
							t.Errorf("%d polls for %s in two days after a member has ended", n, name)
						}
					}
				}
				stops[0]()
			})
		})
	}
}

// The first member ends after the second has come to rely on it: the second asks within a day.
func TestPollerIsSucceeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		ca := newInformingCA(t, "ca")
		_, stop := w.serving(w.from(ca, "example.com"))
		_, stopSecond := w.running(w.from(ca, "example.com"))
		defer stopSecond()
		after(5 * day)
		stop()
		ca.asked("")
		ended := time.Now()
		after(2 * day)
		questions := ca.asked("")
		if len(questions) == 0 || questions[0].at.Sub(ended) > day {
			t.Fatalf("nobody asks within a day: %v", questions)
		}
		after(4 * day)
		if n := len(ca.asked("")); n < 13 || n > 17 {
			t.Errorf("the second asks %d times in four days", n)
		}
	})
}

// memberDelay is how much later than planned a member renews at most, so that those of a fleet do not all do so at once.
const memberDelay = 10 * time.Minute

// The instant that was chosen stands through restarts, and while the window moves around it.
func TestChosenInstantIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		ca := newInformingCA(t, "ca")
		ca.suggests(func(leaf *x509.Certificate) *acme.RenewalInfo { return windowAt(leaf, 30*day, 10*day) })
		_, stop := w.serving(w.from(ca, "example.com"))
		obtained := time.Now()
		after(7 * time.Hour)
		stop()
		var chosen time.Time
		for i := range 6 {
			m, stop := w.running(w.from(ca, "example.com"))
			after(7 * time.Hour)
			s := statusOf(t, m, "example.com")
			if i == 0 {
				chosen = s.Next
			}
			if age := s.Next.Sub(obtained); s.Next.Sub(chosen).Abs() > memberDelay || age < 30*day || age > 40*day+time.Hour {
				t.Errorf("after %d restarts it is to be renewed at %v, before that at %v", i, s.Next, chosen)
			}
			if s.Action != certmanager.ActionRenew || s.State != certmanager.StateValid || s.Window.End.Sub(s.Window.Start) < 10*day || s.NextPoll.IsZero() || s.NextPoll.After(time.Now().Add(8*time.Hour)) {
				t.Errorf("the status is %+v", s)
			}
			stop()
			ca.suggests(func(leaf *x509.Certificate) *acme.RenewalInfo {
				return windowAt(leaf, chosen.Sub(leaf.NotBefore)-time.Duration(i+1)*time.Hour, 12*day)
			})
		}
		if n := ca.count(); n != 1 {
			t.Errorf("%d certificates", n)
		}
		_, stop = w.running(w.from(ca, "example.com"))
		defer stop()
		after(time.Until(chosen) + memberDelay)
		if event := w.await(certmanager.EventObtained, "example.com", 2); event.Time.Sub(chosen).Abs() > memberDelay {
			t.Errorf("it is renewed at %v, chosen was %v", event.Time, chosen)
		}
	})
}

// A CA is asked again when it says, within bounds.
func TestPollInterval(t *testing.T) {
	for _, test := range []struct {
		name               string
		retryAfter, config time.Duration
		want               time.Duration
	}{
		{"six hours", 6 * time.Hour, 0, 6 * time.Hour},
		{"an hour", time.Hour, 0, time.Hour},
		{"a second", time.Second, 0, time.Minute},
		{"nothing is said", 0, 0, 6 * time.Hour},
		{"in the past", -time.Hour, 0, 6 * time.Hour},
		{"a month", 30 * day, 0, day},
		{"a day is set", time.Hour, day, day},
		{"a week is set", time.Hour, 7 * day, 7 * day},
		{"a second is set", time.Hour, time.Second, time.Hour},
		{"none is to be asked", time.Hour, -1, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			informed(t, func(c *certmanager.Config) { c.RenewalInfoInterval = test.config }, func(w *world, ca *informingCA, m *certmanager.Manager) {
				ca.suggests(func(leaf *x509.Certificate) *acme.RenewalInfo {
					info := usualInfo(leaf)
					info.RetryAfter = test.retryAfter
					return info
				})
				began := time.Now()
				after(6*time.Hour + max(5*test.want, day))
				questions := ca.asked("")
				if test.want == 0 {
					if s := statusOf(t, m, "example.com"); len(questions) > 0 || !s.NextPoll.IsZero() {
						t.Errorf("it is asked %d times, %+v", len(questions), s)
					}
					return
				}
				if first := questions[0].at.Sub(began); first < 3*time.Hour || first > 6*time.Hour {
					t.Errorf("the first poll comes after %v", first)
				}
				for i := range questions[1:] {
					if wait := questions[i+1].at.Sub(questions[i].at); wait < test.want || wait > test.want*17/16 {
						t.Errorf("it is asked again after %v, want %v", wait, test.want)
					}
				}
				if len(questions) < 4 {
					t.Errorf("it is asked %d times", len(questions))
				}
			}, "example.com")
		})
	}
}

// A window in the past is acted on at the next poll, and told.
func TestWindowInThePast(t *testing.T) {
	var log logs
	informed(t, func(c *certmanager.Config) { c.Logger = log.logger() }, func(w *world, ca *informingCA, m *certmanager.Manager) {
		began := time.Now()
		after(20 * day)
		first := statusOf(t, m, "a.example.com").Serial
		ca.suggests(func(leaf *x509.Certificate) *acme.RenewalInfo {
			if leaf.NotBefore.After(began.Add(day)) {
				return usualInfo(leaf)
			}
			info := windowAt(leaf, -day, time.Hour)
			info.ExplanationURL = "https://ca.example.com/incident"
			return info
		})
		moved := time.Now()
		after(7 * time.Hour)
		for _, name := range []string{"a.example.com", "b.example.com"} {
			s, told := statusOf(t, m, name), w.await(certmanager.EventRescheduled, name, 1)
			if s.Serial == first || s.NotBefore.Before(moved.Truncate(time.Second)) {
				t.Errorf("it is not renewed: %+v", s)
			}
			if told.ExplanationURL != "https://ca.example.com/incident" || told.Next.After(told.Time) || told.Serial == s.Serial || told.Issuer != "ca" || told.NotAfter.IsZero() {
				t.Errorf("the event is %+v", told)
			}
			if s.ExplanationURL != "" {
				t.Errorf("what was said of its predecessor is said of %+v", s)
			}
		}
		if n := strings.Count(log.String(), "https://ca.example.com/incident"); n < 1 || n > 2 {
			t.Errorf("it is logged %d times:\n%s", n, log.String())
		}
		after(20 * day)
		if n := ca.count(); n != 4 {
			t.Errorf("%d certificates, want 4", n)
		}
	}, "a.example.com", "b.example.com")
}

// A CA that wants everything replaced at once, for ever, gets ever fewer certificates.
func TestWindowAlwaysInThePast(t *testing.T) {
	informed(t, nil, func(w *world, ca *informingCA, m *certmanager.Manager) {
		ca.suggests(func(leaf *x509.Certificate) *acme.RenewalInfo { return windowAt(leaf, -day, time.Hour) })
		began := time.Now()
		after(2 * time.Hour)
		if n := ca.count(); n != 1 {
			t.Errorf("%d certificates after two hours", n)
		}
		after(14*day - time.Since(began))
		if n := ca.count(); n < 6 || n > 11 {
			t.Errorf("%d certificates in two weeks", n)
		}
		ca.suggests(usualInfo)
		after(5 * day) // the next poll
		settled := ca.count()
		after(50 * day)
		if n := ca.count(); n != settled {
			t.Errorf("%d certificates when the CA has settled, and %d later", settled, n)
		}
	}, "example.com")
}

// A later window is obeyed, as far as a tenth of the lifetime is left.
func TestLaterWindow(t *testing.T) {
	for age, want := range map[time.Duration][2]time.Duration{
		70 * day: {70 * day, 72 * day},
		80 * day: {80 * day, 81 * day},
		85 * day: {81 * day, 81 * day},
	} {
		informed(t, nil, func(w *world, ca *informingCA, m *certmanager.Manager) {
			began := time.Now()
			ca.suggests(func(leaf *x509.Certificate) *acme.RenewalInfo { return windowAt(leaf, age, 2*day) })
			renewed := w.await(certmanager.EventObtained, "example.com", 2).Time.Sub(began)
			if renewed < want[0]-time.Second || renewed > want[1]+time.Second {
				t.Errorf("with a window at %v it is renewed after %v", age, renewed)
			}
		}, "example.com")
	}
}

// Whatever goes wrong with the questions, certificates are renewed by their age, and the CA is not hammered.
func TestNoRenewalInfo(t *testing.T) {
	window := func(start, end time.Time) func(context.Context, *x509.Certificate) (*acme.RenewalInfo, error) {
		return func(context.Context, *x509.Certificate) (*acme.RenewalInfo, error) {
			return &acme.RenewalInfo{SuggestedWindow: acme.Window{Start: start, End: end}}, nil
		}
	}
	failing := func(err error) func(context.Context, *x509.Certificate) (*acme.RenewalInfo, error) {
		return func(context.Context, *x509.Certificate) (*acme.RenewalInfo, error) { return nil, err }
	}
	year := func(y int) time.Time { return time.Date(y, 1, 1, 0, 0, 0, 0, time.UTC) }
	for _, test := range []struct {
		name        string
		inform      func(context.Context, *x509.Certificate) (*acme.RenewalInfo, error)
		least, most int // questions in four days
	}{
		{"its end first", window(year(2001), year(2000)), 12, 17},
		{"no window", window(time.Time{}, time.Time{}), 12, 17},
		{"an instant", window(year(2001), year(2001)), 12, 17},
		{"the year 9000", window(year(9000), year(9001)), 12, 17},
		{"nothing", failing(nil), 12, 17},
		{"not found", failing(&acme.Problem{Status: http.StatusNotFound, Type: acme.ErrMalformed}), 12, 17},
		{"out of order", failing(&acme.Problem{Status: http.StatusInternalServerError}), 15, 25},
		{"limited", failing(&acme.Problem{Status: http.StatusTooManyRequests, Type: acme.ErrRateLimited, RetryAfter: 12 * time.Hour}), 6, 9},
		{"unsupported", failing(fmt.Errorf("here: %w", errors.ErrUnsupported)), 4, 5},
		{"hangs", func(ctx context.Context, _ *x509.Certificate) (*acme.RenewalInfo, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}, 15, 25},
		{"panics", func(context.Context, *x509.Certificate) (*acme.RenewalInfo, error) { panic("at the disco") }, 12, 17},
	} {
		t.Run(test.name, func(t *testing.T) {
			informed(t, nil, func(w *world, ca *informingCA, m *certmanager.Manager) {
				before := statusOf(t, m, "example.com")
				ca.informs(test.inform)
				after(4*day + 6*time.Hour)
				if n := len(ca.asked("")); n < test.least || n > test.most {
					t.Errorf("it was asked %d times, want %d to %d", n, test.least, test.most)
				}
				s := statusOf(t, m, "example.com")
				if !s.Next.Equal(before.Next) || s.Failure != nil || s.Reason != "" || s.Serial != before.Serial || !s.Window.Start.IsZero() {
					t.Errorf("the status is %+v, before %+v", s, before)
				}
				if event := w.await(certmanager.EventObtained, "example.com", 2); !event.Time.Equal(before.Next) {
					t.Errorf("it is renewed at %v, want %v", event.Time, before.Next)
				}
			}, "example.com")
		})
	}
}

// A window that was suggested before is kept while the CA fails.
func TestWindowIsKeptWhileFailing(t *testing.T) {
	informed(t, nil, func(w *world, ca *informingCA, m *certmanager.Manager) {
		ca.suggests(func(leaf *x509.Certificate) *acme.RenewalInfo { return windowAt(leaf, 30*day, 2*day) })
		after(7 * time.Hour)
		chosen := statusOf(t, m, "example.com").Next
		ca.informs(func(context.Context, *x509.Certificate) (*acme.RenewalInfo, error) {
			return nil, &acme.Problem{Status: 500}
		})
		if event := w.await(certmanager.EventObtained, "example.com", 2); !event.Time.Equal(chosen) || time.Until(chosen) < -time.Minute {
			t.Errorf("it is renewed at %v, chosen was %v", event.Time, chosen)
		}
	}, "example.com")
}

// An endpoint that hangs holds up nothing: of many certificates one is asked about, and what is about to expire is renewed at its
// time.
func TestHangingRenewalInfoDelaysNothing(t *testing.T) {
	names := make([]string, 200)
	for i := range names {
		names[i] = fmt.Sprintf("n%d.example.com", i)
	}
	informed(t, func(c *certmanager.Config) { c.Workers = 4 }, func(w *world, ca *informingCA, m *certmanager.Manager) {
		ca.localCA.change(func(ca *localCA) { ca.lifetime = 8 * time.Hour })
		if err := m.Manage(certmanager.Subject{Names: []string{"short.example.com"}}); err != nil {
			t.Fatal(err)
		}
		w.await(certmanager.EventObtained, "short.example.com", 1)
		ca.localCA.change(func(ca *localCA) { ca.lifetime = 90 * day })
		ca.informs(func(ctx context.Context, _ *x509.Certificate) (*acme.RenewalInfo, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		synctest.Wait()
		due := statusOf(t, m, "short.example.com").Next
		if event := w.await(certmanager.EventObtained, "short.example.com", 2); event.Time.After(due.Add(time.Second)) {
			t.Errorf("it is renewed %v late", event.Time.Sub(due))
		}
		after(2 * day)
		if n := len(ca.asked("")); n > 25 || n < 5 {
			t.Errorf("the CA was asked %d times", n)
		}
		if ca.most != 1 {
			t.Errorf("%d questions were asked at once, though none was answered", ca.most)
		}
		ca.informs(nil)
		ca.asked("")
		after(13 * time.Hour) // six hours until the next probe
		if n := len(ca.asked("")); n < 200 || n > 650 {
			t.Errorf("%d questions when it answers again", n)
		}
	}, names...)
}

// An explanation is told once for each certificate, also if the program is started again, and one that nobody could open not at all.
func TestExplanation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		ca := newInformingCA(t, "ca")
		const explanation = "https://ca.example.com/why"
		explained := func(page string) func(leaf *x509.Certificate) *acme.RenewalInfo {
			return func(leaf *x509.Certificate) *acme.RenewalInfo {
				info := usualInfo(leaf)
				info.ExplanationURL = page
				return info
			}
		}
		ca.suggests(explained(explanation))
		m, stop := w.serving(w.from(ca, "example.com"))
		after(2 * day)
		s := statusOf(t, m, "example.com")
		if told := w.await(certmanager.EventRescheduled, "example.com", 1); told.ExplanationURL != explanation || s.Next.Sub(told.Next).Abs() > memberDelay || s.ExplanationURL != explanation {
			t.Errorf("%+v, %+v", told, s)
		}
		stop()
		m, stop = w.running(w.from(ca, "example.com"))
		defer stop()
		after(2 * day)
		if s := statusOf(t, m, "example.com"); s.ExplanationURL != explanation {
			t.Errorf("after a restart: %+v", s)
		}
		ca.suggests(explained("javascript:alert(1)\n"))
		after(2 * day)
		if s := statusOf(t, m, "example.com"); s.ExplanationURL != "" {
			t.Errorf("%+v", s)
		}
		if n := w.count(certmanager.EventRescheduled); n != 1 {
			t.Errorf("it is told %d times", n)
		}
	})
}

// Certificates that live for minutes or hours are gone before anybody asks.
func TestShortLivedIsNotPolled(t *testing.T) {
	for _, lifetime := range []time.Duration{5 * time.Minute, 5 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			ca := newInformingCA(t, "ca")
			ca.lifetime = lifetime
			_, stop := w.serving(w.from(ca, "example.com"))
			defer stop()
			after(10 * lifetime)
			if n := len(ca.asked("")); n > 0 || ca.count() < 10 {
				t.Errorf("with %v: %d questions, %d certificates", lifetime, n, ca.count())
			}
		})
	}
}

// What has left memory is polled for as what is in it.
func TestEvictedIsPolled(t *testing.T) {
	names := []string{"a.example.com", "b.example.com", "c.example.com", "d.example.com"}
	informed(t, func(c *certmanager.Config) { c.MaxLoaded = 1 }, func(w *world, ca *informingCA, m *certmanager.Manager) {
		began := time.Now()
		ca.suggests(func(leaf *x509.Certificate) *acme.RenewalInfo { return windowAt(leaf, 20*day, day) })
		after(day)
		for _, name := range names {
			if n := len(ca.asked(name)); n < 3 || n > 4 {
				t.Errorf("%d questions about %s", n, name)
			}
			if age := statusOf(t, m, name).Next.Sub(began); age < 20*day-time.Second || age > 21*day {
				t.Errorf("%s is to be renewed after %v", name, age)
			}
		}
		if n := m.Stats().Loaded; n > 1 {
			t.Errorf("%d certificates are in memory", n)
		}
		after(21 * day)
		if n := ca.count(); n != 8 {
			t.Errorf("%d certificates, want 8", n)
		}
	}, names...)
}

// Some of many certificates are pulled forward within an hour: each of them is replaced once, within the day, and no other.
func TestPulledForward(t *testing.T) {
	t.Parallel()
	n := 1000
	if raceDetector {
		n = 100
	}
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("n%d.example-%d.com", i, i%100)
	}
	informed(t, nil, func(w *world, ca *informingCA, m *certmanager.Manager) {
		after(13 * time.Hour)
		pulled := make(map[string]bool)
		for _, s := range statuses(m) {
			if rand.IntN(20) == 0 {
				pulled[s.Serial] = true
			}
		}
		ca.suggests(func(leaf *x509.Certificate) *acme.RenewalInfo {
			if pulled[hex.EncodeToString(leaf.SerialNumber.Bytes())] {
				return windowAt(leaf, time.Hour, time.Hour)
			}
			return usualInfo(leaf)
		})
		before := ca.count()
		after(7 * time.Hour)
		if got := ca.count() - before; got != len(pulled) {
			t.Errorf("%d are replaced within seven hours, want %d", got, len(pulled))
		}
		if told := w.count(certmanager.EventRescheduled); told != len(pulled) {
			t.Errorf("%d are told, want %d", told, len(pulled))
		}
		for _, s := range statuses(m) {
			if pulled[s.Serial] {
				t.Errorf("%v is not replaced", s.Names)
			}
		}
		after(13 * time.Hour)
		if got := ca.count() - before; got != len(pulled) {
			t.Errorf("%d are replaced in the end, want %d", got, len(pulled))
		}
	}, names...)
}

// Whenever a member's turn comes, it renews within the window: a CA's limits except nothing that comes after it.
func TestRenewedWithinTheWindow(t *testing.T) {
	names := make([]string, 200)
	for i := range names {
		names[i] = fmt.Sprintf("n%d.example-%d.com", i, i)
	}
	informed(t, nil, func(w *world, ca *informingCA, m *certmanager.Manager) {
		began := time.Now()
		ca.suggests(func(leaf *x509.Certificate) *acme.RenewalInfo { return windowAt(leaf, 20*day, time.Hour) })
		after(21 * day)
		for _, s := range statuses(m) {
			if age := s.NotBefore.Sub(began); age < 20*day-time.Minute || age > 20*day+time.Hour {
				t.Errorf("%v is renewed after %v", s.Names, age)
			}
		}
	}, names...)
}

// An ACME CA is asked without an account, through its directory, which is fetched once a day.
func TestRenewalInfoByACME(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		_, stop := w.serving(w.asking("example.com"))
		stop()
		before := w.ca.Requests()
		leaf := w.ca.Certificates()[0]
		w.ca.SetRenewalInfo(leaf.SerialNumber, acmetest.RenewalInfo{Start: leaf.NotBefore.Add(20 * day), End: leaf.NotBefore.Add(21 * day), ExplanationURL: "https://ca.example.com/why"})
		m, stop := w.running(w.asking("example.com"))
		defer stop()
		after(2 * day)
		s, requests := statusOf(t, m, "example.com"), w.ca.Requests()
		if age := s.Next.Sub(leaf.NotBefore); age < 20*day || age > 21*day || s.ExplanationURL != "https://ca.example.com/why" {
			t.Errorf("the status is %+v", s)
		}
		if n := requests["renewalInfo"]; n < 6 || n > 9 {
			t.Errorf("%d questions in two days", n)
		}
		if got, want := requests["directory"], before["directory"]+2; got != want || requests["newAccount"] != before["newAccount"] || requests["newNonce"] != before["newNonce"] {
			t.Errorf("requests %v, before %v", requests, before)
		}
		w.await(certmanager.EventObtained, "example.com", 2)
		if orders := w.ca.Orders(); len(orders) != 2 {
			t.Errorf("%d orders", len(orders))
		}
	})
}

// A caller of Renew does not wait for the issuer's word on when to renew.
func TestRenewDuringAPoll(t *testing.T) {
	informed(t, nil, func(w *world, ca *informingCA, m *certmanager.Manager) {
		asked := make(chan struct{}, 1)
		ca.informs(func(ctx context.Context, leaf *x509.Certificate) (*acme.RenewalInfo, error) {
			select {
			case asked <- struct{}{}:
			default:
			}
			<-ctx.Done()
			return nil, ctx.Err()
		})
		<-asked
		began := time.Now()
		if err := m.Renew(w.t.Context(), "a.example.com"); err != nil || time.Since(began) > 0 {
			t.Errorf("it is renewed after %v: %v", time.Since(began), err)
		}
	}, "a.example.com")
}
