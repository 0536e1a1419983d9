package acme_test

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/acme/acmetest"
)

// A loss is a way that an answer does not come.
type loss struct {
	name  string
	acted bool // the CA has done what it was asked for
	again bool // the client cannot know, and asks again
	fault acmetest.Fault
}

func losses() []loss {
	return []loss{
		{"cut before the CA acted", false, true, acmetest.Cut()},
		{"cut after the CA acted", true, true, acmetest.CutAnswer()},
		{"cut in the answer's body", true, true, acmetest.CutBody()},
		{"a front end's error after the CA acted", true, false, acmetest.Edit(func(r *acmetest.Response) {
			r.Status, r.Header, r.Body = http.StatusBadGateway, http.Header{"Content-Type": {"text/html"}}, []byte("<html>")
		})},
	}
}

// counted counts the requests that a fault concerns.
func counted(n *atomic.Int32, fault acmetest.Fault) acmetest.Fault {
	return func(next http.Handler) http.Handler {
		faulty := fault(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			n.Add(1)
			faulty.ServeHTTP(w, r)
		})
	}
}

// A lostAnswer is what is lost of an issuance.
type lostAnswer struct {
	resource string
	from     acme.Action // the step from which on answers are lost; empty: from the beginning
	loss     loss
	times    int // that the answer is lost; zero: until the process starts again
}

// TestLostAnswersOfIssue loses the answer to each request of an issuance, once, twice or for good. The
// call ends in the certificate, or is made again by another process that knows the order's URL and
// the certificate's key; and then there is one order, but for those whose making was not heard of, and
// one certificate.
func TestLostAnswersOfIssue(t *testing.T) {
	for _, at := range []struct {
		resource string
		from     acme.Action
	}{
		{"directory", ""}, {"newNonce", ""}, {"newAccount", ""}, {"newOrder", ""}, {"authorization", acme.ActionAuthorize}, {"challenge", ""},
		{"order", acme.ActionPresent}, {"finalize", ""}, {"order", acme.ActionFinalize}, {"certificate", ""},
	} {
		for _, loss := range losses() {
			for _, times := range []int{1, 2, 0} {
				lost := lostAnswer{at.resource, at.from, loss, times}
				t.Run(fmt.Sprintf("%s %s/%s/%d times", at.resource, at.from, loss.name, times), func(t *testing.T) {
					inBubble(t, lost.test)
				})
			}
		}
	}
}

func (l lostAnswer) test(t *testing.T, c *ca) {
	var hits atomic.Int32
	fault := counted(&hits, l.loss.fault)
	if l.times > 0 {
		fault = acmetest.Next(l.times, fault)
	}
	c.client = c.withKey(c.client.Key.(*ecdsa.PrivateKey)) // knows neither directory nor account and has no nonces
	r := acme.Request{Key: newKey(t)}
	r.Before = func(_ context.Context, s acme.Step) error {
		r.OrderURL, r.Presented = s.OrderURL, append(r.Presented, s.Proofs...)
		if s.Action == l.from {
			c.SetFaults(acmetest.On(l.resource, fault))
		}
		return nil
	}
	if l.from == "" {
		c.SetFaults(acmetest.On(l.resource, fault))
	}
	certificate, err := c.issue(t, t.Context(), r)
	if err != nil {
		l.check(t, err)
		c.SetFaults()
		c.client, r.Before = c.withKey(c.client.Key.(*ecdsa.PrivateKey)), nil
		if certificate, err = c.issue(t, t.Context(), r); err != nil {
			t.Fatalf("resumed by another process: %v", err)
		}
	}
	c.wantChain(t, certificate)
	if !r.Key.Public().(*ecdsa.PublicKey).Equal(certificate.Leaf.PublicKey) || hits.Load() == 0 {
		t.Errorf("a certificate for another key, or nothing was lost (%d)", hits.Load())
	}
	unheard := 0 // orders whose making was not heard of
	if l.resource == "newOrder" && l.loss.acted {
		unheard = int(hits.Load())
	}
	if len(c.Certificates()) != 1 || len(c.Orders()) != 1+unheard {
		t.Errorf("%d certificates of %d orders, want one of %d", len(c.Certificates()), len(c.Orders()), 1+unheard)
	}
	if c.solver.left() != 0 {
		t.Errorf("%d answers to challenges are left", c.solver.left())
	}
	c.wantFreshNonces(t)
}

// check checks the error of an issuance: that there had to be one, and that the order can be resumed.
func (l lostAnswer) check(t *testing.T, err error) {
	t.Helper()
	if l.times > 0 && l.loss.again {
		t.Fatalf("given up for %d answers lost: %v", l.times, err)
	}
	if l.loss.acted && (l.resource == "finalize" || l.resource == "challenge") {
		t.Fatalf("given up though the order tells that the CA acted: %v", err)
	}
	var failed *acme.OrderError
	if errors.As(err, &failed) {
		t.Fatalf("the order is given up: %v", err)
	}
	wantPrintable(t, err.Error())
}

// TestLostAnswersOfCalls loses the answer to each call once. The call succeeds nevertheless, but where the
// CA refuses to do again what it has done: then the refusal says that it is done.
func TestLostAnswersOfCalls(t *testing.T) {
	refusals := map[string]error{"FinalizeOrder": acme.ErrOrderNotReady}
	for _, call := range slices.Concat(accountCalls(t), orderCalls(t)) {
		for _, loss := range losses() {
			if !loss.again {
				continue
			}
			t.Run(call.name+"/"+loss.name, func(t *testing.T) {
				inScene(t, call, func(t *testing.T, s *scene) {
					orders, certificates := len(s.Orders()), len(s.Certificates())
					s.SetFaults(call.fault(acmetest.Next(1, loss.fault)))
					err := call.do(t.Context(), s)
					if refusal := refusals[call.name]; loss.acted && refusal != nil {
						wantError(t, err, refusal, call.says)
					} else if err != nil {
						t.Error(err)
					}
					s.wantDone(t, call.name)
					if n := len(s.Orders()) - orders; n > 2 || n > 0 && call.name != "NewOrder" {
						t.Errorf("%d new orders", n)
					}
					if n := len(s.Certificates()) - certificates; n > 0 && call.name != "FinalizeOrder" || n > 1 {
						t.Errorf("%d new certificates", n)
					}
					s.wantFreshNonces(t)
				})
			})
		}
	}
}

// wantDone checks that the CA has done what the call asked for.
func (s *scene) wantDone(t *testing.T, call string) {
	t.Helper()
	s.SetFaults()
	switch call {
	case "UpdateContact":
		if account, err := s.client.GetAccount(t.Context()); err != nil || !slices.Equal(account.Contact, []string{"mailto:new@example.com"}) {
			t.Errorf("account %+v, %v", account, err)
		}
	case "ChangeKey":
		_, err := s.client.GetAccount(t.Context())
		wantError(t, err, acme.ErrMalformed) // signed by another key than the account's
	case "DeactivateAccount":
		_, err := s.client.GetAccount(t.Context())
		wantError(t, err, acme.ErrUnauthorized)
	case "RevokeCertificate", "RevokeWithKey":
		if _, revoked := s.Revoked(s.issued.Leaf.SerialNumber); !revoked {
			t.Error("the certificate is not revoked")
		}
	case "FinalizeOrder":
		if order, err := s.client.GetOrder(t.Context(), s.ready.URL); err != nil || order.Status != acme.StatusProcessing && order.Status != acme.StatusValid {
			t.Errorf("order %+v, %v", order, err)
		}
	case "DeactivateAuthorization":
		if a, err := s.client.GetAuthorization(t.Context(), s.pending.Authorizations[0]); err != nil || a.Status != acme.StatusDeactivated {
			t.Errorf("authorization %+v, %v", a, err)
		}
	case "AcceptChallenge":
		if order, err := s.client.WaitOrder(t.Context(), s.pending); err != nil || order.Status != acme.StatusReady {
			t.Errorf("order %+v, %v", order, err)
		}
	}
}

// TestLostAnswerToARegistration makes one account however often the answer is lost, also one that is
// bound to an external account.
func TestLostAnswerToARegistration(t *testing.T) {
	for _, loss := range losses() {
		for _, external := range []*acme.ExternalAccount{nil, {KeyID: "customer", MACKey: []byte("0123456789abcdef0123456789abcdef")}} {
			t.Run(fmt.Sprintf("%s/external=%t", loss.name, external != nil), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { registerWithLoss(t, loss, external) })
			})
		}
	}
}

func registerWithLoss(t *testing.T, loss loss, external *acme.ExternalAccount) {
	var known []string
	c := newUnregisteredCA(t, func(s *acmetest.Server) {
		s.OnAccount = func(a acmetest.Account) { known = append(known, a.ID) }
		if external != nil {
			s.ExternalAccounts = map[string][]byte{external.KeyID: external.MACKey}
		}
	})
	registration := acme.Registration{AgreeToTerms: true, ExternalAccount: external}
	for _, times := range []int{2, 10} {
		c.SetFaults(acmetest.On("newAccount", acmetest.Next(times, loss.fault)))
		if _, err := c.client.Register(t.Context(), registration); err != nil && times == 2 && loss.again {
			t.Errorf("given up for two answers lost: %v", err)
		}
	}
	c.SetFaults()
	account, err := c.client.Register(t.Context(), registration)
	if err != nil {
		t.Fatal(err)
	}
	if len(known) != 1 || account.URL != c.client.DirectoryURL[:len(c.client.DirectoryURL)-len("directory")]+"account/"+known[0] {
		t.Errorf("accounts %q, registered as %s", known, account.URL)
	}
	c.wantFreshNonces(t)
}

// CAs refuse a challenge that is no longer pending, and some refuse one that is processing. That must not
// end an order that goes well.
func TestLostAnswerToAChallengeThatIsRefusedAgain(t *testing.T) {
	for name, host := range map[string]string{"goes well": "192.0.2.1", "fails": ""} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, c *ca) {
				c.SetHost("*", host)
				refusal := c.Problem(http.StatusBadRequest, "malformed", "Cannot update challenge with status valid, only status pending")
				c.SetFaults(acmetest.On("challenge", func(next http.Handler) http.Handler {
					first := acmetest.Next(1, acmetest.CutAnswer())(next)
					var asked atomic.Int32
					return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						if asked.Add(1) == 1 {
							first.ServeHTTP(w, r)
						} else {
							refusal(next).ServeHTTP(w, r)
						}
					})
				}))
				_, err := c.issue(t, t.Context(), acme.Request{})
				if host != "" {
					if err != nil {
						t.Fatal(err)
					}
					return
				}
				wantError(t, err, acme.ErrDNS, "example.com", "does not resolve")
			})
		})
	}
}

// A process that ends while the CA validates or issues finds, when it starts again, how far the CA has come.
func TestIssueResumesAfterTheDeadline(t *testing.T) {
	for _, resource := range []string{"authorization", "challenge", "order", "finalize", "certificate"} {
		t.Run(resource, func(t *testing.T) {
			inBubble(t, func(t *testing.T, c *ca) {
				r := acme.Request{Key: newKey(t)}
				r.Before = func(_ context.Context, s acme.Step) error {
					r.OrderURL, r.Presented = s.OrderURL, append(r.Presented, s.Proofs...)
					return nil
				}
				c.SetFaults(acmetest.On(resource, acmetest.DelayAnswer(time.Hour)))
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				start := time.Now()
				_, err := c.issue(t, ctx, r)
				wantError(t, err, context.DeadlineExceeded)
				if took := time.Since(start); took != time.Minute {
					t.Errorf("it took %v, want the minute there was", took)
				}
				c.SetFaults()
				c.client, r.Before = c.withKey(c.client.Key.(*ecdsa.PrivateKey)), nil
				if _, err := c.issue(t, t.Context(), r); err != nil {
					t.Fatal(err)
				}
				if len(c.Certificates()) != 1 || len(c.Orders()) != 1 || c.solver.left() != 0 {
					t.Errorf("%d certificates of %d orders, %d answers left", len(c.Certificates()), len(c.Orders()), c.solver.left())
				}
			})
		})
	}
}
