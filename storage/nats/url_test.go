package nats

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestOpenRefuses(t *testing.T) {
	noise := filepath.Join(t.TempDir(), "noise.pem")
	if err := os.WriteFile(noise, []byte("this is no certificate\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	escaped := url.UserPassword("u", secret).String() + "@"
	for _, raw := range []string{
		"", "nats", "nats:", "nats://", "nats:///a", "/a/b", "http://host:4222/a", "tls://host", "NATS://host",
		"nats://host:port/a", "nats://host:0", "nats://host:65536", "nats://host:4222:4222", "nats://host,", "nats://,host", "nats://ho st", "nats://[::1", "nats://ho$t",
		"nats://u:" + secret + "@host/a", "nats://u:s3cr#t@host/a", "nats://u:4222?s3cr@host/a", "nats://u:4222/s3cr@host/a",
		"nats://u:@host/a", "nats://:s3cr@host", "nats://@host", "nats://" + escaped + "host/a%zz", "nats://host/a?tls=%zz",
		"nats://" + escaped + "host/a?password=s3cr", "nats://host?s3cr", "nats://host?tls=maybe", "nats://host?tls=true&tls=true",
		"nats://" + escaped + "host?tls=false&ca=/none", "nats://host?ca=/none", "nats://host?ca=" + noise, "nats://host?cert=/none", "nats://host?key=/none",
		"nats://host?cert=/none&key=/none", "nats://host?cert=" + noise + "&key=" + noise,
		"nats://host?creds=/none", "nats://host?nkey=/none", "nats://host?nkey=" + noise, "nats://" + escaped + "host?nkey=" + noise, "nats://host?nkey=" + noise + "&creds=" + noise,
		"nats://host?inbox=a..b", "nats://host?inbox=a.", "nats://host?inbox=>", "nats://host?domain=a.b", "nats://host?domain=*",
		"nats://host?replicas=x", "nats://host?replicas=6", "nats://host?replicas=-1",
		"nats://host/a/b", "nats://host/a.b", "nats://host/a%20b", "nats://host/ä", "nats://host/" + strings.Repeat("a", maxBucket+1),
	} {
		s, err := Open(t.Context(), raw, Config{})
		if err == nil {
			t.Errorf("Open(%q) succeeds", raw)
			_ = s.Close()
			continue
		}
		if text := err.Error(); !strings.HasPrefix(text, "storage/nats: ") || strings.Contains(text, "s3cr") || strings.ContainsAny(text, "\n\r") {
			t.Errorf("Open(%q): %s", raw, text)
		}
		wanted.NoSecret(t, err)
		if os.IsNotExist(err) {
			t.Errorf("Open(%q): %v is taken for a missing record", raw, err)
		}
	}
	for _, c := range []Config{{Bucket: "a b"}, {Bucket: "a.b"}, {Bucket: ">"}, {Bucket: strings.Repeat("a", maxBucket+1)}, {Replicas: -1}, {Replicas: 6}} {
		if _, err := Open(t.Context(), "nats://host", c); err != errBucket && err != errReplicas {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if _, err := New(nil, Config{}); err != errNoClient {
		t.Errorf("New(nil): %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ended, "nats://host", Config{}); err != context.Canceled {
		t.Errorf("Open under a cancelled context: %v", err)
	}
}

// A program can start while its storage does not run. Errors say where it was looked for.
func TestUnreachable(t *testing.T) {
	s := target{"nats://" + url.UserPassword("u", secret).String() + "@" + nobody(t) + "/a"}.open(t)
	_, err := s.Load(t.Context(), "certificates/a")
	wanted.Want(t, err, `load "certificates/a"`, s.place, "whether the servers run")
	_, err = s.Save(t.Context(), "certificates/a", nil, "")
	wanted.Want(t, err, `save "certificates/a"`, "whether the servers run")
	for _, err := range s.Watch(t.Context(), "") {
		wanted.Want(t, err, "watch", "whether the servers run")
	}
}
