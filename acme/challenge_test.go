package acme_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
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
