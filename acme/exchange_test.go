package acme_test

import (
	"errors"
	"maps"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/acme/acmetest"
)

// An observer counts exchanges.
type observer struct {
	mu      sync.Mutex
	actions map[string]int
	last    acme.Exchange
}

func (o *observer) observe(x acme.Exchange) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.actions == nil {
		o.actions = make(map[string]int)
	}
	o.actions[x.Action]++
	o.last = x
}

// Each request that reaches the CA is told of, once and by the CA's own name for what it is for.
func TestObserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca, o := newUnregisteredCA(t, func(*acmetest.Server) {}), new(observer)
		ca.client.Observe = o.observe
		ctx := t.Context()
		if _, err := ca.client.Register(ctx, acme.Registration{AgreeToTerms: true}); err != nil {
			t.Fatal(err)
		}
		certificate, err := ca.client.Issue(ctx, acme.Request{Identifiers: []acme.Identifier{{Type: acme.TypeDNS, Value: "example.com"}}, Key: newKey(t), Solvers: []acme.Solver{ca.solver}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ca.client.GetRenewalInfo(ctx, certificate.Leaf); err != nil {
			t.Fatal(err)
		}
		if err := ca.client.RevokeCertificate(ctx, certificate.Leaf.Raw, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := ca.client.GetAccount(ctx); err != nil {
			t.Fatal(err)
		}
		for range ca.client.Orders(ctx) {
		}
		if _, err := ca.client.UpdateContact(ctx, nil); err != nil {
			t.Fatal(err)
		}
		if err := ca.client.ChangeKey(ctx, newKey(t)); err != nil {
			t.Fatal(err)
		}
		if want := ca.Requests(); !maps.Equal(o.actions, want) {
			t.Errorf("observed %v, the CA had %v", o.actions, want)
		}
		if len(o.actions) < 13 {
			t.Errorf("only %d kinds of request were made: %v", len(o.actions), o.actions)
		}
	})
}

// A refusal is told of with its status and problem, a lost answer with neither, and each further try for itself, with
// the time that it took.
func TestObserveFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca, o := newCA(t), new(observer)
		ca.client.Observe = o.observe
		if _, err := ca.client.GetOrder(t.Context(), ca.URL[:len(ca.URL)-len("directory")]+"order/none"); err == nil {
			t.Fatal("an order that does not exist was had")
		}
		if problem := new(acme.Problem); o.last.Status != http.StatusNotFound && o.last.Status != http.StatusUnauthorized || !errors.As(o.last.Err, &problem) || o.last.Action != "order" {
			t.Errorf("observed %+v", o.last)
		}
		o.actions = nil
		ca.intercept = func(*http.Request, http.RoundTripper) (*http.Response, error) {
			time.Sleep(7 * time.Second)
			return nil, errors.New("cut off")
		}
		if _, err := ca.client.GetAccount(t.Context()); err == nil {
			t.Fatal("an account was had")
		}
		if o.last.Status != 0 || o.last.Err == nil || o.last.Duration != 7*time.Second {
			t.Errorf("observed %+v", o.last)
		}
		if n := o.actions["account"] + o.actions["newNonce"]; n != 3 {
			t.Errorf("%d tries were observed: %v", n, o.actions)
		}
	})
}
