package etcd

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestOpenRefuses(t *testing.T) {
	noise := filepath.Join(t.TempDir(), "noise.pem")
	if err := os.WriteFile(noise, []byte("this is no certificate\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	escaped := url.UserPassword("u", secret).String() + "@"
	for _, raw := range []string{
		"", "etcd", "etcd:", "etcd://", "etcd:///a", "/a/b", "http://host:2379/a", "etcds://host", "ETCD://host",
		"etcd://host:port/a", "etcd://host:0", "etcd://host:65536", "etcd://host:2379:2379", "etcd://host,", "etcd://,host", "etcd://ho st", "etcd://[::1", "etcd://ho$t",
		"etcd://u:" + secret + "@host/a", "etcd://u:s3cr#t@host/a", "etcd://u:2379?s3cr@host/a", "etcd://u:2379/s3cr@host/a",
		"etcd://u@host/a", "etcd://:s3cr@host", "etcd://" + escaped + "host/a%zz", "etcd://host/a?tls=%zz",
		"etcd://" + escaped + "host/a?password=s3cr", "etcd://host?s3cr", "etcd://host?tls=maybe", "etcd://host?tls=true&tls=true",
		"etcd://" + escaped + "host?tls=false&ca=/none", "etcd://host?ca=/none", "etcd://host?ca=" + noise, "etcd://host?cert=/none", "etcd://host?key=/none",
		"etcd://host?cert=/none&key=/none", "etcd://host?cert=" + noise + "&key=" + noise,
		"etcd://host?session=x", "etcd://host?session=1s", "etcd://host?session=11m", "etcd://host?session=2500ms", "etcd://host?session=0s", "etcd://host?session=-5s",
		"etcd://host/a%20b", "etcd://host/ä", "etcd://host/" + strings.Repeat("a", maxPrefix),
	} {
		s, err := Open(t.Context(), raw, Config{})
		if err == nil {
			t.Errorf("Open(%q) succeeds", raw)
			_ = s.Close()
			continue
		}
		if text := err.Error(); !strings.HasPrefix(text, "storage/etcd: ") || strings.Contains(text, "s3cr") || strings.ContainsAny(text, "\n\r") {
			t.Errorf("Open(%q): %s", raw, text)
		}
		wanted.NoSecret(t, err)
		if os.IsNotExist(err) {
			t.Errorf("Open(%q): %v is taken for a missing record", raw, err)
		}
	}
	for _, c := range []Config{
		{Prefix: "a b"}, {Prefix: "a\n"}, {Prefix: "\x00"}, {Prefix: "ä"}, {Prefix: strings.Repeat("a", maxPrefix)},
		{SessionTTL: time.Second}, {SessionTTL: -time.Minute}, {SessionTTL: time.Hour}, {SessionTTL: 2500 * time.Millisecond},
	} {
		if _, err := Open(t.Context(), "etcd://host", c); err != errPrefix && err != errTTL {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if _, err := New(nil, Config{}); err != errNoClient {
		t.Errorf("New(nil): %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ended, "etcd://host", Config{}); err != context.Canceled {
		t.Errorf("Open under a cancelled context: %v", err)
	}
}

// Nothing said means verified TLS, unless the members are on this machine.
func TestOpenDefaults(t *testing.T) {
	tests := []struct {
		url       string
		secure    bool
		endpoints string
		prefix    string
		ttl       time.Duration
	}{
		{"etcd://db.example.com", true, "db.example.com:2379", "everseal/", defaultTTL},
		{"etcd://u:p@db.example.com:1/?tls=false&session=3s", false, "db.example.com:1", "everseal/", 3 * time.Second},
		{"etcd://localhost/a", false, "localhost:2379", "a/", defaultTTL},
		{"etcd://localhost/a/b/?tls=true", true, "localhost:2379", "a/b/", defaultTTL},
		{"etcd://localhost?servername=etcd.example.com", true, "localhost:2379", "everseal/", defaultTTL},
		{"etcd://127.0.0.1:1,[::1]:2,localhost//registry", false, "127.0.0.1:1,[::1]:2,localhost:2379", "/registry/", defaultTTL},
		{"etcd://[2001:db8::1],h1:2,h2/a%3Ab", true, "[2001:db8::1]:2379,h1:2,h2:2379", "a:b/", defaultTTL},
		{"etcd://localhost,h2/", true, "localhost:2379,h2:2379", "everseal/", defaultTTL},
	}
	for _, test := range tests {
		u, hosts, err := splitURL(test.url)
		if err != nil {
			t.Fatalf("%s: %v", test.url, err)
		}
		parameters, err := parametersOf(u)
		if err != nil {
			t.Fatalf("%s: %v", test.url, err)
		}
		config, err := tlsOf(parameters, hosts)
		if err != nil || (config != nil) != test.secure || config != nil && (config.InsecureSkipVerify || config.ServerName != parameters["servername"]) {
			t.Errorf("%s: TLS %v, %v, want %t", test.url, config, err, test.secure)
		}
		s := target{test.url}.open(t)
		if strings.Join(hosts, ",") != test.endpoints || s.prefix != test.prefix || s.ttl != test.ttl || s.place != "etcd at "+test.endpoints+", prefix "+test.prefix {
			t.Errorf("%s: %s with the TTL %v", test.url, s.place, s.ttl)
		}
	}
	s := target{"etcd://localhost/a?session=3s"}.openWith(t, Config{Prefix: "b/c", SessionTTL: time.Minute})
	if s.prefix != "b/c/" || s.ttl != time.Minute {
		t.Errorf("a Config that says more than the URL: prefix %s, TTL %v", s.prefix, s.ttl)
	}
}

func TestHostsOf(t *testing.T) {
	endpoints := []string{"https://h1:1", "h2:2", "http://u:p@h3:3", "unix:///tmp/s"}
	if got := strings.Split(hostsOf(endpoints), ","); !slices.Equal(got, []string{"h1:1", "h2:2", "h3:3", "/tmp/s"}) {
		t.Errorf("endpoints are named %q", got)
	}
}
