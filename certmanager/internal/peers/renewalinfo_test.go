package peers

import (
	"testing"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/acme/acmetest"
)

// What is odd about renewal information besides its window does not cost that. step-ca has none to be edited.
func TestRenewalInfoThatDeviates(t *testing.T) {
	s := newStage(t)
	s.register(t)
	certificate, err := s.client.Issue(within(t), s.request(t))
	if err != nil {
		t.Fatal(err)
	}
	want, err := s.client.GetRenewalInfo(within(t), certificate.Leaf)
	if err != nil {
		t.Fatal(err)
	}
	lower := editJSON(func(info map[string]any) {
		window := info["suggestedWindow"].(map[string]any)
		for _, end := range []string{"start", "end"} {
			at, err := time.Parse(time.RFC3339, window[end].(string))
			if err != nil {
				t.Error(err)
			}
			window[end] = at.UTC().Format("2006-01-02t15:04:05z")
		}
	})
	for _, test := range []struct {
		name        string
		fault       acmetest.Fault
		explanation string
		retryAfter  time.Duration
	}{
		{"times in lower case", lower, "", want.RetryAfter},
		{"an explanation", member("explanationURL", "https://ca.test/why"), "https://ca.test/why", want.RetryAfter},
		{"an explanation in plain text", member("explanationURL", "http://ca.test/why"), "http://ca.test/why", want.RetryAfter},
		{"an explanation that is a script", member("explanationURL", "javascript:alert(1)"), "", want.RetryAfter},
		{"an explanation that is a number", member("explanationURL", 7), "", want.RetryAfter},
		{"again in a second", acmetest.WithHeader("Retry-After", "1"), "", time.Minute},
		{"again in a month", acmetest.WithHeader("Retry-After", "2592000"), "", 24 * time.Hour},
	} {
		s.edit(on("renewalInfo", test.fault))
		got, err := s.client.GetRenewalInfo(within(t), certificate.Leaf)
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		if !sameWindow(got, want) || got.ExplanationURL != test.explanation || got.RetryAfter != test.retryAfter {
			t.Errorf("%s: %+v; without it %+v", test.name, got, want)
		}
	}
}

// sameWindow reports whether the windows are the same, to the second.
func sameWindow(a, b *acme.RenewalInfo) bool {
	const precision = time.Second
	return a.SuggestedWindow.Start.Truncate(precision).Equal(b.SuggestedWindow.Start.Truncate(precision)) &&
		a.SuggestedWindow.End.Truncate(precision).Equal(b.SuggestedWindow.End.Truncate(precision))
}
