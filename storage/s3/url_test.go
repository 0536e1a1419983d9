package s3

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

func TestOpenRefuses(t *testing.T) {
	user := "s3://" + url.UserPassword("KEY", secret).String()
	place := user + "@bucket/a?region=eu-central-1"
	for _, raw := range []string{
		"", "bucket", "/a/b", "s3:bucket", "https://KEY:s3cr@bucket/a", user + "@", user + "@bucket", user + "@bucket/a", "s3://KEY@bucket?region=a",
		"s3://:s3cr@bucket?region=a", "s3://bucket/a?region=a", user + "@bucket:99/a?region=a", user + "@bucket:port?region=a", "s3://KEY:" + secret + "@bucket?region=a",
		"s3://KEY:s3cr#t@bucket?region=a", "s3://KEY:s3cr/t@bucket?region=a", "s3://KEY:s3cr/t/x@bucket?region=a", place + "&region=b", place + "&unknown=1",
		user + "@bucket?region=", user + "@bucket?region=a%0Ab", user + "@Bucket?region=a", user + "@b?region=a", user + "@-bucket?region=a",
		user + "@bucket--use1-az4--x-s3?region=a", user + "@bucket/A?region=a", user + "@bucket/a//b?region=a", user + "@bucket/" + strings.Repeat("a", 201) + "?region=a",
		place + "&poll=x", place + "&poll=0", place + "&poll=-1s", place + "&connections=0", place + "&connections=x", place + "&path_style=x",
		place + "&conditional_delete=x", place + "&ca=/none", place + "&ca=/dev/null", user + "@bucket?endpoint=s3.example.com", user + "@bucket?endpoint=",
		user + "@bucket?endpoint=ftp://s3.example.com", user + "@bucket?endpoint=https://u:s3cr@s3.example.com", user + "@bucket?endpoint=https://s3.example.com/?a=b",
		place + "&session_token=%zz", place + "#x",
	} {
		s, err := Open(t.Context(), raw, Config{})
		if err == nil {
			t.Errorf("Open(%q) succeeds", raw)
			_ = s.Close()
			continue
		}
		if text := err.Error(); !strings.HasPrefix(text, "storage/s3: ") || strings.Contains(text, "s3cr") || strings.Contains(text, "\n") {
			t.Errorf("Open(%q): %s", raw, text)
		}
		wanted.NoSecret(t, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ended, place, Config{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Open under a cancelled context: %v", err)
	}
}

func TestNewRefuses(t *testing.T) {
	client := s3.New(s3.Options{Region: "eu-central-1"})
	for name, test := range map[string]struct {
		client *s3.Client
		config Config
	}{
		"no client":         {nil, Config{Bucket: "bucket"}},
		"no bucket":         {client, Config{}},
		"a bucket's URL":    {client, Config{Bucket: "s3://bucket"}},
		"a prefix with /":   {client, Config{Bucket: "bucket", Prefix: "a/"}},
		"a prefix with ..":  {client, Config{Bucket: "bucket", Prefix: "../a"}},
		"negative interval": {client, Config{Bucket: "bucket", PollInterval: -1}},
	} {
		if _, err := New(test.client, test.config); err == nil || !strings.HasPrefix(err.Error(), "storage/s3: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Nothing said means AWS, its conditional deletes, TLS, and a minute between polls.
func TestOpenDefaults(t *testing.T) {
	open := func(raw string, c Config) *Store {
		t.Helper()
		s, err := Open(t.Context(), raw, c)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	s := open("s3://KEY:SECRET@bucket?region=eu-central-1", Config{})
	o := s.client.Options()
	transport := o.HTTPClient.(*http.Client).Transport.(*http.Transport)
	if s.prefix != "everseal/" || s.poll != time.Minute || !s.conditionalDelete || o.UsePathStyle || o.Region != "eu-central-1" || o.BaseEndpoint != nil ||
		transport.MaxConnsPerHost != defaultConnections || transport.TLSClientConfig.InsecureSkipVerify {
		t.Errorf("%+v, %+v", s, o)
	}
	s = open("s3://KEY:SECRET@bucket/a/b/?endpoint=https://x.r2.cloudflarestorage.com&poll=5s&connections=3", Config{Prefix: "c", PollInterval: time.Hour})
	o = s.client.Options()
	transport = o.HTTPClient.(*http.Client).Transport.(*http.Transport)
	if s.prefix != "a/b/" || s.poll != 5*time.Second || s.conditionalDelete || !o.UsePathStyle || transport.MaxConnsPerHost != 3 || s.address != "x.r2.cloudflarestorage.com" {
		t.Errorf("%+v, %+v", s, o)
	}
	s = open("s3://KEY:SECRET@bucket?endpoint=https://s3.example.com&path_style=false&conditional_delete=true&session_token=T", Config{Prefix: "c"})
	o = s.client.Options()
	credentials, err := o.Credentials.Retrieve(t.Context())
	if s.prefix != "c/" || !s.conditionalDelete || o.UsePathStyle || err != nil || credentials.SessionToken != "T" || credentials.SecretAccessKey != "SECRET" {
		t.Errorf("%+v, %+v", s, o)
	}
	for endpoint, aws := range map[string]bool{
		"https://s3.eu-central-1.amazonaws.com": true, "https://vpce-1.s3.eu-central-1.vpce.amazonaws.com:443": true, "https://s3.cn-north-1.amazonaws.com.cn": true,
		"https://amazonaws.com.example.com": false, "https://notamazonaws.com": false,
	} {
		if s := open("s3://KEY:SECRET@bucket?region=a&endpoint="+endpoint, Config{}); s.conditionalDelete != aws {
			t.Errorf("%s: conditional deletes %t, want %t", endpoint, s.conditionalDelete, aws)
		}
	}
}

// Tigris answers from the nearest copy unless it is asked not to.
func TestTigris(t *testing.T) {
	for endpoint, want := range map[string]string{"https://t3.storage.dev": "true", "https://fly.storage.tigris.dev": "true", "https://s3.example.com": ""} {
		opened, err := Open(t.Context(), "s3://KEY:SECRET@bucket?endpoint="+endpoint, Config{})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		s := through(t, opened, func(r *http.Request, _ tripper) (*http.Response, error) {
			got = append(got, r.Header.Get("X-Tigris-Consistent"))
			return nil, context.Canceled
		})
		_, _ = s.Load(t.Context(), "a")
		_, _ = s.Save(t.Context(), "a", nil, "")
		for range s.List(t.Context(), "") {
		}
		if len(got) < 3 || strings.Join(got, " ") != strings.TrimSpace(strings.Repeat(want+" ", len(got))) && want != "" || want == "" && strings.Join(got, "") != "" {
			t.Errorf("%s: the header is %q", endpoint, got)
		}
	}
}
