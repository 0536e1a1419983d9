package acme_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/acme/acmetest"
)

// A CA may offer challenges of types that came after this package, with members of any form. They are passed
// by, and the others are answered.
func TestUnknownChallengesArePassedBy(t *testing.T) {
	for name, odd := range map[string]string{
		"tokenless":             `{"type":"dns-persist-01","status":"pending","url":"/c","issuer-domain-names":["ca.example"]}`,
		"unknown":               `{"type":"quantum-99","status":"pending","url":"/c","token":"x","entangled":{"with":[1,2]}}`,
		"without anything":      `{}`,
		"null":                  `null`,
		"an odd status":         `{"type":"quantum-99","status":"entangled","url":"/c"}`,
		"a URL of another CA":   `{"type":"quantum-99","status":"pending","url":"https://other.example/c"}`,
		"a malformed URL":       `{"type":"quantum-99","status":"pending","url":"https://[::1"}`,
		"a token of its own":    `{"type":"quantum-99","status":"pending","url":"/c","token":{"a":1}}`,
		"a status of its own":   `{"type":"quantum-99","status":2,"url":"/c"}`,
		"names of another form": `{"type":"quantum-99","status":"pending","url":"/c","issuer-domain-names":"ca.example","issuerDomainNames":{}}`,
		"a nonce of its own":    `{"type":"quantum-99","status":"pending","url":"/c","nonce":7,"accounturi":[]}`,
		"a time of its own":     `{"type":"quantum-99","status":"pending","url":"/c","validated":"tomorrow"}`,
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, c *ca) {
				c.SetFaults(acmetest.On("authorization", acmetest.Edit(func(r *acmetest.Response) {
					r.Body = []byte(strings.Replace(string(r.Body), `"challenges":[`, `"challenges":[`+odd+`,`, 1))
				})))
				if _, err := c.issue(t, t.Context(), acme.Request{}); err != nil {
					t.Fatal(err)
				}
				if len(c.solver.presented) != 1 || c.solver.presented[0].Type != acme.TypeHTTP01 {
					t.Errorf("presented %+v", c.solver.presented)
				}
			})
		})
	}
}

// A recordSolver answers by the records that Proof.TXTRecord tells, which it leaves where they are.
type recordSolver struct {
	*solver
	mu      sync.Mutex
	records map[string][]string
}

func (s *recordSolver) Present(_ context.Context, p acme.Proof) error {
	name, value, err := p.TXTRecord()
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records[name] = append(s.records[name], value)
	s.server.SetTXT(name, s.records[name]...)
	return nil
}

func (s *recordSolver) CleanUp(context.Context, acme.Proof) error { return nil }

// Each type that is answered by a record is proved so, for a name and the wildcard beside it.
func TestIssueByRecords(t *testing.T) {
	for _, test := range []struct {
		kind   string
		hashed bool
	}{{acme.TypeDNS01, false}, {acme.TypeDNSAccount01, false}, {acme.TypeDNSPersist01, false}, {acme.TypeDNSPersist01, true}} {
		t.Run(fmt.Sprintf("%s hashed=%t", test.kind, test.hashed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newUnregisteredCA(t, func(s *acmetest.Server) {
					s.Challenges, s.HashedAccounts = []string{acme.TypeHTTP01, test.kind}, test.hashed
				})
				if _, err := c.client.Register(t.Context(), acme.Registration{AgreeToTerms: true}); err != nil {
					t.Fatal(err)
				}
				s := &recordSolver{solver: newSolver(test.kind, c.Server), records: make(map[string][]string)}
				ids := identifiers(t, "example.com", "*.example.com", "a.b.example.com")
				if _, err := c.issue(t, t.Context(), acme.Request{Identifiers: ids, Solvers: []acme.Solver{s}}); err != nil {
					t.Fatal(err)
				}
				if test.kind != acme.TypeDNSPersist01 {
					return
				}
				// The records stay, and are good for the next order without being touched.
				lazy := waitingSolver{solver: newSolver(test.kind, nil), supports: func(acme.Identifier, bool) bool { return true }}
				lazy.wait = func(context.Context, acme.Proof) error { return nil }
				if _, err := c.issue(t, t.Context(), acme.Request{Identifiers: ids, Solvers: []acme.Solver{lazy}}); err != nil {
					t.Errorf("the second time: %v", err)
				}
				stranger := c.withKey(newKey(t))
				if _, err := stranger.Register(t.Context(), acme.Registration{AgreeToTerms: true}); err != nil {
					t.Fatal(err)
				}
				c.client = stranger
				_, err := c.issue(t, t.Context(), acme.Request{Identifiers: ids, Solvers: []acme.Solver{lazy}})
				wantError(t, err, nil, "example.com", test.kind) // they are for another account
			})
		})
	}
}

// What is attested is judged by the CA from the payload.
func TestIssueByPayload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newUnregisteredCA(t, func(s *acmetest.Server) {
			s.OtherChallenges = map[string]acmetest.OtherChallenge{acme.TypeDeviceAttest01: {Validate: func(payload []byte) error {
				if string(payload) != `{"attObj":"right"}` {
					return errors.New("wrong device")
				}
				return nil
			}}}
		})
		if _, err := c.client.Register(t.Context(), acme.Registration{AgreeToTerms: true}); err != nil {
			t.Fatal(err)
		}
		for answer, want := range map[string]string{`{"attObj":"right"}`: "", `{"attObj":"other"}`: "wrong device"} {
			s := payloadSolver{newSolver(acme.TypeDeviceAttest01, nil), func(context.Context, acme.Proof) (json.RawMessage, error) {
				return json.RawMessage(answer), nil
			}}
			_, err := c.issue(t, t.Context(), acme.Request{Solvers: []acme.Solver{s}})
			if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
				t.Errorf("%s: error %v, want one that says %q", answer, err, want)
			}
		}
	})
}

// One proof for a domain does for its subdomains, in advance or with the order (RFC 9444).
func TestIssueForSubdomains(t *testing.T) {
	for _, inAdvance := range []bool{false, true} {
		t.Run(fmt.Sprintf("in advance=%t", inAdvance), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newUnregisteredCA(t, func(s *acmetest.Server) { s.SubdomainAuthorizations = true })
				if _, err := c.client.Register(t.Context(), acme.Registration{AgreeToTerms: true}); err != nil {
					t.Fatal(err)
				}
				ids := identifiers(t, "a.example.com", "b.c.example.com")
				if inAdvance {
					c.authorizeInAdvance(t, "example.com")
				} else {
					for i := range ids {
						ids[i].AncestorDomain = "example.com"
					}
				}
				s := newSolver(acme.TypeDNS01, c.Server)
				certificate, err := c.issue(t, t.Context(), acme.Request{Identifiers: ids, Solvers: []acme.Solver{s}})
				if err != nil {
					t.Fatal(err)
				}
				if got := namesOf(certificate.Leaf); !slices.Equal(got, valuesOf(ids)) {
					t.Errorf("the certificate is for %q", got)
				}
				for _, p := range s.presented {
					if p.Identifier.Value != "example.com" || inAdvance {
						t.Errorf("presented for %s", p.Identifier.Value)
					}
				}
			})
		})
	}
}

// authorizeInAdvance proves control of a domain with its subdomains.
func (c *ca) authorizeInAdvance(t *testing.T, domain string) {
	t.Helper()
	a, err := c.client.NewAuthorization(t.Context(), acme.Identifier{Type: acme.TypeDNS, Value: domain, SubdomainAuthAllowed: true})
	if err != nil || !a.SubdomainAuthAllowed {
		t.Fatalf("%+v, %v", a, err)
	}
	for _, challenge := range a.Challenges {
		if challenge.Type != acme.TypeDNS01 {
			continue
		}
		proof, err := c.client.NewProof(t.Context(), a, challenge)
		if err != nil {
			t.Fatal(err)
		}
		if err := newSolver(acme.TypeDNS01, c.Server).Present(t.Context(), proof); err != nil {
			t.Fatal(err)
		}
		if _, err := c.client.AcceptChallenge(t.Context(), challenge.URL, nil); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Wait()
	if a, err = c.client.GetAuthorization(t.Context(), a.URL); err != nil || a.Status != acme.StatusValid {
		t.Fatalf("%+v, %v", a, err)
	}
}

// A payloadSolver answers by what it sends to the CA itself.
type payloadSolver struct {
	*solver
	payload func(ctx context.Context, p acme.Proof) (json.RawMessage, error)
}

func (s payloadSolver) Payload(ctx context.Context, p acme.Proof) (json.RawMessage, error) {
	return s.payload(ctx, p)
}

// What a solver's Payload returns is what the CA is sent, once; its error ends the issuance.
func TestPayload(t *testing.T) {
	errNoDevice := errors.New("the device is gone")
	for _, test := range []struct {
		about   string
		payload json.RawMessage
		err     error
		want    string
	}{
		{"attestation", json.RawMessage(`{"attObj":"o2NmbXQ"}`), nil, `{"attObj":"o2NmbXQ"}`},
		{"none", nil, nil, `{}`},
		{"an error", nil, errNoDevice, ""},
		{"no JSON", json.RawMessage(`{"attObj":`), nil, ""},
	} {
		t.Run(test.about, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sent := ""
				f := hostileCA(strings.Replace(authorizationFor("example.com", "token"), "http-01", acme.TypeDeviceAttest01, 1))
				f["/challenge"] = func(w http.ResponseWriter, r *http.Request) {
					kept, err := newRequest(r)
					if err != nil {
						t.Error(err)
					}
					sent += kept.payload
					answer(403, problem("badAttestationStatement", "no"))(w, r) // which ends it
				}
				s := payloadSolver{newSolver(acme.TypeDeviceAttest01, nil), func(_ context.Context, p acme.Proof) (json.RawMessage, error) {
					if p.KeyAuthorization == "" || p.Identifier.Value != "example.com" {
						t.Errorf("proof %+v", p)
					}
					return test.payload, test.err
				}}
				_, err := f.client(t).Issue(t.Context(), acme.Request{Identifiers: identifiers(t, "example.com"), Key: newKey(t), Solvers: []acme.Solver{s}})
				wantError(t, err, test.err, "example.com", acme.TypeDeviceAttest01)
				if test.want != "" {
					wantError(t, err, acme.ErrBadAttestationStatement)
				}
				if sent != test.want {
					t.Errorf("sent %q, want %q", sent, test.want)
				}
				if s.left() != 0 {
					t.Error("the answer was not taken away")
				}
			})
		})
	}
}

// subdomainDirectory is that of a CA with authorizations for subdomains (RFC 9444).
const subdomainDirectory = `{"newNonce":"/newNonce","newAccount":"/newAccount","newOrder":"/newOrder","newAuthz":"/newAuthz","meta":{"subdomainAuthAllowed":true}}`

// What stands for a subdomain is a domain at or below the one that the order names (RFC 9444 §4.2), and
// nothing else.
func TestAncestorDomain(t *testing.T) {
	for _, test := range []struct {
		proved string // by the authorization
		good   bool
	}{
		{"example.com", true}, {"b.example.com", true}, {"a.b.example.com", true},
		{"com", false}, {"xample.com", false}, {"c.example.com", false}, {"z.a.b.example.com", false}, {"notexample.com", false}, {"other.example", false},
	} {
		t.Run(test.proved, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := hostileCA(authorizationFor(test.proved, "token"))
				f["/directory"] = answer(200, subdomainDirectory)
				order, err := newOrderAnswer(`[{"type":"dns","value":"a.b.example.com"}]`)
				if err != nil {
					t.Fatal(err)
				}
				var sent request
				f["/order"] = answer(200, order)
				f["/newOrder"] = func(w http.ResponseWriter, r *http.Request) {
					if sent, err = newRequest(r); err != nil {
						t.Error(err)
					}
					answer(201, order, "Location", "/order")(w, r)
				}
				f["/challenge"] = answer(403, problem("unauthorized", "enough"))
				id := identifiers(t, "a.b.example.com")[0]
				id.AncestorDomain = "example.com"
				s := newSolver(acme.TypeHTTP01, nil)
				_, err = f.client(t).Issue(t.Context(), acme.Request{Identifiers: []acme.Identifier{id}, Key: newKey(t), Solvers: []acme.Solver{s}})
				if err == nil {
					t.Fatal("no error")
				}
				if (len(s.presented) == 1) != test.good {
					t.Errorf("%d answers presented; %v", len(s.presented), err)
				}
				if want := `{"identifiers":[{"type":"dns","value":"a.b.example.com","ancestorDomain":"example.com"}]}`; sent.payload != want {
					t.Errorf("ordered %s, want %s", sent.payload, want)
				}
			})
		})
	}
}

func newOrderAnswer(identifiers string) (string, error) {
	order := map[string]any{"status": "pending", "identifiers": json.RawMessage(identifiers), "authorizations": []string{"/authorization"}, "finalize": "/finalize"}
	body, err := json.Marshal(order)
	return string(body), err
}

// What a CA does not offer is not asked for, and what makes no sense is refused before there is an order.
func TestSubdomainAuthorizationsAreRefused(t *testing.T) {
	bare := fake{"/newOrder": func(http.ResponseWriter, *http.Request) { t.Error("an order was asked for") }}
	bare["/directory"] = answer(200, strings.Replace(subdomainDirectory, "true", "false", 1))
	offering := fake{"/directory": answer(200, subdomainDirectory), "/newOrder": bare["/newOrder"]}
	id := identifiers(t, "a.example.com")[0]
	id.AncestorDomain = "example.com"
	_, err := bare.client(t).NewOrder(t.Context(), acme.OrderRequest{Identifiers: []acme.Identifier{id}})
	wantError(t, err, errors.ErrUnsupported, "AncestorDomain")
	_, err = bare.client(t).NewAuthorization(t.Context(), acme.Identifier{Type: acme.TypeDNS, Value: "example.com", SubdomainAuthAllowed: true})
	wantError(t, err, errors.ErrUnsupported, "SubdomainAuthAllowed")
	for _, ancestor := range []string{"a.example.com", "example.org", "xample.com", "Example.com", "*.example.com", "192.0.2.1", "com."} {
		id.AncestorDomain = ancestor
		_, err := offering.client(t).Issue(t.Context(), acme.Request{Identifiers: []acme.Identifier{id}, Key: newKey(t)})
		wantError(t, err, nil, "issue")
	}
}

// An authorization in advance that is good for subdomains is asked for and told so (RFC 9444 §4.1).
func TestSubdomainAuthorization(t *testing.T) {
	var sent request
	f := fake{"/directory": answer(200, subdomainDirectory)}
	f["/newAuthz"] = func(w http.ResponseWriter, r *http.Request) {
		var err error
		if sent, err = newRequest(r); err != nil {
			t.Error(err)
		}
		answer(201, strings.Replace(authorizationFor("example.com", "token"), "{", `{"subdomainAuthAllowed":true,`, 1), "Location", "/authorization")(w, r)
	}
	a, err := f.client(t).NewAuthorization(t.Context(), acme.Identifier{Type: acme.TypeDNS, Value: "example.com", SubdomainAuthAllowed: true})
	if err != nil || !a.SubdomainAuthAllowed || a.URL != fakeOrigin+"/authorization" {
		t.Errorf("%+v, %v", a, err)
	}
	if want := `{"identifier":{"type":"dns","value":"example.com","subdomainAuthAllowed":true}}`; sent.payload != want {
		t.Errorf("sent %s, want %s", sent.payload, want)
	}
}
