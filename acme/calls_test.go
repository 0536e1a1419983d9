package acme_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"testing"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/acme/acmetest"
)

// A scene is a CA with an account that has what a call is about.
type scene struct {
	*ca
	pending   *acme.Order       // whose name is to be proved
	challenge acme.Challenge    // of pending, with the answer in place
	ready     *acme.Order       // to be finalized
	issued    *acme.Certificate // that has come
	key       *ecdsa.PrivateKey // for ready, of issued
}

// prepare makes of the scene what the call needs.
func (s *scene) prepare(t *testing.T, c call) {
	t.Helper()
	var err error
	switch c.name {
	case "RevokeCertificate", "RevokeWithKey", "GetRenewalInfo", "GetCertificate":
		if s.issued, err = s.issue(t, t.Context(), acme.Request{Key: s.key}); err != nil {
			t.Fatal(err)
		}
	case "WaitOrder", "FinalizeOrder":
		ready := s.crash(t, acme.Request{Identifiers: identifiers(t, "ready.example"), Key: s.key}, acme.ActionFinalize)
		if s.ready, err = s.client.GetOrder(t.Context(), ready.OrderURL); err != nil || s.ready.Status != acme.StatusReady {
			t.Fatalf("order %+v, %v", s.ready, err)
		}
	case "GetOrder", "GetAuthorization", "DeactivateAuthorization", "AcceptChallenge":
		s.present(t)
	}
	s.forget()
}

// inScene runs f with a scene for the call in a bubble.
func inScene(t *testing.T, c call, f func(t *testing.T, s *scene)) {
	t.Helper()
	inBubble(t, func(t *testing.T, ca *ca) {
		s := &scene{ca: ca, key: newKey(t)}
		s.prepare(t, c)
		f(t, s)
	})
}

// present makes the order pending, with the answer to its challenge in place.
func (s *scene) present(t *testing.T) {
	t.Helper()
	var err error
	if s.pending, err = s.client.NewOrder(t.Context(), acme.OrderRequest{Identifiers: identifiers(t, "pending.example")}); err != nil {
		t.Fatal(err)
	}
	authorization, err := s.client.GetAuthorization(t.Context(), s.pending.Authorizations[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, challenge := range authorization.Challenges {
		if challenge.Type != acme.TypeHTTP01 {
			continue
		}
		s.challenge = challenge
		proof, err := s.client.NewProof(t.Context(), authorization, challenge)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.solver.Present(t.Context(), proof); err != nil {
			t.Fatal(err)
		}
	}
}

// anew returns a client that knows nothing but the account's key, as after a restart.
func (s *scene) anew() *acme.Client { return s.withKey(s.client.Key.(*ecdsa.PrivateKey)) }

func (c *ca) withKey(key *ecdsa.PrivateKey) *acme.Client {
	return &acme.Client{DirectoryURL: c.URL, HTTPClient: c.client.HTTPClient, Key: key}
}

// A call is one that a client makes across the network.
type call struct {
	name     string
	resource string // that it is about, by the names of acmetest.Server.Requests
	says     string // how its error names that
	bodiless bool   // the status of the answer is all that counts
	recovers bool   // where no good answer comes, another resource tells whether the CA acted
	do       func(ctx context.Context, s *scene) error
}

// calls returns every call of Client, and Issue once for each resource that it comes by.
func calls(t *testing.T) []call {
	t.Helper()
	all := append(accountCalls(t), orderCalls(t)...)
	for resource, says := range map[string]string{
		"newOrder": "new order", "authorization": "get authorization", "challenge": "accept challenge",
		"order": "order", "finalize": "finalize", "certificate": "get certificate",
	} {
		recovers := resource == "challenge" || resource == "finalize"
		all = append(all, call{"Issue", resource, says, false, recovers, func(ctx context.Context, s *scene) error {
			_, err := s.issue(t, ctx, acme.Request{})
			return err
		}})
	}
	return all
}

// unsigned reports whether the call is no POST and has no nonce.
func (c call) unsigned() bool {
	return c.resource == "directory" || c.resource == "newNonce" || c.resource == "renewalInfo"
}

// errOf drops the result of a call.
func errOf[T any](_ T, err error) error { return err }

func accountCalls(t *testing.T) []call {
	key := newKey(t)
	return []call{
		{"GetDirectory", "directory", "directory", false, false, func(ctx context.Context, s *scene) error { return errOf(s.anew().GetDirectory(ctx)) }},
		{"a first call", "newNonce", "nonce", true, false, func(ctx context.Context, s *scene) error { return errOf(s.anew().FindAccount(ctx)) }},
		{"Register", "newAccount", "register", false, false, func(ctx context.Context, s *scene) error {
			return errOf(s.withKey(key).Register(ctx, acme.Registration{AgreeToTerms: true}))
		}},
		{"FindAccount", "newAccount", "find account", false, false, func(ctx context.Context, s *scene) error { return errOf(s.client.FindAccount(ctx)) }},
		{"GetAccount", "account", "get account", false, false, func(ctx context.Context, s *scene) error { return errOf(s.client.GetAccount(ctx)) }},
		{"UpdateContact", "account", "update contact", false, false, func(ctx context.Context, s *scene) error {
			return errOf(s.client.UpdateContact(ctx, []string{"mailto:new@example.com"}))
		}},
		{"ChangeKey", "keyChange", "change key", true, true, func(ctx context.Context, s *scene) error { return s.client.ChangeKey(ctx, key) }},
		{"DeactivateAccount", "account", "deactivate account", false, false, func(ctx context.Context, s *scene) error { return s.client.DeactivateAccount(ctx) }},
		{"Orders", "orders", "orders", false, false, func(ctx context.Context, s *scene) error {
			for _, err := range s.client.Orders(ctx) {
				if err != nil {
					return err
				}
			}
			return nil
		}},
		{"RevokeCertificate", "revokeCert", "revoke certificate", true, false, func(ctx context.Context, s *scene) error {
			return s.client.RevokeCertificate(ctx, s.issued.Leaf.Raw, acme.ReasonSuperseded)
		}},
		{"RevokeWithKey", "revokeCert", "revoke certificate", true, false, func(ctx context.Context, s *scene) error {
			return s.client.RevokeWithKey(ctx, s.issued.Leaf.Raw, s.key, acme.ReasonKeyCompromise)
		}},
		{"GetRenewalInfo", "renewalInfo", "renewal info", false, false, func(ctx context.Context, s *scene) error {
			return errOf(s.client.GetRenewalInfo(ctx, s.issued.Leaf))
		}},
	}
}

func orderCalls(t *testing.T) []call {
	ids := identifiers(t, "other.example")
	return []call{
		{"NewOrder", "newOrder", "new order", false, false, func(ctx context.Context, s *scene) error {
			return errOf(s.client.NewOrder(ctx, acme.OrderRequest{Identifiers: ids}))
		}},
		{"GetOrder", "order", "get order", false, false, func(ctx context.Context, s *scene) error {
			return errOf(s.client.GetOrder(ctx, s.pending.URL))
		}},
		{"WaitOrder", "order", "order", false, false, func(ctx context.Context, s *scene) error {
			return errOf(s.client.WaitOrder(ctx, &acme.Order{URL: s.ready.URL, Status: acme.StatusPending})) // as it was
		}},
		{"FinalizeOrder", "finalize", "finalize", false, false, func(ctx context.Context, s *scene) error {
			csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{"ready.example"}}, s.key)
			if err != nil {
				return err
			}
			return errOf(s.client.FinalizeOrder(ctx, s.ready, csr))
		}},
		{"GetAuthorization", "authorization", "get authorization", false, false, func(ctx context.Context, s *scene) error {
			return errOf(s.client.GetAuthorization(ctx, s.pending.Authorizations[0]))
		}},
		{"NewAuthorization", "newAuthz", "new authorization", false, false, func(ctx context.Context, s *scene) error {
			return errOf(s.client.NewAuthorization(ctx, ids[0]))
		}},
		{"DeactivateAuthorization", "authorization", "deactivate authorization", false, false, func(ctx context.Context, s *scene) error {
			return s.client.DeactivateAuthorization(ctx, s.pending.Authorizations[0])
		}},
		{"AcceptChallenge", "challenge", "accept challenge", false, false, func(ctx context.Context, s *scene) error {
			return errOf(s.client.AcceptChallenge(ctx, s.challenge.URL, nil))
		}},
		{"GetCertificate", "certificate", "get certificate", false, false, func(ctx context.Context, s *scene) error {
			return errOf(s.client.GetCertificate(ctx, s.issued.URL))
		}},
	}
}

// fault makes the call's resource go wrong.
func (c call) fault(f acmetest.Fault) acmetest.Fault { return acmetest.On(c.resource, f) }

// TestCalls sees that each call does its work where nothing goes wrong, and asks for the resource that
// it is said to be about.
func TestCalls(t *testing.T) {
	for _, call := range calls(t) {
		t.Run(fmt.Sprint(call.name, " at ", call.resource), func(t *testing.T) {
			inScene(t, call, func(t *testing.T, s *scene) {
				if err := call.do(t.Context(), s); err != nil {
					t.Error(err)
				}
				if len(s.requests(call.resource)) == 0 {
					t.Errorf("%s was not asked for", call.resource)
				}
				s.wantFreshNonces(t)
			})
		})
	}
}

// wantFreshNonces checks that no signature and no nonce was sent twice (RFC 8555 §6.5).
func (c *ca) wantFreshNonces(t *testing.T) {
	t.Helper()
	sent := make(map[any]bool)
	for _, r := range c.requests("") {
		nonce := r.protected["nonce"]
		if r.method == "POST" && (nonce == nil || sent[nonce]) {
			t.Errorf("the nonce %v was sent twice, or there is none, in the request to %s", nonce, r.url)
		}
		sent[nonce] = true
	}
}
