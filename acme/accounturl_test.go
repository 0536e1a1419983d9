package acme_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/acme/acmetest"
)

// refuseAccount has the CA refuse what is signed for an account URL that it does not know as it does.
func refuseAccount(c *ca, refusal http.HandlerFunc, url string) {
	c.intercept = func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
		sent, err := newRequest(r)
		if err != nil {
			return nil, err
		}
		if sent.protected["kid"] == url {
			return handlerTransport{refusal}.RoundTrip(r)
		}
		return next.RoundTrip(r)
	}
}

// A CA that has been moved refuses the account's old URL, though it knows the key: it is asked for the new one.
func TestAccountURLThatTheCARefuses(t *testing.T) {
	for _, refusal := range []http.HandlerFunc{
		answer(400, problem("malformed", "invalid key identifier")),
		answer(403, problem("unauthorized", "no such account")),
		answer(401, problem("unauthorized", "no such account")),
		answer(400, problem("accountDoesNotExist", "no such account")),
	} {
		inBubble(t, func(t *testing.T, c *ca) {
			const stale = "https://acmetest.invalid/old/account/1"
			c.client = &acme.Client{DirectoryURL: c.URL, HTTPClient: c.client.HTTPClient, Key: c.client.Key, AccountURL: stale}
			refuseAccount(c, refusal, stale)
			for range 2 {
				if _, err := c.issue(t, t.Context(), acme.Request{}); err != nil {
					t.Fatal(err)
				}
			}
			if account, err := c.client.GetAccount(t.Context()); err != nil || account.URL == stale {
				t.Errorf("account %+v, error %v", account, err)
			}
			if n := c.asked("newAccount"); n != 1 {
				t.Errorf("looked the account up %d times", n)
			}

			// What is asked for may be the account itself, and by many calls at once.
			c.client = c.withURL(stale)
			c.forget()
			var group sync.WaitGroup
			for range 5 {
				group.Go(func() {
					if account, err := c.client.GetAccount(t.Context()); err != nil || account.URL == stale {
						t.Errorf("account %+v, error %v", account, err)
					}
				})
			}
			group.Wait()
			if n := c.asked("newAccount"); n != 1 {
				t.Errorf("looked the account up %d times, for calls at once", n)
			}
		})
	}
}

// An account that one of the CA's replicas does not know for a moment, or for longer, costs no order.
func TestAccountMissingForAMoment(t *testing.T) {
	missing := func(n, status int) acmetest.Fault {
		return acmetest.Next(n, acmetest.Answer(status, "application/problem+json", problem("accountDoesNotExist", "no such account")))
	}
	for _, resource := range []string{"newOrder", "authorization", "challenge", "order", "finalize", "certificate"} {
		for n, status := range map[int]int{1: 400, 1000: 400, 1001: 404} {
			inBubble(t, func(t *testing.T, c *ca) {
				c.SetFaults(acmetest.On(resource, missing(n, status)))
				r := acme.Request{Key: newKey(t)}
				r.Before = func(_ context.Context, s acme.Step) error { r.OrderURL = s.OrderURL; return nil }
				_, err := c.issue(t, t.Context(), r)
				for range min(n-1, 2) {
					wantError(t, err, acme.ErrAccountDoesNotExist, "no such account")
					if _, lost := errors.AsType[*acme.OrderError](err); lost {
						t.Errorf("%s: the order was given up: %v", resource, err)
					}
					_, err = c.issue(t, t.Context(), r)
				}
				if n > 1 {
					c.SetFaults()
					_, err = c.issue(t, t.Context(), r)
				}
				if err != nil || len(c.Orders()) != 1 {
					t.Errorf("%s, %d times: error %v, %d orders", resource, n, err, len(c.Orders()))
				}
			})
		}
	}
}

// The account's right URL is found before its key is changed.
func TestChangeKeyOfAnAccountThatWasMoved(t *testing.T) {
	inBubble(t, func(t *testing.T, c *ca) {
		const stale = "https://acmetest.invalid/old/account/1"
		c.client = c.withURL(stale)
		refuseAccount(c, answer(400, problem("malformed", "invalid key identifier")), stale)
		if err := c.client.ChangeKey(t.Context(), newKey(t)); err != nil {
			t.Error(err)
		}
	})
}

// A refusal that is about something else costs one look at the account at most, and stays as it is.
func TestRefusalsThatAreNotAboutTheAccount(t *testing.T) {
	inBubble(t, func(t *testing.T, c *ca) {
		c.SetFaults(acmetest.On("newOrder", c.Problem(400, "malformed", "a name has an underscore")))
		for range 3 {
			_, err := c.issue(t, t.Context(), acme.Request{})
			wantError(t, err, acme.ErrMalformed, "a name has an underscore")
			if strings.Contains(err.Error(), "account") {
				t.Errorf("the account is blamed: %v", err)
			}
		}
		if n := c.asked("newAccount"); n > 0 {
			t.Errorf("looked the account up %d times, though it had just been made", n)
		}

		c.SetFaults()
		c.client = c.withURL(c.accountURL(t))
		c.forget()
		if _, err := c.issue(t, t.Context(), acme.Request{}); err != nil {
			t.Fatal(err)
		}
		c.SetFaults(acmetest.On("newOrder", c.Problem(400, "malformed", "a name has an underscore")),
			acmetest.On("order", c.Problem(403, "unauthorized", "the order is another's")))
		_, err := c.issue(t, t.Context(), acme.Request{})
		wantError(t, err, acme.ErrMalformed, "a name has an underscore")
		_, err = c.issue(t, t.Context(), acme.Request{OrderURL: c.Orders()[0].URL})
		wantError(t, err, acme.ErrUnauthorized, "the order is another's")
		if n := c.asked("newAccount"); n > 0 {
			t.Errorf("looked the account up %d times, though the CA had taken its URL", n)
		}
	})
}

// An account that the CA has not, nor one for the key, is to be registered.
func TestAccountThatTheCALost(t *testing.T) {
	inBubble(t, func(t *testing.T, c *ca) {
		const lost = "https://acmetest.invalid/account/lost"
		c.client = &acme.Client{DirectoryURL: c.URL, HTTPClient: c.client.HTTPClient, Key: newKey(t), AccountURL: lost}
		refuseAccount(c, answer(403, problem("unauthorized", "unknown")), lost)
		_, err := c.issue(t, t.Context(), acme.Request{})
		wantError(t, err, acme.ErrAccountDoesNotExist, lost, "register it", "unknown")
		if strings.Count(err.Error(), "acme: ") != 1 {
			t.Errorf("a doubled prefix: %v", err)
		}
	})
}

// What to do about a deactivated account is said, whoever deactivated it.
func TestDeactivatedAccountIsExplained(t *testing.T) {
	inBubble(t, func(t *testing.T, c *ca) {
		url := c.accountURL(t)
		if _, err := c.issue(t, t.Context(), acme.Request{}); err != nil {
			t.Fatal(err)
		}
		if err := c.withURL(url).DeactivateAccount(t.Context()); err != nil {
			t.Fatal(err)
		}
		for name, client := range map[string]*acme.Client{"used before": c.client, "with the URL": c.withURL(url), "with the key alone": c.withURL("")} {
			c.client = client
			_, err := c.issue(t, t.Context(), acme.Request{})
			wantError(t, err, acme.ErrUnauthorized, "register a new key")
			if client.AccountURL != "" {
				wantError(t, err, nil, url)
			}
			if _, lost := errors.AsType[*acme.OrderError](err); lost {
				t.Errorf("%s: %v", name, err)
			}
		}
		_, err := c.withURL("").Register(t.Context(), acme.Registration{AgreeToTerms: true})
		wantError(t, err, acme.ErrUnauthorized, "register a new key")
	})
}

func (c *ca) withURL(url string) *acme.Client {
	return &acme.Client{DirectoryURL: c.URL, HTTPClient: c.client.HTTPClient, Key: c.client.Key, AccountURL: url}
}

// However many calls begin at once, the account is looked up once, and registered by one at a time.
func TestOneRegistrationAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newUnregisteredCA(t, func(*acmetest.Server) {})
		var mu sync.Mutex
		now, most := 0, 0
		c.SetFaults(acmetest.On("newAccount", func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				now++
				most = max(most, now)
				mu.Unlock()
				time.Sleep(time.Second)
				next.ServeHTTP(w, r)
				mu.Lock()
				now--
				mu.Unlock()
			})
		}))
		var group sync.WaitGroup
		for range 5 {
			group.Go(func() {
				if _, err := c.client.Register(t.Context(), acme.Registration{AgreeToTerms: true}); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		if most != 1 {
			t.Errorf("%d registrations at once", most)
		}

		c.client = c.withURL("")
		c.forget()
		for range 5 {
			group.Go(func() {
				if _, err := c.client.GetAccount(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		if n := c.asked("newAccount"); n != 1 {
			t.Errorf("looked up %d times", n)
		}

		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		group.Go(func() { _, _ = c.client.Register(t.Context(), acme.Registration{AgreeToTerms: true}) })
		synctest.Wait()
		for _, call := range []func() error{
			func() error { return errOf(c.client.Register(ctx, acme.Registration{AgreeToTerms: true})) },
			func() error { return errOf(c.client.FindAccount(ctx)) },
			func() error { return errOf(c.withURL("").GetAccount(ctx)) },
		} {
			wantError(t, call(), context.DeadlineExceeded)
		}
		group.Wait()
	})
}

// A failed registration is repeated with the directory and a nonce that are there already.
func TestRegistrationsKeepWhatTheyLearnt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newUnregisteredCA(t, func(*acmetest.Server) {})
		c.SetFaults(acmetest.On("newAccount", acmetest.Next(3, c.Problem(500, "serverInternal", "no"))))
		for n := range 4 {
			_, err := c.client.Register(t.Context(), acme.Registration{AgreeToTerms: true})
			if (err == nil) != (n == 3) {
				t.Errorf("error %v", err)
			}
		}
		if c.asked("directory") != 1 || c.asked("newNonce") != 1 {
			t.Errorf("asked %d times for the directory, %d times for a nonce", c.asked("directory"), c.asked("newNonce"))
		}
	})
}

// A CA's failure to register may be about the external account, which some say in no other way.
func TestRegisterNamesTheExternalAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newUnregisteredCA(t, func(*acmetest.Server) {})
		c.SetFaults(acmetest.On("newAccount", acmetest.Answer(500, "application/problem+json", problem("serverInternal", "an error occurred"))))
		account := &acme.ExternalAccount{KeyID: "kid-7", MACKey: []byte(strings.Repeat("secret", 6))}
		_, err := c.client.Register(t.Context(), acme.Registration{AgreeToTerms: true, ExternalAccount: account})
		wantError(t, err, acme.ErrServerInternal, "external account", "kid-7")
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("the key is shown: %v", err)
		}
		_, err = c.client.Register(t.Context(), acme.Registration{AgreeToTerms: true})
		if strings.Contains(err.Error(), "external") {
			t.Errorf("there is no external account: %v", err)
		}
	})
}
