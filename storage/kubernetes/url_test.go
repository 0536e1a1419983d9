package kubernetes

import (
	"context"
	"net/http"
	"strings"
	"testing"
)

func TestOpenRefuses(t *testing.T) {
	for _, raw := range []string{
		"", "kubernetes", "kubernetes:", "kubernetes:a", "/a/b", "https://10.0.0.1/a", "kubernetes://user:t0ken@10.0.0.1/a", "kubernetes://10.0.0.1/a#b", "kubernetes://10.0.0.1/%zz",
		"kubernetes://10.0.0.1:/a", "kubernetes://:6443/a", "kubernetes://10.0.0.1", "kubernetes://10.0.0.1/A", "kubernetes://10.0.0.1/a.b", "kubernetes://10.0.0.1/a/b/c",
		"kubernetes://10.0.0.1/a/B", "kubernetes://10.0.0.1/-a", "kubernetes://10.0.0.1/a/" + strings.Repeat("b", 41), "kubernetes://10.0.0.1/" + strings.Repeat("a", 64),
		"kubernetes://10.0.0.1/a?tokens=t0ken", "kubernetes://10.0.0.1/a?token=", "kubernetes://10.0.0.1/a?token=x&token=y", "kubernetes://10.0.0.1/a?%zz", "kubernetes://10.0.0.1/a?cert=x", "kubernetes://10.0.0.1/a?key=x",
		"kubernetes://10.0.0.1/?account=/none",
	} {
		s, err := Open(t.Context(), raw, Config{})
		if err == nil {
			t.Errorf("Open(%q) succeeds", raw)
			_ = s.Close()
			continue
		}
		if !strings.HasPrefix(err.Error(), "storage/kubernetes: ") {
			t.Errorf("Open(%q): %v", raw, err)
		}
		noToken(t, err)
	}
	for _, c := range []Config{{Namespace: "b"}, {Name: "c"}} {
		if _, err := Open(t.Context(), "kubernetes://10.0.0.1/a/b", c); err == nil || !strings.Contains(err.Error(), "leave one of them out") {
			t.Errorf("%+v: %v", c, err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ended, "kubernetes://10.0.0.1/a", Config{}); err == nil {
		t.Error("Open under a context that has ended")
	}
}

func TestOpenDefaults(t *testing.T) {
	for raw, want := range map[string][2]string{
		"kubernetes://10.0.0.1/a":              {"https://10.0.0.1:443", "a everseal"},
		"kubernetes://10.0.0.1:6443/a/b/":      {"https://10.0.0.1:6443", "a b"},
		"kubernetes://[2001:db8::1]/a":         {"https://[2001:db8::1]:443", "a everseal"},
		"kubernetes://[2001:db8::1]:6443/a":    {"https://[2001:db8::1]:6443", "a everseal"},
		"kubernetes://api.example.com/a?ca=/x": {"https://api.example.com:443", "a everseal"},
	} {
		s := open(t, raw)
		if s.base != want[0] || s.namespace+" "+s.name != want[1] || s.token == nil {
			t.Errorf("%s: %s, %s %s", raw, s.base, s.namespace, s.name)
		}
	}
	if s := open(t, "kubernetes://10.0.0.1/a?cert=/x&key=/y"); s.token != nil {
		t.Error("a token is wanted beside a client's certificate")
	}
}

func TestNewRefuses(t *testing.T) {
	namespace := Config{Namespace: "a"}
	for _, test := range []struct {
		client  *http.Client
		address string
		config  Config
	}{
		{nil, "https://10.0.0.1", namespace}, {http.DefaultClient, "", namespace}, {http.DefaultClient, "10.0.0.1:6443", namespace},
		{http.DefaultClient, "ftp://10.0.0.1", namespace}, {http.DefaultClient, "https://t0ken@10.0.0.1", namespace}, {http.DefaultClient, "https://10.0.0.1?t0ken", namespace},
		{http.DefaultClient, "https://10.0.0.1#a", namespace}, {http.DefaultClient, "https://10.0.0.1", Config{}}, {http.DefaultClient, "https://10.0.0.1", Config{Namespace: "A"}},
		{http.DefaultClient, "https://10.0.0.1", Config{Namespace: "a", Name: "a/b"}}, {http.DefaultClient, "https://%zz", namespace},
	} {
		if _, err := New(test.client, test.address, test.config); err == nil || !strings.HasPrefix(err.Error(), "storage/kubernetes: ") {
			t.Errorf("New(%v, %q, %+v): %v", test.client, test.address, test.config, err)
		} else {
			noToken(t, err)
		}
	}
}
