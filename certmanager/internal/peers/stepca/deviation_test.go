package stepca

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/acme/acmetest"
)

// But for the package's name this file is the same in the modules of the tests against Pebble and against step-ca.
//
// What CAs are seen to do in public reports is edited into the answers of a real one, as little as needed. What takes
// long waits is tried with package acmetest alone, in bubbles of synctest: a challenge that is accepted once more after
// about a minute, and an order that is processed for 45 minutes in one attempt.

// name is the one that the orders are for.
const name = "example.test"

func (s *stage) register(t *testing.T) {
	t.Helper()
	if _, err := s.client.Register(within(t), acme.Registration{AgreeToTerms: true}); err != nil {
		t.Fatal(err)
	}
}

// request is one for the names, or else for name.
func (s *stage) request(t *testing.T, names ...string) acme.Request {
	t.Helper()
	if len(names) == 0 {
		names = []string{name}
	}
	return acme.Request{Identifiers: identifiers(t, names...), Key: newKey(t), Solvers: s.solvers}
}

// keep has the request note what is needed to resume its order.
func keep(r *acme.Request) {
	r.Before = func(_ context.Context, step acme.Step) error {
		r.OrderURL = step.OrderURL
		r.Presented = append(r.Presented, step.Proofs...)
		if step.Action == acme.ActionFinalize {
			r.FinalizedAt = time.Now()
		}
		return nil
	}
}

// stop has the request end before the action with an error, and what is needed to resume its order noted.
func (s *stage) stop(t *testing.T, r *acme.Request, action acme.Action) {
	t.Helper()
	keep(r)
	note, stopped := r.Before, errors.New("stopped here")
	r.Before = func(ctx context.Context, step acme.Step) error {
		if step.Action == action {
			return stopped
		}
		return note(ctx, step)
	}
	if _, err := s.client.Issue(within(t), *r); !errors.Is(err, stopped) {
		t.Fatalf("Issue returned %v", err)
	}
	keep(r)
}

// A deviation is what a CA answers otherwise than it should.
type deviation struct {
	name   string
	fault  acmetest.Fault
	names  []string            // of the order; nil: name
	change func(*acme.Request) // may be nil
}

// bearable are the deviations that cost nothing.
func bearable() []deviation {
	number := func(o map[string]any, names ...string) {
		for _, name := range names {
			o[name] = 947376000
		}
	}
	wildcard := []string{"*." + name}
	asOrdered := map[string]any{"type": "dns", "value": wildcard[0]}
	return []deviation{
		{name: "nothing"},
		{name: "an authorization missing once", fault: on("authorization", acmetest.Next(1, missing()))},
		{name: "an authorization missing without a word", fault: on("authorization", acmetest.Next(1, acmetest.Answer(404, "text/html", "")))},
		{name: "a challenge missing once", fault: on("challenge", acmetest.Next(1, missing()))},
		{name: "an order missing once", fault: on("order", acmetest.Next(1, missing()))},
		{name: "finalize missing once", fault: on("finalize", acmetest.Next(1, missing()))},
		{name: "a certificate missing once", fault: on("certificate", acmetest.Next(1, missing()))},
		{name: "a valid order without a certificate at first", fault: acmetest.All(
			on("finalize", editJSON(func(o map[string]any) { delete(o, "certificate") })),
			on("order", acmetest.Next(2, editJSON(func(o map[string]any) { delete(o, "certificate") }))))},

		{name: "empty dates", fault: acmetest.All(member("expires", ""), member("notBefore", ""), member("notAfter", ""))},
		{name: "dates without a zone", fault: acmetest.All(member("expires", "2000-01-09T00:00:00"), member("notAfter", "2000-01-09 00:00"))},
		{name: "dates as numbers", fault: editJSON(func(o map[string]any) { number(o, "expires", "notBefore", "notAfter", "createdAt") })},
		{name: "an order's error as a string", fault: everyOrder(member("error", ""))},
		{name: "an order's profile as an object", fault: everyOrder(acmetest.All(member("profile", map[string]any{}), member("replaces", 7)))},
		{name: "wildcard as a string", fault: on("authorization", member("wildcard", "false"))},
		{name: "wildcard as the string true", names: wildcard, fault: on("authorization", member("wildcard", "true"))},
		{change: onlyHTTP01, name: "a challenge's date empty", fault: editChallenges(func(c map[string]any) { c["validated"] = "" })},
		{change: onlyHTTP01, name: "a challenge's date as a number", fault: editChallenges(func(c map[string]any) { c["validated"] = 0 })},
		{change: onlyHTTP01, name: "a challenge's error as a string", fault: editChallenges(func(c map[string]any) { c["error"] = "" })},
		{name: "an odd account", fault: on("newAccount", editJSON(func(a map[string]any) {
			a["contact"], a["orders"], a["createdAt"], a["termsOfServiceAgreed"] = "mailto:a@example.com", 7, "", "yes"
		}))},

		{name: "a wildcard named as it is", names: wildcard, fault: on("authorization", acmetest.All(member("identifier", asOrdered), member("wildcard", true)))},
		{name: "a wildcard named as it is alone", names: wildcard, fault: on("authorization", editJSON(func(a map[string]any) {
			a["identifier"] = asOrdered
			delete(a, "wildcard")
		}))},
		{name: "a wildcard by its domain alone", names: wildcard, fault: on("authorization", editJSON(func(a map[string]any) { delete(a, "wildcard") }))},
		{name: "another case and a final dot", fault: on("authorization", member("identifier", map[string]any{"type": "dns", "value": "EXAMPLE.test."}))},

		{name: "nothing between the blocks", fault: editText(func(text string) string {
			return strings.ReplaceAll(text, "-----\n-----", "----------")
		})},
		{name: "a space between the blocks", fault: editText(func(text string) string { return strings.ReplaceAll(text, "-----\n-----", "----- -----") })},
		{name: "a byte-order mark", fault: on("certificate", editText(func(text string) string { return "\ufeff" + text }))},
		{name: "line ends of Windows", fault: on("certificate", editText(func(text string) string { return strings.ReplaceAll(text, "\n", "\r\n") }))},
		{name: "no last line end", fault: on("certificate", editText(strings.TrimSpace))},
		{name: "text before each block", fault: editText(func(text string) string {
			return strings.ReplaceAll(text, "-----BEGIN CERTIFICATE", "subject=CN = someone\n-----BEGIN CERTIFICATE")
		})},

		{name: "a CA that looks, and says that it waits", fault: on("challenge", member("status", "pending"))},
		{name: "too soon, once", fault: on("newOrder", acmetest.Next(1, refuse(503, problem("rateLimited", "slowly"), "Retry-After", "1")))},
		{name: "a heart, which IDNA 2008 does not have", names: []string{"xn--i-7iq." + name}},
		{name: "a common name", change: func(r *acme.Request) { r.CommonName = true }},
		{name: "a request with an organization", change: func(r *acme.Request) {
			subject := pkix.Name{CommonName: name, Organization: []string{"Example"}}
			der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: subject, DNSNames: []string{name}}, r.Key)
			if err != nil {
				panic(err)
			}
			r.CSR = der
		}},
	}
}

// What can end well ends in one certificate, from one order.
func TestDeviationsThatEndWell(t *testing.T) {
	for _, test := range bearable() {
		s := newStage(t)
		t.Run(test.name, func(t *testing.T) {
			t.Parallel() // some wait for a moment
			if test.fault != nil {
				s.edit(test.fault)
			}
			s.register(t)
			r := s.request(t, test.names...)
			if test.change != nil {
				test.change(&r)
			}
			certificate, err := s.client.Issue(within(t), r)
			if err != nil {
				t.Fatal(err)
			}
			s.verify(t, certificate, r)
			if len(certificate.Chain) != 2 || len(certificate.Warnings) > 0 {
				t.Errorf("a chain of %d, warnings %q", len(certificate.Chain), certificate.Warnings)
			}
			if named := r.CommonName || r.CSR != nil; keepsSubject && named && certificate.Leaf.Subject.CommonName != name {
				t.Errorf("the subject is %v", certificate.Leaf.Subject)
			}
			s.wantsIssued(t, 1, 1)
		})
	}
}

const unreadableBlock = "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----"

// What does not belong to the path from the leaf is left out with a warning, and costs nothing.
func TestChainsThatDeviate(t *testing.T) {
	stranger := newStranger(t, nil)
	// wrong is for an issuer that has the right one's name, and another key.
	wrong := func(right string) string {
		block, _ := pem.Decode([]byte(right + "\n"))
		parsed, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Error(err)
			return ""
		}
		return newStranger(t, parsed.RawSubject)
	}
	for _, test := range []struct {
		name     string
		edit     func(blocks []string) []string
		chain    int
		warnings int
	}{
		{"as it is", func(blocks []string) []string { return blocks }, 2, 0},
		{"an unrelated root after it", func(blocks []string) []string { return append(blocks, stranger) }, 2, 1},
		{"an unrelated root in it", func(blocks []string) []string { return []string{blocks[0], stranger, blocks[1]} }, 2, 1},
		{"a wrong intermediate before the right one", func(blocks []string) []string { return []string{blocks[0], wrong(blocks[1]), blocks[1]} }, 2, 1},
		{"a wrong intermediate instead of the right one", func(blocks []string) []string { return []string{blocks[0], wrong(blocks[1])} }, 1, 1},
		{"the leaf twice", func(blocks []string) []string { return []string{blocks[0], blocks[0], blocks[1]} }, 2, 1},
		{"all of it twice", func(blocks []string) []string { return append(blocks, blocks...) }, 2, 2},
		{"an unreadable block in it", func(blocks []string) []string { return []string{blocks[0], unreadableBlock, blocks[1]} }, 2, 1},
	} {
		s := newStage(t)
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s.register(t)
			s.edit(editBlocks(test.edit))
			r := s.request(t)
			certificate, err := s.client.Issue(within(t), r)
			if err != nil {
				t.Fatal(err)
			}
			if len(certificate.Chain) != test.chain || len(certificate.Warnings) != test.warnings {
				t.Errorf("a chain of %d, want %d; warnings %q", len(certificate.Chain), test.chain, certificate.Warnings)
			}
			if test.chain > 1 {
				s.verify(t, certificate, r)
			}
			s.wantsIssued(t, 1, 1)
		})
	}
}

// newStranger returns the certificate of an issuer that has nothing to do with the CA, in PEM.
func newStranger(t *testing.T, subject []byte) string {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "stranger"}, RawSubject: subject,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
}

// A failure is a deviation that ends the attempt.
type failure struct {
	name   string
	fault  acmetest.Fault
	change func(*acme.Request) // may be nil
	says   []string            // in the error
	is     error               // that errors.Is finds; may be nil
	orders int                 // that the CA makes; if they are not lost the certificate comes when they are resumed
	lost   bool                // the error is an *acme.OrderError
	outage bool                // the error is the CA's own
}

// refusals are deviations for which there is no order.
func refusals() []failure {
	ask := func(instance, terms string) acmetest.Fault {
		p := problem("userActionRequired", "the terms have changed")
		p["instance"] = instance
		return on("newOrder", refuse(403, p, "Link", "<"+terms+">;rel=\"terms-of-service\""))
	}
	frontEnd := acmetest.All(acmetest.WithHeader("Retry-After", "86400"), acmetest.Answer(503, "text/html", "<html>"))
	const page, terms = "https://ca.test/agree?a=1", "https://ca.test/terms/2"
	long := "ftp://ca.test/" + strings.Repeat("x", 3000)
	return []failure{
		{name: "an action to be taken", fault: ask(page, terms),
			says: []string{"the terms have changed", page, terms}, is: acme.ErrUserActionRequired},
		{name: "an action at URLs that no one should open", fault: ask("javascript:alert(1)", long),
			says: []string{"the terms have changed"}, is: acme.ErrUserActionRequired},
		{name: "a front end that asks to wait a day", fault: on("newOrder", frontEnd),
			says: []string{"asks to wait 24h0m0s", "1h0m0s are waited"}, outage: true},
		{name: "a CA that asks to wait a month", fault: on("newOrder", refuse(429, problem("rateLimited", "slowly"), "Retry-After", "2592000")),
			says: []string{"asks to wait 720h0m0s", "168h0m0s are waited"}, is: acme.ErrRateLimited},
		{name: "an outage", fault: on("newOrder", refuse(500, problem("serverInternal", "down"))),
			says: []string{"down"}, is: acme.ErrServerInternal, outage: true},
	}
}

// spoiledOrders are deviations of orders, and of what belongs to them.
func spoiledOrders() []failure {
	broken := func(order map[string]any) {
		order["status"] = "invalid"
		order["error"] = problem("serverInternal", "the HSM is down")
		delete(order, "certificate")
	}
	other := map[string]any{"type": "dns", "value": "other.test"}
	return []failure{
		{name: "an authorization missing", fault: on("authorization", missing()), orders: 1,
			says: []string{"not found"}, is: acme.ErrMalformed},
		{name: "a token that is no string", fault: editChallenges(func(c map[string]any) { c["token"] = 7 }), change: onlyHTTP01, orders: 1,
			says: []string{name, "http-01", "can't be read"}, lost: true},
		{name: "an authorization for what was not ordered", fault: on("authorization", member("identifier", other)), orders: 1,
			says: []string{"other.test", "which was not ordered"}, lost: true},
		{name: "an unknown status", fault: on("order", member("status", "done")), orders: 1,
			says: []string{"unknown status"}},
		{name: "an order that ends in an outage", fault: editOrders("valid", broken), orders: 1,
			says: []string{"the HSM is down"}, is: acme.ErrServerInternal, lost: true, outage: true},
	}
}

// spoiledCertificates are deviations of what was issued.
func spoiledCertificates(t *testing.T) []failure {
	t.Helper()
	unreadable := func(n int) acmetest.Fault {
		return editBlocks(func(blocks []string) []string {
			for i := range blocks[:n] {
				blocks[i] = unreadableBlock
			}
			return blocks
		})
	}
	reissued := func(name, says string, change func(*x509.Certificate)) failure {
		return failure{name: name, fault: reissue(t, change), orders: 1, says: []string{says}, lost: true}
	}
	return []failure{
		{name: "a certificate missing", fault: on("certificate", missing()), orders: 1,
			says: []string{"not found"}, is: acme.ErrMalformed},
		{name: "no block that can be read", fault: unreadable(2), orders: 1,
			says: []string{"2 blocks begin, 0 can be read"}},
		{name: "a leaf that can't be read", fault: unreadable(1), orders: 1,
			says: []string{"certificate 1 of the chain", "2 blocks begin, 1 can be read"}},

		reissued("a precertificate", "precertificate", extension(1, 3, 6, 1, 4, 1, 11129, 2, 4, 3)),
		reissued("an unknown critical extension", "critical extension 1.2.3", extension(1, 2, 3)),
		reissued("a certificate for clients", "serverAuth", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }),
		reissued("a key that may not sign", "digitalSignature", func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyAgreement }),
		reissued("a CA's own certificate", "that of a CA", func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true }),
		reissued("no time at all", "ends before it begins", func(c *x509.Certificate) { c.NotAfter = c.NotBefore.Add(-time.Hour) }),
		reissued("another name", "does not name "+name, func(c *x509.Certificate) { c.DNSNames = []string{"other.test"} }),

		{name: "a clock behind the CA's", fault: clock(5 * time.Hour), change: begins(3 * time.Hour), orders: 1,
			says: []string{"is this machine's clock right?", "this machine's clock is wrong by"}},
		{name: "a CA's clock behind its certificate", fault: clock(0), change: begins(3 * time.Hour), orders: 1,
			says: []string{"behind its own certificate"}},
	}
}

// onlyHTTP01 has the request be of no other solver.
func onlyHTTP01(r *acme.Request) { r.Solvers = r.Solvers[:1] }

// begins has the certificate begin that long from now.
func begins(d time.Duration) func(*acme.Request) {
	return func(r *acme.Request) {
		r.NotBefore, r.NotAfter = time.Now().Add(d).Truncate(time.Second), time.Now().Add(d+10*time.Hour).Truncate(time.Second)
	}
}

// clock has the CA's clock be ahead of this machine's.
func clock(ahead time.Duration) acmetest.Fault {
	return acmetest.Edit(func(r *acmetest.Response) { r.Header.Set("Date", time.Now().Add(ahead).UTC().Format(http.TimeFormat)) })
}

func extension(id ...int) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.ExtraExtensions = []pkix.Extension{{Id: id, Critical: true, Value: []byte{5, 0}}}
	}
}

// reissue has another issuer sign what the leaf is after a change.
func reissue(t *testing.T, change func(*x509.Certificate)) acmetest.Fault {
	t.Helper()
	key := newKey(t)
	issuer := &x509.Certificate{Subject: pkix.Name{CommonName: "another issuer"}, SubjectKeyId: []byte("another")}
	return editBlocks(func(blocks []string) []string {
		block, _ := pem.Decode([]byte(blocks[0] + "\n"))
		leaf, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Error(err)
			return blocks
		}
		template := *leaf
		template.SignatureAlgorithm = x509.UnknownSignatureAlgorithm
		change(&template)
		der, err := x509.CreateCertificate(rand.Reader, &template, issuer, leaf.PublicKey, key)
		if err != nil {
			t.Error(err)
			return blocks
		}
		blocks[0] = strings.TrimSpace(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
		return blocks
	})
}

// What can't end well ends in an error that says why, and in no second order. An order that is not lost gives its
// certificate once the CA answers as it should.
func TestDeviationsThatEndInAnError(t *testing.T) {
	for _, test := range slices.Concat(refusals(), spoiledOrders(), spoiledCertificates(t), ownFailures()) {
		s := newStage(t)
		t.Run(test.name, func(t *testing.T) {
			t.Parallel() // some wait for a moment
			s.register(t)
			s.edit(test.fault)
			r := s.request(t)
			if test.change != nil {
				test.change(&r)
			}
			keep(&r)
			_, err := s.client.Issue(within(t), r)
			s.wantsFailure(t, err, test)
			if s.edit(); test.orders == 1 && !test.lost && r.NotBefore.IsZero() {
				s.issueOne(t, r)
			}
		})
	}
}

// wantsError fails the test unless the error is the other one, if that is not nil, and has the words.
func wantsError(t *testing.T, err, is error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("there was no error")
	}
	if is != nil && !errors.Is(err, is) {
		t.Errorf("%v, which is not %v", err, is)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q does not stand in: %v", word, err)
		}
	}
}

// wantsOrderLost fails the test unless the error says so, or not.
func wantsOrderLost(t *testing.T, err error, want bool) {
	t.Helper()
	if _, lost := errors.AsType[*acme.OrderError](err); lost != want {
		t.Errorf("%v; the order is lost: %t, want %t", err, lost, want)
	}
}

// issueOne has the client obtain a certificate, which must be the CA's only one, from its only order.
func (s *stage) issueOne(t *testing.T, r acme.Request) {
	t.Helper()
	certificate, err := s.client.Issue(within(t), r)
	if err != nil {
		t.Fatal(err)
	}
	s.verify(t, certificate, r)
	s.wantsIssued(t, 1, 1)
}

// wantsFailure fails the test unless the attempt ended as wanted.
func (s *stage) wantsFailure(t *testing.T, err error, want failure) {
	t.Helper()
	wantsError(t, err, want.is, want.says...)
	wantsOrderLost(t, err, want.lost)
	if strings.Count(err.Error(), "acme: ") != 1 || strings.Contains(err.Error(), "alert(1)") || strings.Contains(err.Error(), "xxx") {
		t.Errorf("error %v", err)
	}
	if acme.IsOutage(err) != want.outage {
		t.Errorf("error %v; it is an outage: %t, want %t", err, !want.outage, want.outage)
	}
	if s.asked("newOrder") != 1 || s.orders() != want.orders {
		t.Errorf("%d requests for orders, want 1; the CA made %d, want %d", s.asked("newOrder"), s.orders(), want.orders)
	}
}
