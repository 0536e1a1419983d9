package statuspage

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/solver/diagnose"
	"github.com/everseal/everseal/storage"
)

// Of a real manager the page has what a fake has here: the figures follow from the certificates.
type fake struct {
	certificates []certmanager.Status
	counts       certmanager.Counts
	budgets      []certmanager.Budget
	budgetsError error
	readings     int // of the budgets
}

func (f *fake) All() iter.Seq[certmanager.Status] { return slices.Values(f.certificates) }

func (f *fake) Stats() certmanager.Stats {
	now := time.Now()
	s := certmanager.Stats{States: make(map[certmanager.State]int), Deferred: make(map[certmanager.Reason]int),
		InFlight: map[string]int{issuerID: 0}, Loaded: len(f.certificates)}
	for i := range f.certificates {
		c := &f.certificates[i]
		s.States[c.State]++
		if c.Failure != nil {
			s.Failing++
		}
		if !c.Renewal.After(now) {
			s.Overdue++
		}
		if c.Reason != "" {
			s.Deferred[c.Reason]++
		}
		if c.State == certmanager.StateRenewing || c.State == certmanager.StateObtaining {
			s.InFlight[issuerID]++
			s.Running++
		}
		if !c.NotAfter.IsZero() && (s.EarliestEnd.IsZero() || c.NotAfter.Before(s.EarliestEnd)) {
			s.EarliestEnd = c.NotAfter
		}
		if c.Next.After(now) && (s.NextDue.IsZero() || c.Next.Before(s.NextDue)) {
			s.NextDue = c.Next
		}
	}
	return s
}

func (f *fake) Counts() certmanager.Counts { return f.counts }

func (f *fake) Budgets(ctx context.Context) ([]certmanager.Budget, error) {
	f.readings++
	return slices.Clone(f.budgets), errors.Join(f.budgetsError, ctx.Err())
}

// valid returns a certificate that was issued so many days ago for 90 days.
func valid(now time.Time, age int, names ...string) certmanager.Status {
	begin := now.Add(-time.Duration(age)*day24 - 37*time.Minute)
	renewal := begin.Add(60 * day24)
	return certmanager.Status{Names: names, KeyType: certmanager.ECDSAP256, State: certmanager.StateValid, Issuer: issuerID, Serial: "4a5f" + fmt.Sprintf("%012x", len(names[0])*7919),
		NotBefore: begin, NotAfter: begin.Add(90 * day24), Challenges: []string{"http-01"}, Validated: begin, Action: certmanager.ActionRenew, Next: renewal, Renewal: renewal,
		Window: acme.Window{Start: renewal.Add(-day24), End: renewal.Add(day24)}, NextPoll: now.Add(5 * time.Hour)}
}

const issuerID = "acme-v02.api.letsencrypt.org-8b5d4c7a"

const day24 = 24 * time.Hour

// failed returns the certificate as it is when its renewal fails.
func failed(s certmanager.Status, now time.Time, err error, found ...*diagnose.Report) certmanager.Status {
	s.Renewal = now.Add(-32 * time.Hour)
	s.Action, s.Next, s.Reason, s.Attempts, s.Since = certmanager.ActionRetry, now.Add(47*time.Minute), certmanager.ReasonBackoff, 4, now.Add(-31*time.Hour)
	s.Failure = &certmanager.Failure{Time: now.Add(-13 * time.Minute), Err: err, Diagnoses: found}
	return s
}

// without returns the certificate as it is before there is one.
func without(s certmanager.Status, state certmanager.State) certmanager.Status {
	return certmanager.Status{Names: s.Names, KeyType: s.KeyType, State: state, Action: certmanager.ActionObtain, Next: s.Next,
		Reason: s.Reason, Attempts: s.Attempts, Since: s.Since, Failure: s.Failure, Deferred: s.Deferred}
}

// newFake returns a source of so many certificates, some of which fail if there are many.
func newFake(now time.Time, n int) *fake {
	f := &fake{counts: newCounts(now, n), budgets: []certmanager.Budget{
		{Issuer: issuerID, CA: "Let’s Encrypt", Kind: certmanager.BudgetOrders, Count: 300, Per: 3 * time.Hour, Left: 288, Next: now.Add(21 * time.Second)},
		{Issuer: issuerID, CA: "Let’s Encrypt", Kind: certmanager.BudgetAccounts, Count: 10, Per: 3 * time.Hour, Left: 10},
	}}
	hosts := []string{"www", "mail", "shop", "api", "static", "intranet", "status"}
	for i := range n {
		domain := fmt.Sprintf("customer-%05d.example", i/len(hosts))
		names := []string{hosts[i%len(hosts)] + "." + domain}
		if i%5 == 0 {
			names = append(names, domain, "beta."+domain)
		}
		s := valid(now, (i*37+i/9)%59, names...)
		if n > 100 {
			s = disturbed(s, now, i%300)
		}
		f.certificates = append(f.certificates, s)
	}
	if n > 100 {
		f.budgets = append(f.budgets,
			certmanager.Budget{Issuer: issuerID, CA: "Let’s Encrypt", Kind: certmanager.BudgetDomain, Name: "customer-00006.example", Count: 50, Per: 7 * day24, Left: 0, Next: now.Add(2 * time.Hour), Corrected: now},
			certmanager.Budget{Issuer: issuerID, CA: "Let’s Encrypt", Kind: certmanager.BudgetFailures, Name: "shop.customer-00001.example", Count: 5, Per: time.Hour, Left: 1, Next: now.Add(9 * time.Minute)})
	}
	return f
}

// disturbed puts the certificate into one of the states that not all are in.
func disturbed(s certmanager.Status, now time.Time, i int) certmanager.Status {
	switch i {
	case 9:
		return failed(s, now, errors.New("certmanager: port 80 of 192.0.2.17 refuses connections: start the web server, or open the port; control was not proved: the CA says: "+
			"Fetching http://shop.customer-00001.example/.well-known/acme-challenge/…: Connection refused"), &diagnose.Report{Cause: diagnose.CausePortClosed,
			Reason: "port 80 of 192.0.2.17 (the A record of shop.customer-00001.example) refuses connections", Cure: "start the web server there, or let the firewall pass port 80"})
	case 46:
		s = without(failed(s, now, errors.New("certmanager: the CA refuses the name: urn:ietf:params:acme:error:rejectedIdentifier: the domain is on a list of names that it does not issue for")), certmanager.StateWaiting)
	case 120:
		s.State = certmanager.StateRenewing
	case 121, 122:
		s = without(s, certmanager.StateObtaining)
	case 200:
		s = failed(s, now, errors.New("certmanager: the CA does not answer: Post \"https://acme-v02.api.letsencrypt.org/acme/new-order\": context deadline exceeded"))
		s.State, s.NotBefore, s.NotAfter, s.Reason = certmanager.StateExpired, now.Add(-92*day24), now.Add(-2*day24), certmanager.ReasonIssuer
	case 201, 202, 203:
		s.Deferred, s.Reason, s.Next = "the budget of Let’s Encrypt for certificates of customer-00006.example is spent", certmanager.ReasonBudget, now.Add(2*time.Hour)
		s = without(s, certmanager.StateWaiting)
	}
	return s
}

func newCounts(now time.Time, n int) certmanager.Counts {
	c := certmanager.Counts{Since: now.Add(-44 * day24), Handshakes: map[certmanager.Outcome]int64{certmanager.OutcomeServed: 48_201_377, certmanager.OutcomeUnknown: 1204},
		Obtained: int64(n), Renewed: int64(n / 2), Failures: map[certmanager.FailureKind]int64{certmanager.FailureValidation: 7, certmanager.FailureIssuer: 2, certmanager.FailureKeys: 0},
		Storage: map[string]certmanager.CallCount{"load": {Calls: 21_400, Errors: 0}, "save": {Calls: 9_032, Errors: 1}, "list": {Calls: 88}, "delete": {Calls: 412}},
		Requests: []certmanager.Requests{
			{Issuer: issuerID, Action: "new-order", Statuses: map[int]int64{201: 960, 429: 3}, Durations: certmanager.Histogram{Sum: 190 * time.Second}},
			{Issuer: issuerID, Action: "finalize", Statuses: map[int]int64{200: 957}, Durations: certmanager.Histogram{Sum: 640 * time.Second}},
			{Issuer: issuerID, Action: "renewal-info", Statuses: map[int]int64{200: 51_000, 0: 12}, Durations: certmanager.Histogram{Sum: 4000 * time.Second}},
		}}
	for i := range 30 {
		d := certmanager.Day{Date: now.Truncate(day24).AddDate(0, 0, i-29)}
		if n <= 3 && i%13 == 4 {
			d.Renewed = 1
		}
		if n > 3 {
			d.Renewed, d.Obtained, d.Failed = n/60+n*(i*7%11)/900, n*(i%3)/150, n*(i*5%13/9)*(i%4)/300
		}
		c.Days = append(c.Days, d)
	}
	return c
}

// BenchmarkPage makes pages of 100,000 certificates: the first and the last, of a search, and as JSON.
func BenchmarkPage(b *testing.B) { benchmark(b, newHandler(newFake(time.Now(), 100_000))) }

// BenchmarkManager makes the same of a manager's, which are yet to be obtained.
func BenchmarkManager(b *testing.B) {
	var names []string
	for _, s := range newFake(time.Now(), 100_000).certificates {
		names = append(names, s.Names[0])
	}
	m, err := certmanager.New(certmanager.Config{Names: names, Issuers: []certmanager.Issuer{new(certmanager.LocalCA)}, Storage: new(storage.Memory)})
	if err != nil {
		b.Fatal(err)
	}
	benchmark(b, Handler(m))
}

func benchmark(b *testing.B, h http.Handler) {
	for name, url := range map[string]string{"first": "/", "last": "/?page=2000", "search": "/?name=api.customer-0777", "state": "/?state=failing&sort=next", "json": "/?format=json"} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				get(b, h, url)
			}
		})
	}
}
