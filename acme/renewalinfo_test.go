package acme_test

import (
	"crypto/x509"
	"errors"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/acme/acmetest"
)

// TestCertificateID has the example of RFC 9773 §4.1, and serial numbers at the edges of DER.
func TestCertificateID(t *testing.T) {
	key := []byte{0x69, 0x88, 0x5B, 0x6B, 0x87, 0x46, 0x40, 0x41, 0xE1, 0xB3, 0x7B, 0x84, 0x7B, 0xA0, 0xAE, 0x2C, 0xDE, 0x01, 0xC8, 0xD4}
	for _, test := range []struct {
		serial int64
		want   string
	}{
		{0x87654321, "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"},
		{0x7f, "aYhba4dGQEHhs3uEe6CuLN4ByNQ.fw"},
		{0x80, "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIA"},
		{0, "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AA"},
	} {
		got, err := acme.CertificateID(&x509.Certificate{AuthorityKeyId: key, SerialNumber: big.NewInt(test.serial)})
		if err != nil || got != test.want {
			t.Errorf("serial %x: %q, %v; want %q", test.serial, got, err, test.want)
		}
	}
	for _, leaf := range []*x509.Certificate{nil, {}, {AuthorityKeyId: key}, {SerialNumber: big.NewInt(1)}} {
		if id, err := acme.CertificateID(leaf); err == nil {
			t.Errorf("%v has the id %s", leaf, id)
		}
	}
}

func TestGetRenewalInfo(t *testing.T) {
	c := newCA(t)
	certificate, err := c.issue(t, t.Context(), acme.Request{Identifiers: identifiers(t, "example.com")})
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	for _, test := range []struct{ asked, want time.Duration }{
		{0, 6 * time.Hour}, {time.Second, time.Minute}, {time.Hour, time.Hour}, {30 * 24 * time.Hour, 24 * time.Hour},
	} {
		c.SetRenewalInfo(certificate.Leaf.SerialNumber, acmetest.RenewalInfo{
			Start: start, End: start.Add(time.Hour), ExplanationURL: "https://ca.example/why", RetryAfter: test.asked})
		stranger := &acme.Client{DirectoryURL: c.URL, HTTPClient: c.client.HTTPClient} // it needs no account
		info, err := stranger.GetRenewalInfo(t.Context(), certificate.Leaf)
		if err != nil {
			t.Fatal(err)
		}
		if w := info.SuggestedWindow; !w.Start.Equal(start) || !w.End.Equal(start.Add(time.Hour)) || info.ExplanationURL != "https://ca.example/why" {
			t.Errorf("renewal info %+v", info)
		}
		if test.asked != 0 && info.RetryAfter != test.want {
			t.Errorf("asked to come back in %v, RetryAfter is %v, want %v", test.asked, info.RetryAfter, test.want)
		}
	}
	for _, r := range c.requests("renewalInfo") {
		if r.method != http.MethodGet || r.body != "" {
			t.Errorf("asked by %s with %q, want an unsigned GET", r.method, r.body)
		}
	}
}

// readRenewalInfo asks a CA whose answer is the document.
func readRenewalInfo(t *testing.T, document string) (*acme.RenewalInfo, error) {
	t.Helper()
	leaf := &x509.Certificate{AuthorityKeyId: []byte{1}, SerialNumber: big.NewInt(1)}
	directory := strings.TrimSuffix(bareDirectory, "}") + `,"renewalInfo":"/renewal"}`
	client := fake{"/directory": answer(200, directory), "/renewal/AQ.AQ": answer(200, document)}.client(t)
	return client.GetRenewalInfo(t.Context(), leaf)
}

// The explanation is for people, and no odd one costs the window.
func TestExplanationURL(t *testing.T) {
	for explanation, want := range map[string]string{
		`"https://ca.example/why?a=b#c"`:     "https://ca.example/why?a=b#c",
		`"http://ca.example/why"`:            "http://ca.example/why",
		`"HTTPS://ca.example"`:               "HTTPS://ca.example",
		`""`:                                 "",
		`null`:                               "",
		`7`:                                  "",
		`["https://ca.example/why"]`:         "",
		`{"url":"https://ca.example/why"}`:   "",
		`"ftp://ca.example/why"`:             "",
		`"javascript:alert(1)"`:              "",
		`"file:///etc/passwd"`:               "",
		`"//ca.example/why"`:                 "",
		`"/why"`:                             "",
		`"https:why"`:                        "",
		`"https://"`:                         "",
		`"https://:443/"`:                    "",
		`"https://[::1"`:                     "",
		`"https://ca.example@other.example"`: "",
		`"https://ca.example/\u001b[31m"`:    "",
		`"https://ca.example/\u202ewhy"`:     "",
		`"https://ca.example/a b"`:           "",
		`"https://ca.example/\n"`:            "",
		`"https://ca.example/` + strings.Repeat("x", 1<<14) + `"`: "",
	} {
		info, err := readRenewalInfo(t, `{"suggestedWindow":{"start":"2026-01-02T00:00:00Z","end":"2026-01-03T00:00:00Z"},"explanationURL":`+explanation+`}`)
		if err != nil || info.ExplanationURL != want || info.SuggestedWindow.End.Day() != 3 {
			t.Errorf("%.60s: %+v, %v; want %q", explanation, info, err, want)
		}
	}
}

func TestSuggestedWindowOfOddTimes(t *testing.T) {
	start, end := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC), time.Date(2026, 1, 3, 12, 0, 0, 0, time.UTC)
	for _, times := range []string{
		`"start":"2026-01-02T00:00:00Z","end":"2026-01-03T12:00:00Z"`,
		`"start":"2026-01-02T00:00:00z","end":"2026-01-03t12:00:00z"`,
		`"start":"2026-01-02T02:00:00+02:00","end":"2026-01-03T12:00:00.000"`,
	} {
		info, err := readRenewalInfo(t, `{"suggestedWindow":{`+times+`}}`)
		if err != nil || !info.SuggestedWindow.Start.Equal(start) || !info.SuggestedWindow.End.Equal(end) {
			t.Errorf("%s: %+v, %v", times, info, err)
		}
	}
}

func TestGetRenewalInfoRefuses(t *testing.T) {
	leaf := &x509.Certificate{AuthorityKeyId: []byte{1}, SerialNumber: big.NewInt(1)}
	bare := fake{"/directory": answer(200, bareDirectory)}.client(t)
	_, err := bare.GetRenewalInfo(t.Context(), leaf)
	wantError(t, err, errors.ErrUnsupported, "renewalInfo")
	directory := strings.TrimSuffix(bareDirectory, "}") + `,"renewalInfo":"/renewal"}`
	for body, words := range map[string]string{
		`{`:                      "not the JSON",
		`{"suggestedWindow":{}}`: "window",
		`{"suggestedWindow":{"start":"soon","end":"2026-01-02T00:00:00Z"}}`:                 "window",
		`{"suggestedWindow":{"start":"2026-01-02T00:00:00Z","end":7}}`:                      "window",
		`{"suggestedWindow":{"start":"","end":""}}`:                                         "window",
		`{"suggestedWindow":{"start":"2026-01-02T00:00:00Z","end":"2026-01-02T00:00:00Z"}}`: "window",
		`{"suggestedWindow":{"start":"2026-01-02T00:00:00Z","end":"2026-01-01T00:00:00Z"}}`: "window",
	} {
		client := fake{"/directory": answer(200, directory), "/renewal/AQ.AQ": answer(200, body)}.client(t)
		_, err := client.GetRenewalInfo(t.Context(), leaf)
		wantError(t, err, nil, "renewal info", words)
	}
}

func TestWindowAt(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	w := acme.Window{Start: start, End: start.Add(100 * time.Hour)}
	for r, want := range map[float64]time.Duration{0: 0, 0.25: 25 * time.Hour, 1: 100 * time.Hour, -3: 0, 7: 100 * time.Hour} {
		if got := w.At(r).Sub(start); got != want {
			t.Errorf("At(%v) is %v after the start, want %v", r, got, want)
		}
	}
}

// TestReplaces renews a certificate, renews it again though it was replaced already, and renews one of
// another CA: each time there is a certificate, and the CA is told what it replaces where that is true.
func TestReplaces(t *testing.T) {
	inBubble(t, func(t *testing.T, c *ca) {
		renew := func(predecessor *x509.Certificate) {
			if _, err := c.issue(t, t.Context(), acme.Request{Identifiers: identifiers(t, "example.com"), Replaces: predecessor}); err != nil {
				t.Fatal(err)
			}
		}
		renew(nil)
		first := c.Certificates()[0]
		id, err := acme.CertificateID(first)
		if err != nil {
			t.Fatal(err)
		}
		renew(first)
		renew(first)
		renew(&x509.Certificate{AuthorityKeyId: []byte{1}, SerialNumber: big.NewInt(1)})
		renew(&x509.Certificate{})
		var replaced []string
		for _, order := range c.Orders() {
			replaced = append(replaced, order.Replaces)
		}
		if len(replaced) != 5 || replaced[1] != id || replaced[0]+replaced[2]+replaced[3]+replaced[4] != "" {
			t.Errorf("the orders replace %q, want the second alone to replace %s", replaced, id)
		}
	})
}

// A CA without renewal information is not told of a predecessor, which it may refuse (RFC 9773 §5).
func TestReplacesNothingWithoutRenewalInfo(t *testing.T) {
	inBubble(t, func(t *testing.T, c *ca) {
		if _, err := c.issue(t, t.Context(), acme.Request{}); err != nil {
			t.Fatal(err)
		}
		c.SetFaults(acmetest.On("directory", acmetest.Edit(func(r *acmetest.Response) {
			r.Body = []byte(strings.Replace(string(r.Body), `"renewalInfo"`, `"renewalInformation"`, 1))
		})))
		c.client = &acme.Client{DirectoryURL: c.URL, HTTPClient: c.client.HTTPClient, Key: c.client.Key}
		c.forget()
		if _, err := c.issue(t, t.Context(), acme.Request{Replaces: c.Certificates()[0]}); err != nil {
			t.Fatal(err)
		}
		if payload := c.requests("newOrder")[0].payload; strings.Contains(payload, "replaces") {
			t.Errorf("ordered %s", payload)
		}
	})
}

// TestReplacesOtherRefusals sees that an order refused for another reason is not made twice.
func TestReplacesOtherRefusals(t *testing.T) {
	c := newCA(t)
	orders := 0
	c.intercept = func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
		if resourceOf(r) == "newOrder" {
			orders++
			return response(r, 429, problem("rateLimited", "too many")), nil
		}
		return next.RoundTrip(r)
	}
	_, err := c.issue(t, t.Context(), acme.Request{
		Identifiers: identifiers(t, "example.com"),
		Replaces:    &x509.Certificate{AuthorityKeyId: []byte{1}, SerialNumber: big.NewInt(1)},
	})
	wantError(t, err, acme.ErrRateLimited)
	if orders != 1 {
		t.Errorf("%d orders, want 1", orders)
	}
}
