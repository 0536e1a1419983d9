package acme_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/acme/acmetest"
)

// editJSON changes the objects that the CA answers with.
func editJSON(edit func(object map[string]any)) acmetest.Fault {
	return acmetest.Edit(func(r *acmetest.Response) {
		object := make(map[string]any)
		if json.Unmarshal(r.Body, &object) != nil {
			return // PEM, say
		}
		edit(object)
		body, err := json.Marshal(object)
		if err != nil {
			panic(err)
		}
		r.Body = body
	})
}

// editChallenges changes all challenges that stand in the CA's authorizations, and those it answers with.
func editChallenges(edit func(challenge map[string]any)) acmetest.Fault {
	return acmetest.All(
		acmetest.On("challenge", editJSON(edit)),
		acmetest.On("authorization", editJSON(func(authorization map[string]any) {
			for _, challenge := range authorization["challenges"].([]any) {
				edit(challenge.(map[string]any))
			}
		})))
}

// missing answers that what was asked for is not there.
func missing() acmetest.Fault {
	return acmetest.Answer(404, "application/problem+json", problem("malformed", "not found"))
}

// What real CAs answer, each seen in a public report, costs neither the order nor the certificate.
func TestIssueBearsDeviations(t *testing.T) {
	member := func(name string, value any) acmetest.Fault {
		return editJSON(func(object map[string]any) { object[name] = value })
	}
	for _, test := range []struct {
		name  string
		names []string // zero: example.com
		fault acmetest.Fault
	}{
		{"an authorization missing once", nil, acmetest.On("authorization", acmetest.Next(1, missing()))},
		{"an authorization missing three times", nil, acmetest.On("authorization", acmetest.Next(3, missing()))},
		{"an authorization missing without a word", nil, acmetest.On("authorization", acmetest.Next(1, acmetest.Answer(404, "text/html", "")))},
		{"a challenge missing once", nil, acmetest.On("challenge", acmetest.Next(1, missing()))},
		{"an order missing once", nil, acmetest.On("order", acmetest.Next(1, missing()))},
		{"an order missing six times", nil, acmetest.On("order", acmetest.Next(6, missing()))},
		{"finalize missing once", nil, acmetest.On("finalize", acmetest.Next(1, missing()))},
		{"a certificate missing three times", nil, acmetest.On("certificate", acmetest.Next(3, missing()))},
		{"no certificate in a valid order at first", nil, acmetest.On("order", acmetest.Next(2, editJSON(func(o map[string]any) { delete(o, "certificate") })))},

		{"an order's dates empty", nil, acmetest.All(member("expires", ""), member("notBefore", ""), member("notAfter", ""))},
		{"dates without a zone", nil, acmetest.All(member("expires", "2000-01-09T00:00:00"), member("notAfter", "2000-01-09 00:00"))},
		{"dates as numbers", nil, acmetest.All(member("expires", 947376000), member("notBefore", 1.5), member("notAfter", map[string]any{}))},
		{"an order's error as a string", nil, acmetest.On("order", member("error", ""))},
		{"an order's profile as an object", nil, acmetest.All(member("profile", map[string]any{}), member("replaces", 7))},
		{"wildcard as a string", nil, acmetest.On("authorization", member("wildcard", "false"))},
		{"wildcard as a number", nil, acmetest.On("authorization", member("wildcard", 0))},
		{"a challenge's date empty", nil, editChallenges(func(c map[string]any) { c["validated"] = "" })},
		{"a challenge's date as a number", nil, editChallenges(func(c map[string]any) { c["validated"] = 0 })},
		{"a challenge's error as a string", nil, editChallenges(func(c map[string]any) { c["error"] = "" })},
		{"an identifier's members of another type", nil, acmetest.All(
			acmetest.On("authorization", member("identifier", map[string]any{"type": "dns", "value": "example.com", "ancestorDomain": 7})),
			acmetest.On("order", member("identifiers", []any{map[string]any{"type": "dns", "value": "example.com", "subdomainAuthAllowed": "no"}})))},
		{"members of other types of challenge", nil, editChallenges(func(c map[string]any) {
			c["issuer-domain-names"], c["issuerDomainNames"], c["accounturi"], c["nonce"], c["authKey"] = 1, "x", []any{}, true, nil
		})},

		{"a wildcard named as it is", []string{"*.example.com"}, acmetest.On("authorization", editJSON(func(a map[string]any) {
			a["identifier"] = map[string]any{"type": "dns", "value": "*.example.com"}
		}))},
		{"a wildcard named as it is alone", []string{"*.example.com"}, acmetest.On("authorization", editJSON(func(a map[string]any) {
			a["identifier"] = map[string]any{"type": "dns", "value": "*.example.com"}
			delete(a, "wildcard")
		}))},
		{"a wildcard by its domain alone", []string{"*.example.com"}, acmetest.On("authorization", editJSON(func(a map[string]any) { delete(a, "wildcard") }))},
		{"wildcard as the string true", []string{"*.example.com"}, acmetest.On("authorization", member("wildcard", "true"))},
		{"another case, and a final dot", nil, acmetest.On("authorization", editJSON(func(a map[string]any) {
			a["identifier"] = map[string]any{"type": "dns", "value": "EXAMPLE.com."}
		}))},
		{"an address in another form", []string{"2001:db8::7"}, acmetest.All(
			acmetest.On("authorization", member("identifier", map[string]any{"type": "ip", "value": "2001:0DB8:0::0:7"})),
			acmetest.On("order", member("identifiers", []any{map[string]any{"type": "ip", "value": "2001:0DB8:0::0:7"}})))},
	} {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, c *ca) {
				if test.names == nil {
					test.names = []string{"example.com"}
				}
				if strings.HasPrefix(test.names[0], "*") {
					c.solver.kind = acme.TypeDNS01
				}
				c.SetFaults(test.fault)
				certificate, err := c.issue(t, t.Context(), acme.Request{Identifiers: identifiers(t, test.names...)})
				if err != nil {
					t.Fatal(err)
				}
				c.wantChain(t, certificate)
				if len(c.Orders()) != 1 || c.solver.left() != 0 {
					t.Errorf("%d orders; %d answers are left", len(c.Orders()), c.solver.left())
				}
			})
		})
	}
}

// An authorization for what was not ordered is none, in whatever form.
func TestAuthorizationsAreBoundToTheOrder(t *testing.T) {
	for _, identifier := range []map[string]any{
		{"type": "dns", "value": "*.example.com"},
		{"type": "dns", "value": "*.*.example.com"},
		{"type": "dns", "value": "www.example.com"},
		{"type": "ip", "value": "example.com"},
	} {
		inBubble(t, func(t *testing.T, c *ca) {
			c.SetFaults(acmetest.On("authorization", editJSON(func(a map[string]any) { a["identifier"] = identifier })))
			_, err := c.issue(t, t.Context(), acme.Request{})
			wantError(t, err, nil, "which was not ordered")
			if len(c.solver.presented) > 0 {
				t.Errorf("%v: presented %v", identifier, c.solver.presented)
			}
		})
	}
}

// What stays missing ends the attempt, not the order: resumed when it is there, that gives the certificate.
func TestResumeWhatWasMissing(t *testing.T) {
	for _, resource := range []string{"authorization", "challenge", "order", "finalize", "certificate"} {
		t.Run(resource, func(t *testing.T) {
			inBubble(t, func(t *testing.T, c *ca) {
				c.SetFaults(acmetest.On(resource, missing()))
				r := acme.Request{Key: newKey(t)}
				r.Before = func(_ context.Context, s acme.Step) error {
					r.OrderURL = s.OrderURL
					if s.Action == acme.ActionFinalize {
						r.FinalizedAt = time.Now()
					}
					return nil
				}
				start := time.Now()
				_, err := c.issue(t, t.Context(), r)
				wantError(t, err, acme.ErrMalformed, "not found")
				if _, lost := errors.AsType[*acme.OrderError](err); lost {
					t.Errorf("the order was given up: %v", err)
				}
				if n, took := c.asked(resource), time.Since(start); n < 4 || n > 20 || took < time.Second || took > time.Minute {
					t.Errorf("asked %d times in %v", n, took)
				}
				c.SetFaults()
				if _, err := c.issue(t, t.Context(), r); err != nil {
					t.Error(err)
				}
				if len(c.Orders()) != 1 {
					t.Errorf("%d orders", len(c.Orders()))
				}
			})
		})
	}
}

// An order that an earlier attempt left and the CA does not have is given up, unless it may have been finalized.
func TestResumeALostOrder(t *testing.T) {
	failing := acmetest.Answer(500, "application/problem+json", problem("serverInternal", "not found"))
	for _, test := range []struct {
		finalized time.Duration // ago; zero: never
		fault     acmetest.Fault
		lost      bool
	}{
		{0, missing(), true}, {time.Minute, missing(), false}, {time.Hour, missing(), true},
		{0, failing, false}, {time.Hour, failing, false}, {25 * time.Hour, failing, true}, {25 * time.Hour, acmetest.Cut(), false},
	} {
		inBubble(t, func(t *testing.T, c *ca) {
			r := c.crash(t, acme.Request{Key: newKey(t)}, acme.ActionAuthorize)
			if test.finalized > 0 {
				r.FinalizedAt = time.Now().Add(-test.finalized)
			}
			c.SetFaults(acmetest.On("order", test.fault))
			_, err := c.issue(t, t.Context(), r)
			wantError(t, err, nil, "get order")
			if _, lost := errors.AsType[*acme.OrderError](err); lost != test.lost {
				t.Errorf("finalized %v ago: %v", test.finalized, err)
			}
		})
	}
}

// An order waits for a person who has to act first.
func TestOrderOutlivesUserAction(t *testing.T) {
	for _, resource := range []string{"authorization", "challenge", "order", "finalize", "certificate"} {
		inBubble(t, func(t *testing.T, c *ca) {
			c.SetFaults(acmetest.On(resource, c.Problem(403, "userActionRequired", "the terms have changed")))
			r := acme.Request{Key: newKey(t)}
			r.Before = func(_ context.Context, s acme.Step) error { r.OrderURL = s.OrderURL; return nil }
			for range 2 {
				_, err := c.issue(t, t.Context(), r)
				wantError(t, err, acme.ErrUserActionRequired)
				if _, lost := errors.AsType[*acme.OrderError](err); lost {
					t.Errorf("%s: the order was given up: %v", resource, err)
				}
			}
			c.SetFaults()
			if _, err := c.issue(t, t.Context(), r); err != nil || len(c.Orders()) != 1 {
				t.Errorf("%s: error %v, %d orders", resource, err, len(c.Orders()))
			}
		})
	}
}

// A challenge that can't be read is said to be there.
func TestUnreadableChallenge(t *testing.T) {
	inBubble(t, func(t *testing.T, c *ca) {
		c.SetFaults(acmetest.On("authorization", editChallenges(func(c map[string]any) { c["token"] = 7 })))
		_, err := c.issue(t, t.Context(), acme.Request{})
		wantError(t, err, nil, "example.com", "http-01", "can't be read")
	})
}

// What is not offered, or not there, leaves no hole in the error.
func TestNoSolverForWhatIsOffered(t *testing.T) {
	for _, test := range []struct {
		solvers []acme.Solver
		fault   acmetest.Fault
		says    string
	}{
		{[]acme.Solver{}, nil, "offers (http-01, tls-alpn-01, dns-01); the solvers are for: none"},
		{nil, acmetest.On("authorization", editJSON(func(a map[string]any) { a["challenges"] = []any{nil, 7} })), "offers (none); the solvers are for: http-01"},
	} {
		inBubble(t, func(t *testing.T, c *ca) {
			c.SetFaults(test.fault)
			_, err := c.issue(t, t.Context(), acme.Request{Solvers: test.solvers})
			wantError(t, err, nil, test.says)
		})
	}
}

// An account in which nothing but the status is as it should be is good.
func TestOddAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newUnregisteredCA(t, func(*acmetest.Server) {})
		c.SetFaults(editJSON(func(account map[string]any) {
			if _, ok := account["status"]; ok {
				account["contact"], account["orders"], account["createdAt"], account["termsOfServiceAgreed"] = "mailto:a@example.com", 7, "", "yes"
			}
		}))
		if _, err := c.client.Register(t.Context(), acme.Registration{AgreeToTerms: true}); err != nil {
			t.Fatal(err)
		}
		account, err := c.client.GetAccount(t.Context())
		if err != nil || account.Status != acme.StatusValid || account.Orders != "" || account.Contact != nil {
			t.Errorf("account %+v, error %v", account, err)
		}
	})
}

// A resource that the CA lists and does not have is unsupported.
func TestListedResourcesThatAreNotThere(t *testing.T) {
	listed := []string{"keyChange", "revokeCert", "renewalInfo", "newAuthz", "orders"}
	tried := make(map[string]bool)
	for _, call := range calls(t) {
		if !slices.Contains(listed, call.resource) {
			continue
		}
		tried[call.resource] = true
		for _, answered := range []struct {
			fault       acmetest.Fault
			unsupported bool
		}{
			{acmetest.Answer(501, "application/problem+json", problem("rejectedIdentifier", "not implemented")), true},
			{acmetest.Answer(405, "text/plain", "method not allowed"), true},
			{acmetest.Answer(404, "text/html", "<html>"), true},
			{missing(), false},
			{acmetest.Answer(500, "text/html", "<html>"), false},
		} {
			inScene(t, call, func(t *testing.T, s *scene) {
				s.SetFaults(acmetest.On(call.resource, answered.fault))
				err := call.do(t.Context(), s)
				if err == nil || errors.Is(err, errors.ErrUnsupported) != answered.unsupported {
					t.Errorf("%s: error %v; unsupported: %t", call.name, err, !answered.unsupported)
				}
			})
		}
	}
	if len(tried) != len(listed) {
		t.Errorf("tried %v, want %v", tried, listed)
	}
	// That the account can't be looked up says nothing of the resource.
	inBubble(t, func(t *testing.T, c *ca) {
		c.SetFaults(acmetest.On("newAccount", acmetest.Answer(404, "text/html", "<html>")))
		err := c.withURL("").RevokeCertificate(t.Context(), []byte{1}, acme.ReasonUnspecified)
		wantError(t, err, nil, "find account")
		if errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("unsupported: %v", err)
		}
	})
}

// The words of a CA that wants a person to act say where.
func TestUserActionRequired(t *testing.T) {
	long := "https://ca.example/" + strings.Repeat("x", 3000)
	for _, test := range []struct {
		instance, terms string
		says, hides     []string
	}{
		{"https://ca.example/agree?a=1", "https://ca.example/terms/2", []string{"https://ca.example/agree?a=1", "https://ca.example/terms/2"}, nil},
		{"http://ca.example/agree", "ftp://ca.example/terms", nil, []string{"http:", "ftp:"}},
		{"javascript:alert(1)", "https://user:pass@ca.example/terms", nil, []string{"alert", "pass"}},
		{long, long, nil, []string{"xxx"}},
		{"https://ca.example/\u202e\u001b[31m", "https://ca.example/%1b", []string{"%1b"}, []string{"\u202e"}},
	} {
		document, err := json.Marshal(map[string]any{"type": acme.ErrUserActionRequired, "detail": "the terms have changed", "instance": test.instance})
		if err != nil {
			t.Fatal(err)
		}
		p, err := refuse(t, 403, string(document), "Link", fmt.Sprintf(`<%s>;rel="terms-of-service"`, test.terms))
		wantError(t, err, acme.ErrUserActionRequired, append(test.says, "the terms have changed")...)
		wantPrintable(t, err.Error())
		for _, hidden := range test.hides {
			if strings.Contains(err.Error(), hidden) {
				t.Errorf("%v shows %q", err, hidden)
			}
		}
		if len(test.says) == 2 && p.TermsOfService != test.terms {
			t.Errorf("terms %q, want %q", p.TermsOfService, test.terms)
		}
	}
	if p, _ := refuse(t, 403, problem("unauthorized", "no"), "Link", `<https://ca.example/terms>;rel="terms-of-service"`); p.TermsOfService != "" {
		t.Errorf("terms %q, though nobody asks for an action", p.TermsOfService)
	}
}

// A CA that takes no such key says which it takes.
func TestAlgorithmsAreTold(t *testing.T) {
	p, err := refuse(t, 400, `{"type":"urn:ietf:params:acme:error:badSignatureAlgorithm","detail":"no","algorithms":["RS256","\u001b[31m"]}`)
	wantError(t, err, acme.ErrBadSignatureAlgorithm, "RS256", "key")
	wantPrintable(t, err.Error())
	if len(p.Algorithms) != 2 || p.Algorithms[0] != "RS256" {
		t.Errorf("algorithms %q", p.Algorithms)
	}
	_, err = refuse(t, 400, `{"type":"urn:ietf:params:acme:error:badSignatureAlgorithm","algorithms":[`+strings.Repeat(`"RS256",`, 10_000)+`"x"]}`)
	wantPrintable(t, err.Error())
}

// What is asked for and what is done of it is said. What knows nothing of the CA's limits may ask for an hour.
func TestRetryAfterIsBounded(t *testing.T) {
	for _, test := range []struct {
		body   string
		header string
		want   time.Duration
		says   []string
	}{
		{problem("rateLimited", "slowly"), "600", 10 * time.Minute, []string{"asks to wait 10m0s"}},
		{problem("rateLimited", "slowly"), "604800", 168 * time.Hour, []string{"asks to wait 168h0m0s"}},
		{problem("rateLimited", "slowly"), "2592000", 168 * time.Hour, []string{"asks to wait 720h0m0s", "168h0m0s"}},
		{"<html>", "600", 10 * time.Minute, []string{"asks to wait 10m0s"}},
		{"<html>", "86400", time.Hour, []string{"asks to wait 24h0m0s", "1h0m0s"}},
		{"", "2592000", time.Hour, []string{"asks to wait 720h0m0s", "1h0m0s"}},
	} {
		p, err := refuse(t, http.StatusServiceUnavailable, test.body, "Retry-After", test.header)
		wantError(t, err, nil, test.says...)
		if p.RetryAfter != test.want {
			t.Errorf("%s with %q: %v, want %v", test.header, test.body, p.RetryAfter, test.want)
		}
		if cut := strings.Contains(err.Error(), "of which"); cut != (len(test.says) > 1) {
			t.Errorf("%v", err)
		}
	}
}

// A CA that fails is told from one that refuses.
func TestIsOutage(t *testing.T) {
	internal := &acme.Problem{Type: acme.ErrServerInternal, Detail: "x"}
	refusal := &acme.Problem{Type: acme.ErrUnauthorized, Status: 403}
	failed := func(problems ...*acme.Problem) error {
		order := new(acme.OrderError)
		for _, p := range problems {
			order.Authorizations = append(order.Authorizations, &acme.AuthorizationError{Identifier: "example.com", Problem: p})
		}
		return fmt.Errorf("certificate: %w", order)
	}
	for _, test := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{errors.New("connection refused"), false},
		{internal, true},
		{refusal, false},
		{&acme.Problem{Status: 503, Detail: "<html>"}, true},
		{&acme.Problem{Status: 503, Type: acme.ErrRateLimited}, false},
		{&acme.Problem{Status: 500, Type: acme.ErrUnauthorized}, true},
		{failed(internal), true},
		{failed(internal, internal), true},
		{failed(internal, refusal), false},
		{failed(nil), false},
		{failed(internal, nil), false},
		{&acme.OrderError{Problem: internal}, true},
		{&acme.OrderError{Problem: internal, Authorizations: []*acme.AuthorizationError{{Identifier: "example.com"}}}, true},
		{&acme.OrderError{Problem: refusal, Authorizations: []*acme.AuthorizationError{{Identifier: "example.com"}}}, false},
		{&acme.OrderError{Problem: internal, Authorizations: []*acme.AuthorizationError{{Identifier: "example.com", Problem: refusal}}}, false},
		{&acme.OrderError{Err: errors.New("it is for other names")}, false},
		{&acme.Problem{Type: acme.ErrCompound, Status: 403, Subproblems: []*acme.Problem{internal}}, true},
		{&acme.Problem{Type: acme.ErrCompound, Status: 500, Subproblems: []*acme.Problem{refusal, internal}}, false},
	} {
		if got := acme.IsOutage(test.err); got != test.want {
			t.Errorf("%v: %t, want %t", test.err, got, test.want)
		}
	}
	inBubble(t, func(t *testing.T, c *ca) {
		c.SetFaults(c.FailIssuance("serverInternal", "the HSM is down"))
		if _, err := c.issue(t, t.Context(), acme.Request{}); !acme.IsOutage(err) {
			t.Errorf("no outage: %v", err)
		}
	})
}
