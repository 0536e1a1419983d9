package peers

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/acme/acmetest"
)

// But for the package's name this file is the same in the modules of the tests against Pebble and against step-ca. Here
// are the deviations that take more than one call, or another one than Issue.

// signedWith limits a fault to requests of which a member of the signed header has the value.
func signedWith(member, value string, fault acmetest.Fault) acmetest.Fault {
	return func(next http.Handler) http.Handler {
		faulty := fault(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				panic(http.ErrAbortHandler)
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
			var signed struct{ Protected string }
			_ = json.Unmarshal(body, &signed) // a GET has none
			header, _ := base64.RawURLEncoding.DecodeString(signed.Protected)
			members := make(map[string]any)
			_ = json.Unmarshal(header, &members)
			if members[member] == value {
				faulty.ServeHTTP(w, r)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// A CA that takes accounts with RSA keys only says so, and a caller that reads it makes such a key.
func TestAccountKeysThatTheCADoesNotTake(t *testing.T) {
	s := newStage(t)
	refusal := problem("badSignatureAlgorithm", "no such algorithm")
	refusal["algorithms"] = []string{"RS256"}
	s.edit(signedWith("alg", "ES256", refuse(http.StatusBadRequest, refusal)))
	_, err := s.client.Register(within(t), acme.Registration{AgreeToTerms: true})
	wantsError(t, err, acme.ErrBadSignatureAlgorithm, "takes account keys for RS256")
	if refused, ok := errors.AsType[*acme.Problem](err); !ok || !slices.Equal(refused.Algorithms, []string{"RS256"}) {
		t.Fatalf("Register: %v", err)
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	s.client.Key = key
	s.register(t)
	s.issueOne(t, s.request(t))
}

// A CA that knows the key and not the account's URL is asked once for the right one.
func TestAccountURLsThatTheCARefuses(t *testing.T) {
	moved := func(s *stage, account string) string { return "https://old.test" + strings.TrimPrefix(account, s.URL) }
	unknown := func(_ *stage, account string) string { return account + "0" }
	for _, test := range []struct {
		name    string
		url     func(s *stage, account string) string
		refusal acmetest.Fault // nil: the CA's own
	}{
		{"of another host", moved, nil},
		{"of an unknown account", unknown, nil},
		{"malformed", moved, refuse(400, problem("malformed", "invalid key identifier"))},
		{"unauthorized", unknown, refuse(403, problem("unauthorized", "no such account"))},
		{"unauthorized, by another status", unknown, refuse(401, problem("unauthorized", "no such account"))},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newStage(t)
			account, err := s.client.Register(within(t), acme.Registration{AgreeToTerms: true})
			if err != nil {
				t.Fatal(err)
			}
			key, stale := s.client.Key, test.url(s, account.URL)
			s.client = s.newClient(t, stale)
			s.client.Key = key
			if test.refusal != nil {
				s.edit(signedWith("kid", stale, test.refusal))
			}
			s.issueOne(t, s.request(t))
			if found, err := s.client.GetAccount(within(t)); err != nil || found.URL != account.URL {
				t.Errorf("account %+v, %v", found, err)
			}
			if n := s.asked("newAccount"); n != 2 {
				t.Errorf("%d requests for accounts, want one to make it and one to find it", n)
			}
			// Nor does the CA know this key.
			s.client = s.newClient(t, stale)
			_, err = s.client.Issue(within(t), s.request(t))
			wantsError(t, err, acme.ErrAccountDoesNotExist, stale, "register it")
			s.wantsIssued(t, 1, 1)
		})
	}
}

// What no CA takes is refused before any is asked.
func TestEarlyRefusals(t *testing.T) {
	s := newStage(t)
	key := bytes.Repeat([]byte{7}, 32)
	for _, external := range []*acme.ExternalAccount{
		{KeyID: "kid-1\n", MACKey: key}, {KeyID: "kid 1", MACKey: key}, {KeyID: "kid\x00", MACKey: key}, {MACKey: key},
		{KeyID: "kid-1"}, {KeyID: "kid-1", MACKey: key, Algorithm: "RS256"},
	} {
		_, err := s.client.Register(within(t), acme.Registration{AgreeToTerms: true, ExternalAccount: external})
		wantsError(t, err, nil, "external account")
	}
	_, err := acme.ParseIdentifier("a_b." + name)
	wantsError(t, err, nil, "'_'")
	r := s.request(t)
	r.Identifiers[0].Value = "a_b." + name
	if _, err := s.client.Issue(within(t), r); err == nil {
		t.Error("an underscore was ordered")
	}
	if n := s.total(); n > 0 {
		t.Errorf("the CA was asked %d times", n)
	}
}

// An invalid order that does not tell what failed is asked about by every authorization that it ever had.
func TestInvalidOrdersThatHideWhy(t *testing.T) {
	names := []string{"a." + name, "b." + name, "c." + name}
	culprit := names[2]
	for _, test := range []struct {
		name string
		hide func(order map[string]any, failed string)
	}{
		{"null", func(order map[string]any, _ string) { order["authorizations"] = nil }},
		{"absent", func(order map[string]any, _ string) { delete(order, "authorizations") }},
		{"the valid ones alone", func(order map[string]any, failed string) {
			order["authorizations"] = slices.DeleteFunc(order["authorizations"].([]any), func(url any) bool { return url == failed })
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newStage(t)
			s.register(t)
			s.culprit.Store(&culprit)
			failed := "" // set before the CA is told of any answer
			hide := func(order map[string]any) {
				delete(order, "error")
				test.hide(order, failed)
			}
			r := s.request(t, names...)
			onlyHTTP01(&r)
			keep(&r)
			note := r.Before
			r.Before = func(ctx context.Context, step acme.Step) error {
				for _, p := range step.Proofs {
					if p.Identifier.Value == culprit {
						failed = p.AuthorizationURL
					}
				}
				return note(ctx, step)
			}
			s.edit(editOrders("invalid", hide))
			wantsCulprit(t, s, r, culprit)
			// Who resumes the order has the authorizations from the proofs. step-ca leaves the order pending.
			s.edit(on("order", editJSON(func(order map[string]any) {
				order["status"] = "invalid"
				hide(order)
			})))
			wantsCulprit(t, s, r, culprit)
			s.wantsIssued(t, 1, 0)
			if n := s.asked("newOrder"); n != 1 {
				t.Errorf("%d requests for orders", n)
			}
		})
	}
}

// wantsCulprit fails the test unless Issue says that the order failed for the name.
func wantsCulprit(t *testing.T, s *stage, r acme.Request, culprit string) {
	t.Helper()
	_, err := s.client.Issue(within(t), r)
	order, lost := errors.AsType[*acme.OrderError](err)
	if !lost || len(order.Authorizations) != 1 {
		t.Fatalf("Issue: %v; want an order that failed for one name", err)
	}
	if a := order.Authorizations[0]; a.Identifier != culprit || a.ChallengeType != acme.TypeHTTP01 || a.Problem == nil {
		t.Errorf("it failed for %v, want %s", a, culprit)
	}
	if acme.IsOutage(err) {
		t.Errorf("%v is taken for an outage", err)
	}
}

// An order that is processed for ever is given up in the end, and until then the error says that the CA was asked.
func TestOrdersThatAreProcessedForEver(t *testing.T) {
	s := newStage(t)
	s.register(t)
	r := s.request(t)
	s.stop(t, &r, acme.ActionDownload)
	r.Before = nil
	s.edit(editOrders("valid", func(order map[string]any) {
		order["status"] = "processing"
		delete(order, "certificate")
	}), on("order", acmetest.WithHeader("Retry-After", "50"))) // more than the context allows
	_, err := s.client.Issue(within(t), r)
	wantsError(t, err, context.DeadlineExceeded, "processing after 1 polls")
	wantsOrderLost(t, err, false)
	if strings.Contains(err.Error(), "come back") {
		t.Errorf("the CA did answer: %v", err)
	}
	again := r
	again.FinalizedAt = time.Now().Add(-time.Hour)
	_, err = s.client.Issue(within(t), again)
	wantsError(t, err, nil, "given up: the CA processes it since "+again.FinalizedAt.UTC().Format(time.RFC3339))
	wantsOrderLost(t, err, true)
	s.edit()
	s.issueOne(t, r)
}

// A challenge that the CA forgot is accepted anew by the next attempt, with the same order. That the same attempt does
// so after about a minute is tried with package acmetest.
func TestChallengesThatTheCAForgot(t *testing.T) {
	s := newStage(t)
	s.register(t)
	ctx, cancel := context.WithCancel(within(t))
	defer cancel()
	s.edit(on("challenge", accepted("pending", nil)), on("order", acmetest.Edit(func(*acmetest.Response) { cancel() })))
	r := s.request(t)
	keep(&r)
	_, err := s.client.Issue(ctx, r)
	wantsError(t, err, context.Canceled)
	wantsOrderLost(t, err, false)
	s.edit()
	s.issueOne(t, r)
	if n := s.asked("challenge"); n != 2 {
		t.Errorf("accepted %d times, want 2", n)
	}
}

// accepted answers that a challenge is accepted, of which the CA learns nothing.
func accepted(status string, trouble map[string]any) acmetest.Fault {
	return func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			challenge := map[string]any{"type": "http-01", "status": status, "url": "https://" + r.Host + r.URL.Path}
			if trouble != nil {
				challenge["error"] = trouble
			}
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(encode(challenge))
		})
	}
}

// What keeps the CA from validating is said, whether it keeps trying or waits to be asked again; and the order gives
// its certificate once nothing keeps it.
func TestCausesThatTheCAShows(t *testing.T) {
	trouble := problem("connection", "connection refused by 192.0.2.1")
	for _, test := range []struct {
		status string
		says   string
		polls  int
	}{
		{"processing", "the CA keeps trying", 1},
		{"pending", "accept again", 0},
	} {
		t.Run(test.status, func(t *testing.T) {
			s := newStage(t)
			s.register(t)
			s.edit(
				on("challenge", accepted(test.status, trouble)),
				on("order", acmetest.WithHeader("Retry-After", "50")), // more than the context allows
				editChallenges(func(challenge map[string]any) {
					if s.asked("challenge") > 0 {
						challenge["status"], challenge["error"] = test.status, trouble
					}
				}))
			r := s.request(t)
			onlyHTTP01(&r)
			keep(&r)
			_, err := s.client.Issue(within(t), r)
			failed, ok := errors.AsType[*acme.AuthorizationError](err)
			if !ok || failed.Identifier != name || failed.ChallengeType != acme.TypeHTTP01 {
				t.Errorf("Issue: %v", err)
			}
			wantsError(t, err, acme.ErrConnection, test.says, "connection refused by 192.0.2.1")
			wantsOrderLost(t, err, false)
			if s.asked("order") != test.polls {
				t.Errorf("%d polls, want %d", s.asked("order"), test.polls)
			}
			s.edit()
			s.issueOne(t, r)
		})
	}
}

// A CA that fails while it validates is told from one that refuses.
func TestValidationsThatEndInAnOutage(t *testing.T) {
	s := newStage(t)
	s.register(t)
	culprit := name
	s.culprit.Store(&culprit)
	s.edit(editChallenges(func(challenge map[string]any) {
		if challenge["status"] == "invalid" {
			challenge["error"] = problem("serverInternal", "no resolver answers")
		}
	}))
	r := s.request(t)
	onlyHTTP01(&r)
	_, err := s.client.Issue(within(t), r)
	wantsError(t, err, acme.ErrServerInternal, "no resolver answers")
	wantsOrderLost(t, err, true)
	if !acme.IsOutage(err) {
		t.Errorf("%v is taken for a refusal", err)
	}
	if n := s.asked("newOrder"); n != 1 {
		t.Errorf("%d requests for orders", n)
	}
}

// A resource that the CA lists and does not have is unsupported.
func TestListedResourcesThatAreNotThere(t *testing.T) {
	s := newStage(t)
	s.register(t)
	certificate, err := s.client.Issue(within(t), s.request(t))
	if err != nil {
		t.Fatal(err)
	}
	for resource, call := range map[string]func(context.Context) error{
		"keyChange": func(ctx context.Context) error { return s.client.ChangeKey(ctx, newKey(t)) },
		"revokeCert": func(ctx context.Context) error {
			return s.client.RevokeCertificate(ctx, certificate.Chain[0], acme.ReasonUnspecified)
		},
		"orders": func(ctx context.Context) error {
			for _, err := range s.client.Orders(ctx) {
				return err
			}
			return nil
		},
	} {
		for _, test := range []struct {
			fault       acmetest.Fault
			unsupported bool
		}{
			{refuse(501, problem("rejectedIdentifier", "not implemented")), true},
			{acmetest.Answer(405, "text/plain", "method not allowed"), true},
			{acmetest.Answer(404, "text/html", "<html>"), true},
			{missing(), false},
			{acmetest.Answer(500, "text/html", "<html>"), false},
		} {
			s.edit(on(resource, test.fault))
			if err := call(within(t)); err == nil || errors.Is(err, errors.ErrUnsupported) != test.unsupported {
				t.Errorf("%s: %v; unsupported: %t", resource, err, !test.unsupported)
			}
		}
	}
	s.wantsIssued(t, 1, 1)
}

// A CA that fails to register may mean the external account, and the error says so.
func TestRegistrationsThatFailForTheExternalAccount(t *testing.T) {
	s := newStage(t)
	s.edit(on("newAccount", refuse(500, problem("serverInternal", "an error occurred"))))
	account := &acme.ExternalAccount{KeyID: "kid-7", MACKey: []byte(strings.Repeat("secret", 6))}
	_, err := s.client.Register(within(t), acme.Registration{AgreeToTerms: true, ExternalAccount: account})
	wantsError(t, err, acme.ErrServerInternal, "kid-7", "external account")
	tellsNoSecret(t, err.Error(), account)
}

// What to do about a deactivated account is said, whoever deactivated it, and nothing is ordered.
func TestAccountsThatAreDeactivated(t *testing.T) {
	s := newStage(t)
	account, err := s.client.Register(within(t), acme.Registration{AgreeToTerms: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.client.DeactivateAccount(within(t)); err != nil {
		t.Fatal(err)
	}
	used := s.client
	for _, url := range []string{used.AccountURL, account.URL, ""} {
		_, err := s.client.Issue(within(t), s.request(t))
		wantsError(t, err, acme.ErrUnauthorized, "register a new key")
		wantsOrderLost(t, err, false)
		s.client = s.newClient(t, url)
		s.client.Key = used.Key
	}
	s.wantsIssued(t, 0, 0)
}

// Many calls at once look the account up once, and a failed registration is repeated with the directory and a nonce that
// are there already.
func TestClientsKeepWhatTheyLearnt(t *testing.T) {
	s := newStage(t)
	failing := acmetest.Edit(func(r *acmetest.Response) {
		r.Status, r.Body = http.StatusInternalServerError, encode(problem("serverInternal", "no"))
		r.Header.Set("Content-Type", "application/problem+json")
	})
	s.edit(on("newAccount", acmetest.Next(3, failing)))
	for n := range 4 {
		if _, err := s.client.Register(within(t), acme.Registration{AgreeToTerms: true}); (err == nil) != (n == 3) {
			t.Errorf("Register: %v", err)
		}
	}
	if s.asked("directory") != 1 || s.asked("newNonce") != 1 {
		t.Errorf("asked %d times for the directory, %d times for a nonce", s.asked("directory"), s.asked("newNonce"))
	}
	key, before := s.client.Key, s.asked("newAccount")
	s.client = s.newClient(t, "")
	s.client.Key = key
	var calls sync.WaitGroup
	for range 5 {
		calls.Go(func() {
			if _, err := s.client.GetAccount(within(t)); err != nil {
				t.Error(err)
			}
		})
	}
	calls.Wait()
	if n := s.asked("newAccount") - before; n != 1 {
		t.Errorf("looked up %d times", n)
	}
}
