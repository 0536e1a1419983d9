package acme_test

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/idna"

	"github.com/everseal/everseal/acme"
)

// maxFuzzed bounds what a fuzz target looks at: longer inputs say no more.
const maxFuzzed = 1 << 16

// A stage is a fake CA for all inputs of a fuzz target: its answers are replaced before each call.
type stage struct {
	fake
	key   *acme.Client // whose key all clients have
	asked []*http.Request
}

func newStage(t testing.TB) *stage {
	s := &stage{fake: fake{}}
	s.key = &acme.Client{Key: newKey(t)}
	return s
}

// client returns one that knows nothing of the CA yet but its account.
func (s *stage) client() *acme.Client {
	s.asked = nil
	return &acme.Client{
		DirectoryURL: fakeOrigin + "/directory", AccountURL: fakeOrigin + "/account/1", Key: s.key.Key,
		HTTPClient: &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			s.asked = append(s.asked, r)
			return handlerTransport{s.fake}.RoundTrip(r)
		})},
	}
}

// A problem document makes a text that can be logged, bounded, whatever it says, and what was read of it
// can be written down and read back.
func FuzzProblem(f *testing.F) {
	f.Add(403, `{"type":"urn:ietf:params:acme:error:compound","detail":"\u001b[31m","subproblems":[{"identifier":{"type":"dns","value":"a"}},null]}`)
	f.Add(500, `{"type":7,"detail":"x"}`)
	f.Add(404, "<html>\xff")
	s := newStage(f)
	f.Fuzz(func(t *testing.T, status int, document string) {
		if len(document) > maxFuzzed || status < 400 || status > 999 {
			t.Skip("out of bounds")
		}
		s.fake["/directory"] = answer(status, document)
		_, err := s.client().GetDirectory(t.Context())
		var p *acme.Problem
		if !errors.As(err, &p) {
			t.Fatalf("error %v is no problem", err)
		}
		wantPrintable(t, err.Error())
		if p.Status != status || p.Type == "" && p.Detail == "" {
			t.Errorf("problem %+v of an answer with status %d", p, status)
		}
		for _, each := range append([]*acme.Problem{p}, p.Subproblems...) {
			wantPrintable(t, each.Type.Error())
			if each.Type != "" && !errors.Is(err, each.Type) {
				t.Errorf("the type %q is not found in its own problem", each.Type)
			}
		}
		written, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		read := new(acme.Problem)
		if err := json.Unmarshal(written, read); err != nil {
			t.Fatalf("%s cannot be read back: %v", written, err)
		}
		if again, err := json.Marshal(read); err != nil || string(again) != string(written) {
			t.Errorf("read back as %s, want %s (%v)", again, written, err)
		}
	})
}

// A Retry-After is whole seconds or a date; the wait is clamped to between nothing and a week, and of
// renewal information to between a minute and a day.
func FuzzRetryAfter(f *testing.F) {
	for _, value := range []string{"", "0", "-1", "20", "+5", " 7 ", "1e3", "\u0661", "99999999999999999999999999", "Sat, 01 Jan 2000 00:01:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT"} {
		f.Add(value)
	}
	leaf := &x509.Certificate{AuthorityKeyId: []byte{1}, SerialNumber: big.NewInt(1)}
	s := newStage(f)
	f.Fuzz(func(t *testing.T, value string) {
		before := time.Now()
		s.fake["/directory"] = answer(http.StatusForbidden, problem("malformed", "no"), "Retry-After", value) // not one to try again
		_, err := s.client().GetDirectory(t.Context())
		after := time.Now()
		var p *acme.Problem
		if !errors.As(err, &p) {
			t.Fatalf("error %v is no problem", err)
		}
		wantPrintable(t, err.Error())
		if least, most := retryAfter(value, after), retryAfter(value, before); p.RetryAfter < least || p.RetryAfter > most {
			t.Errorf("Retry-After %q asks to wait %v, want from %v to %v", value, p.RetryAfter, least, most)
		}

		s.fake["/directory"] = answer(http.StatusOK, strings.TrimSuffix(bareDirectory, "}")+`,"renewalInfo":"/renewal"}`)
		s.fake["/renewal/AQ.AQ"] = answer(http.StatusOK, `{"suggestedWindow":{"start":"2026-01-02T00:00:00Z","end":"2026-01-03T00:00:00Z"}}`, "Retry-After", value)
		info, err := s.client().GetRenewalInfo(t.Context(), leaf)
		if err != nil || info.RetryAfter < time.Minute || info.RetryAfter > 24*time.Hour {
			t.Errorf("renewal info %+v, %v", info, err)
		}
	})
}

// retryAfter returns how long a header asks to wait at the time now, read in another way than the
// client does.
func retryAfter(value string, now time.Time) time.Duration {
	const week = 7 * 24 * time.Hour
	value = strings.TrimSpace(value)
	if regexp.MustCompile(`^[+-]?[0-9]+$`).MatchString(value) {
		seconds, _ := new(big.Int).SetString(value, 10)
		if seconds.Sign() < 0 {
			return 0
		}
		if !seconds.IsInt64() || seconds.Int64() > int64(week/time.Second) {
			return week
		}
		return time.Duration(seconds.Int64()) * time.Second
	}
	date, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return min(max(date.Sub(now), 0), week)
}

// A directory that is taken has absolute URLs, gives the same one when it is written down and read
// again, and leads the client to nothing but https, with its URLs signed as they were given.
func FuzzDirectory(f *testing.F) {
	f.Add(bareDirectory)
	f.Add(`{"newNonce":"https://ca.example/n?a=b%2F","newAccount":"//other.example:8443/a","newOrder":"../o","renewalInfo":"http://127.0.0.1/","meta":{"profiles":{"\u001b":"x"},"termsOfService":"\u202e"}}`)
	f.Add(`{"newNonce":"https://user@ca.example/","newAccount":"file:///etc/passwd","newOrder":"x:y","meta":[]}`)
	f.Add(`{"newNonce":[],"newAccount":"\u0000","newOrder":"http://[::1"}`)
	s := newStage(f)
	f.Fuzz(func(t *testing.T, body string) {
		if len(body) > maxFuzzed {
			t.Skip("out of bounds")
		}
		s.fake["/directory"] = answer(http.StatusOK, body)
		client := s.client()
		client.AccountURL = "" // so that it is asked for at newAccount
		directory, err := client.GetDirectory(t.Context())
		if err != nil {
			wantPrintable(t, err.Error())
			return
		}
		for _, raw := range []string{directory.NewNonce, directory.NewAccount, directory.NewOrder, directory.NewAuthz, directory.RevokeCert, directory.KeyChange, directory.RenewalInfo} {
			if u, err := url.Parse(raw); raw != "" && (err != nil || !u.IsAbs()) {
				t.Errorf("%q is no absolute URL", raw)
			}
		}
		if _, err := client.FindAccount(t.Context()); err != nil {
			wantPrintable(t, err.Error())
		}
		for _, r := range s.asked {
			if r.URL.Scheme != "https" || r.URL.Hostname() == "" || r.URL.User != nil {
				t.Errorf("the client was led to %q", r.URL)
			}
			if sent, err := newRequest(r); r.Method == http.MethodPost && (err != nil || sent.protected["url"] != directory.NewAccount) {
				t.Errorf("signed for the URL %q, want %q (%v)", sent.protected["url"], directory.NewAccount, err)
			}
		}
		written, err := json.Marshal(directory)
		if err != nil {
			t.Fatal(err)
		}
		s.fake["/directory"] = answer(http.StatusOK, string(written))
		read, err := s.client().GetDirectory(t.Context())
		if err != nil {
			t.Fatalf("%s is refused: %v", written, err)
		}
		again, err := json.Marshal(read)
		if want := strings.Replace(string(written), `,"meta":{}`, "", 1); err != nil || string(again) != want { // empty profiles are none
			t.Errorf("read back as %s, want %s (%v)", again, want, err)
		}
	})
}

// The targets of Link headers are bounded in number and absolute, each is found again in a header made of
// them, and what follows a link does not change it.
func FuzzLink(f *testing.F) {
	f.Add(`<https://ca.example/1>;rel="alternate", </2>; rel=alternate;title="a, b; c"` + "\n" + `<3>;REL="index Alternate"`)
	f.Add(`<>;rel="alternate",<x;rel=alternate`)
	f.Add(`<//[::1>;rel="alternate",,;;<%zz>;rel="alternate"`)
	f.Add(`<a>;title="\"";rel="alternate"`)
	chain := chainPEM(newIssuer(f, nil).certificate)
	s := newStage(f)
	// alternates downloads a certificate that comes with the lines as Link headers.
	alternates := func(t *testing.T, lines ...string) ([]string, error) {
		s.fake["/certificate"] = func(w http.ResponseWriter, r *http.Request) {
			w.Header()["Link"] = lines
			answer(http.StatusOK, chain)(w, r)
		}
		certificate, err := s.client().GetCertificate(t.Context(), fakeOrigin+"/certificate")
		if err != nil {
			return nil, err
		}
		return certificate.Alternates, nil
	}
	f.Fuzz(func(t *testing.T, header string) {
		if len(header) > maxFuzzed {
			t.Skip("out of bounds")
		}
		lines := strings.Split(header, "\n")
		targets, err := alternates(t, lines...)
		if err != nil {
			t.Fatalf("for want of another chain the certificate is given up: %v", err)
		}
		if len(targets) > 50 {
			t.Errorf("%d targets", len(targets))
		}
		made := ""
		for _, target := range targets {
			if u, err := url.Parse(target); err != nil || !u.IsAbs() {
				t.Errorf("%q is no absolute URL", target)
			}
			made += fmt.Sprintf("<%s>; title=\"<a>, b\"; rel=\"up alternate\", ", target)
		}
		if again, err := alternates(t, made); err != nil || !slices.Equal(again, targets) {
			t.Errorf("a header made of %q has %q, %v", targets, again, err)
		}
		const first = "https://ca.example/first"
		lines[0] = "<" + first + `>;rel="alternate", ` + lines[0]
		want := append([]string{first}, targets...)
		if with, err := alternates(t, lines...); err != nil || !slices.Equal(with, want[:min(len(want), 50)]) {
			t.Errorf("with one more at its head the header has %q, want %q (%v)", with, want, err)
		}
	})
}

// A chain that is taken is a path from the first certificate of the answer, whatever stands between the blocks
// and breaks their lines; what is not in it is told of; and it is the same when it is written as PEM. An answer
// without a first certificate is refused with a text that can be logged.
func FuzzChain(f *testing.F) {
	root := newIssuer(f, nil)
	leaf := root.sign(f, leafTemplate(), newKey(f).Public())
	f.Add(leaf.Raw, root.certificate.Raw, "")
	f.Add(leaf.Raw, newIssuer(f, nil).certificate.Raw, "\ufeff")
	f.Add(leaf.Raw, leaf.Raw, "subject=")
	f.Add(root.certificate.Raw, []byte{}, "some text\n")
	f.Add([]byte{}, []byte{}, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
	f.Add([]byte{}, []byte{}, "-----BEGIN \x1b[31m-----\nAAAA\n-----END \x1b[31m-----\n")
	f.Add(leaf.Raw, root.certificate.Raw, "-----BEGIN CERTIFICATE-----")
	s := newStage(f)
	download := func(t *testing.T, body string) (*acme.Certificate, error) {
		s.fake["/certificate"] = answer(http.StatusOK, body)
		return s.client().GetCertificate(t.Context(), fakeOrigin+"/certificate")
	}
	f.Fuzz(func(t *testing.T, leaf, issuer []byte, text string) {
		if len(leaf)+len(issuer)+len(text) > maxFuzzed {
			t.Skip("out of bounds")
		}
		body := text
		for _, der := range [][]byte{leaf, issuer} {
			if len(der) > 0 {
				body += string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})) + text
			}
		}
		certificate, err := download(t, body)
		if err != nil {
			wantPrintable(t, err.Error())
			// The text may begin a block of its own, also together with the dashes that follow it.
			first := strings.Index(body, "-----BEGIN CERTIFICATE-----") == len(text)
			if _, unparsed := x509.ParseCertificate(leaf); unparsed == nil && first && !strings.Contains(err.Error(), "RSA key") {
				t.Errorf("the first is a certificate, and refused: %v", err)
			}
			return
		}
		wantLinked(t, certificate)
		wantAccounted(t, certificate, body)
		again, err := download(t, string(certificate.PEM()))
		if err != nil || !slices.EqualFunc(again.Chain, certificate.Chain, slices.Equal) || len(again.Warnings) > 0 {
			t.Errorf("its PEM is not taken for the same chain: %v", err)
		}
		odd := strings.NewReplacer("-----\n", "-----", "\n", "\r").Replace(string(certificate.PEM()))
		odd = text + strings.ReplaceAll(odd, "-----BEGIN", text+"-----BEGIN")
		// The text may begin a block, alone or with the dashes around it.
		if !strings.Contains(text, "BEGIN CERTIFICATE") && !strings.Contains(text, "-----") {
			again, err := download(t, odd)
			if err != nil || !slices.EqualFunc(again.Chain, certificate.Chain, slices.Equal) {
				t.Errorf("with other line ends it is not taken for the same chain: %v", err)
			}
		}
		// Verify and CertificateID answer for any certificate.
		if err := certificate.Verify(s.key.Key.Public(), nil, time.Now()); err == nil {
			t.Error("the certificate is for a key that it was not made for")
		}
		if id, err := acme.CertificateID(certificate.Leaf); err == nil && !regexp.MustCompile(`^[\w-]+\.[\w-]+$`).MatchString(id) {
			t.Errorf("certificate ID %q", id)
		}
	})
}

// wantLinked checks that a chain is of one to 20 certificates, each signed by the next, so far as that can be
// verified.
func wantLinked(t *testing.T, certificate *acme.Certificate) {
	t.Helper()
	if n := len(certificate.Chain); n == 0 || n > 20 || !slices.Equal(certificate.Chain[0], certificate.Leaf.Raw) {
		t.Fatalf("%d certificates, or the leaf is not the first", n)
	}
	signed := certificate.Leaf
	for _, der := range certificate.Chain[1:] {
		signer, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		err = signer.CheckSignature(signed.SignatureAlgorithm, signed.RawTBSCertificate, signed.Signature)
		_, insecure := errors.AsType[x509.InsecureAlgorithmError](err)
		if !slices.Equal(signed.RawIssuer, signer.RawSubject) || err != nil && !insecure && !errors.Is(err, x509.ErrUnsupportedAlgorithm) {
			t.Error(err)
		}
		signed = signer
	}
}

// wantAccounted checks that each block of the answer is in the chain or in a warning that can be logged.
func wantAccounted(t *testing.T, certificate *acme.Certificate, body string) {
	t.Helper()
	left := 0
	for _, warning := range certificate.Warnings {
		wantPrintable(t, warning)
		if strings.HasPrefix(warning, "certificate ") {
			left++
		}
	}
	if begun := strings.Count(body, "-----BEGIN CERTIFICATE-----"); len(certificate.Chain)+left != begun {
		t.Errorf("of %d certificates %d are in the chain and %d were left out", begun, len(certificate.Chain), left)
	}
}

// Whatever the document says besides, a window that is taken ends after it begins, and an explanation is one that
// can be shown.
func FuzzRenewalInfo(f *testing.F) {
	f.Add(`"2026-01-02T00:00:00z"`, `"2026-01-03T00:00:00"`, `"https://ca.example/why"`)
	f.Add(`7`, `null`, `["x"]`)
	f.Add(`"2026-01-02T00:00:00Z"`, `"9999-12-31T23:59:59Z"`, `"javascript:alert(1)"`)
	f.Add(`"2026-01-02T00:00:00Z"`, `"2026-01-02T00:00:00.1-23:59"`, `"https://user@ca.example/\u202e"`)
	leaf := &x509.Certificate{AuthorityKeyId: []byte{1}, SerialNumber: big.NewInt(1)}
	s := newStage(f)
	s.fake["/directory"] = answer(http.StatusOK, strings.TrimSuffix(bareDirectory, "}")+`,"renewalInfo":"/renewal"}`)
	ask := func(t *testing.T, start, end, explanation string) (*acme.RenewalInfo, error) {
		s.fake["/renewal/AQ.AQ"] = answer(http.StatusOK, `{"suggestedWindow":{"start":`+start+`,"end":`+end+`},"explanationURL":`+explanation+`}`)
		return s.client().GetRenewalInfo(t.Context(), leaf)
	}
	f.Fuzz(func(t *testing.T, start, end, explanation string) {
		if len(start)+len(end)+len(explanation) > maxFuzzed {
			t.Skip("out of bounds")
		}
		info, err := ask(t, start, end, explanation)
		if err != nil {
			wantPrintable(t, err.Error())
			return
		}
		w := info.SuggestedWindow
		if !w.End.After(w.Start) || w.Start.IsZero() || w.At(0.5).Before(w.Start) || w.At(0.5).After(w.End) {
			t.Errorf("window %v", w)
		}
		if u, err := url.Parse(info.ExplanationURL); info.ExplanationURL != "" && (err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil) {
			t.Errorf("explanation %q", info.ExplanationURL)
		}
		wantPrintable(t, info.ExplanationURL)
		if written, err := json.Marshal(info); err != nil {
			t.Errorf("%+v can't be written: %v", info, err)
		} else if read := new(acme.RenewalInfo); json.Unmarshal(written, read) != nil || !read.SuggestedWindow.End.Equal(w.End) {
			t.Errorf("%s is read back as %+v", written, read)
		}
	})
}

// An identifier has one form, which its other spellings lead to, of letters that any name or address has.
func FuzzParseIdentifier(f *testing.F) {
	for _, in := range []string{
		"example.com", "*.Example.COM.", "bücher.example", "xn--bcher-kva.example", "192.0.2.1", "::ffff:192.0.2.1", "[2001:db8::1]", "fe80::1%eth0",
		"１９２.0.2.1", "192。0。2。1", "a_b", "ß.de", "\u200d.example", "1.2.3", "xn--4", "http://a", "xn--a-qib.example", "*.xn--a-qib.bücher.example", "ab--cd.example",
	} {
		f.Add(in)
	}
	f.Fuzz(func(t *testing.T, in string) {
		id, err := acme.ParseIdentifier(in)
		if want := strings.ToLower(in); isASCIIName(want) && (err != nil || id != acme.Identifier{Type: acme.TypeDNS, Value: want}) {
			t.Errorf("%q is %v, %v", in, id, err)
		}
		if err != nil {
			wantPrintable(t, err.Error())
			return
		}
		legal, spellings := "abcdefghijklmnopqrstuvwxyz0123456789-.", []string{id.Value, strings.ToUpper(id.Value)}
		switch {
		case id.Type == acme.TypeDNS:
			spellings = append(spellings, id.Value+".")
		case strings.Contains(id.Value, ":"):
			legal, spellings = "0123456789abcdef:.", append(spellings, "["+id.Value+"]")
		}
		if strings.Trim(strings.TrimPrefix(id.Value, "*."), legal) != "" || len(id.Value) > 253 || id.Value == "" {
			t.Errorf("%q gives %q, which has illegal bytes or length", in, id.Value)
		}
		for _, spelling := range spellings {
			again, err := acme.ParseIdentifier(spelling)
			if err != nil || again != id {
				t.Errorf("%q gives %v, and %q gives %v (%v)", in, id, spelling, again, err)
			}
		}
	})
}

// isASCIIName reports whether the name is one of lower-case letters, digits, hyphens and A-labels.
func isASCIIName(name string) bool {
	base := strings.TrimPrefix(name, "*.")
	if len(name) > 253 || regexp.MustCompile(`(^|\.)[0-9]+$`).MatchString(base) {
		return false
	}
	for label := range strings.SplitSeq(base, ".") {
		isLabel := len(label) < 64 && regexp.MustCompile(`^[a-z0-9-]+$`).MatchString(label)
		if decoded, err := idna.Punycode.ToUnicode(label); isLabel && strings.HasPrefix(label, "xn--") {
			encoded, encodeErr := idna.Punycode.ToASCII(decoded)
			isLabel = err == nil && encodeErr == nil && encoded == label
		} else {
			isLabel = isLabel && !regexp.MustCompile(`^-|^..--|-$`).MatchString(label)
		}
		if !isLabel {
			return false
		}
	}
	return true
}

// TestFuzzCorpora fails where a fuzz target has no inputs kept for it.
func TestFuzzCorpora(t *testing.T) {
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	targets := 0
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, declaration := range file.Decls {
			function, ok := declaration.(*ast.FuncDecl)
			if !ok || !strings.HasPrefix(function.Name.Name, "Fuzz") {
				continue
			}
			targets++
			kept, err := os.ReadDir(filepath.Join("testdata", "fuzz", function.Name.Name))
			if err != nil || len(kept) == 0 {
				t.Errorf("%s has no inputs kept (%v)", function.Name.Name, err)
			}
		}
	}
	if targets == 0 {
		t.Error("there is no fuzz target")
	}
}

// Orders, authorizations, challenges and accounts are read as far as they can be. What was read can be acted on: its
// status is one that there is, its names are bounded, and its URLs are whole.
func FuzzResources(f *testing.F) {
	f.Add(`{"status":"pending","identifiers":[{"type":"dns","value":"a"}],"authorizations":["/authz/1"],"finalize":"/finalize","expires":"2026-01-02T00:00:00"}`)
	f.Add(`{"status":"pending","identifier":{"type":"dns","value":"*.a"},"wildcard":"true","challenges":[{"type":"http-01","url":"/c","status":"pending","token":"x","validated":"","error":"no"}]}`)
	f.Add(`{"status":"valid","contact":"mailto:a","orders":7}`)
	f.Add(`{"status":"invalid","authorizations":null,"error":{"type":7}}`)
	s := newStage(f)
	statuses := []string{acme.StatusPending, acme.StatusReady, acme.StatusProcessing, acme.StatusValid, acme.StatusInvalid, acme.StatusDeactivated, acme.StatusRevoked, ""}
	f.Fuzz(func(t *testing.T, document string) {
		if len(document) > maxFuzzed {
			t.Skip("out of bounds")
		}
		for _, path := range []string{"/resource", "/account/1"} {
			s.fake[path] = answer(200, document)
		}
		client := s.client()
		order, err := client.GetOrder(t.Context(), fakeOrigin+"/resource")
		if err == nil {
			if !slices.Contains(statuses, order.Status) || order.Status == "" || order.URL != fakeOrigin+"/resource" {
				t.Errorf("order %+v", order)
			}
			for _, reference := range append([]string{order.Finalize, order.Certificate}, order.Authorizations...) {
				if u, err := url.Parse(reference); reference != "" && (err != nil || !u.IsAbs()) {
					t.Errorf("%q in the order is no absolute URL", reference)
				}
			}
		}
		authorization, authorizationErr := client.GetAuthorization(t.Context(), fakeOrigin+"/resource")
		if authorizationErr == nil {
			for _, challenge := range authorization.Challenges {
				if proof, err := client.NewProof(t.Context(), authorization, challenge); err == nil && proof.KeyAuthorization != "" && !strings.HasPrefix(proof.KeyAuthorization, challenge.Token+".") {
					t.Errorf("proof %+v", proof)
				} else if err != nil {
					wantPrintable(t, err.Error())
				}
			}
		}
		_, challengeErr := client.AcceptChallenge(t.Context(), fakeOrigin+"/resource", nil)
		account, accountErr := client.GetAccount(t.Context())
		if accountErr == nil && !slices.Contains(statuses, account.Status) {
			t.Errorf("account %+v", account)
		}
		for _, err := range []error{err, authorizationErr, challengeErr, accountErr} {
			if err != nil {
				wantPrintable(t, err.Error())
			}
		}
	})
}
