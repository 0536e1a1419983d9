package diagnose

import (
	"reflect"
	"strings"
	"testing"
)

func TestParseIssueValue(t *testing.T) {
	for text, want := range map[string]struct {
		issuer     string
		parameters []parameter
		malformed  bool
	}{
		"ca.example":             {issuer: "ca.example"},
		"":                       {},
		";":                      {},
		" \t; ":                  {},
		"  ca.example\t ; ":      {issuer: "ca.example"},
		"ca.example;a=b":         {issuer: "ca.example", parameters: []parameter{{"a", "b"}}},
		"; a-1 =\tb=c ; d = ":    {parameters: []parameter{{"a-1", "b=c"}, {"d", ""}}},
		"ca.example; a":          {malformed: true},
		"ca.example; a=b;":       {malformed: true},
		"ca.example; =b":         {malformed: true},
		"ca.example; a b=c":      {malformed: true},
		"ca.example; a=b c":      {malformed: true},
		"ca.example; a=\x1b":     {malformed: true},
		"ca example":             {malformed: true},
		"c\u00e4.example":        {malformed: true},
		"ca.example; a=\u00e4":   {malformed: true},
		"ca.example; \u00e4=b":   {malformed: true},
		"ca.example; a=b;; c=d ": {malformed: true},
	} {
		issuer, parameters, ok := parseIssueValue(text)
		if ok == want.malformed || issuer != want.issuer || !reflect.DeepEqual(parameters, want.parameters) {
			t.Errorf("%q: %q, %q, %v", text, issuer, parameters, ok)
		}
	}
}

// With the CA's names not known, a record that names some CA is not judged.
func TestCAAOfUnknownCA(t *testing.T) {
	for value, want := range map[string]string{
		"other.example":                     "",
		"other.example; accounturi=https:/": "",
		";":                                 "lets no CA issue",
	} {
		v := caaSet{"example.com", []caaRecord{{0, "issue", value}}}.judge("example.com", caaRequest{method: "http-01"})
		if got := v != nil; got != (want != "") || got && !strings.Contains(v.reason, want) {
			t.Errorf("%q: %+v", value, v)
		}
	}
}

// Whatever a CAA record holds, it is judged, in bounded words.
func FuzzCAA(f *testing.F) {
	for _, seed := range []string{"", "\x00", "\x00\x05issue", "\x80\x09issuewildca.example; accounturi=a; validationmethods=b", "\x01\xffx", "\x80\x06future\x1b[31m"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		record := parseCAA(data)
		for _, wildcard := range []bool{false, true} {
			v := caaSet{"example.com", []caaRecord{record}}.judge("example.com", caaRequest{[]string{"ca.example"}, "https://ca.example/1", "dns-01", wildcard})
			if v != nil && (v.cause != CauseCAA || v.reason == "" || v.cure == "" || len(v.reason) > 2000) {
				t.Errorf("%+v", v)
			}
		}
		if text := record.String(); len(text) > 1000 || strings.ContainsAny(text, "\r\n\x1b") {
			t.Errorf("%q", text)
		}
	})
}
