package redis

import (
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

func TestOpenRefuses(t *testing.T) {
	escaped := url.UserPassword("u", secret).String()
	broken := filepath.Join(t.TempDir(), "broken.pem")
	if err := os.WriteFile(broken, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for raw, want := range map[string]string{
		"": "can't be read", "redis": "", "/a/b": "", "http://" + escaped + "@host/0": "", "redis://" + escaped + "@host:port": "", "redis://u:" + secret + "@host": "",
		"redis://u:s3cr#t@host": "", "redis://u:5432?s3cr@host": "", "redis://u:5432/s3cr@host": "", "valkey://u:1@2/s3cr@host/a": "", "unix://": "",
		"redis://" + escaped + "@host/a": "can't be read", "redis://" + escaped + "@host/1/2": "can't be read", "valkeysql://host": "",
		"redis://" + escaped + "@host?read_timeout=s3cr": `"read_timeout"`, "redis://" + escaped + "@host?pool_size=s3cr": `"pool_size"`,
		"redis://" + escaped + "@host?s3cret=1": `"s3cret"`, "redis://host?prefix=a&prefix=b": `"prefix"`, "redis://host?replicas=-1": `"replicas"`,
		"redis://host?replicas=many": `"replicas"`, "redis://host?pool_size=-1": "pool_size", "redis://host?pool_size=1000000": "pool_size", "redis://host?addr=b:1": "addr needs",
		"redis://host/1?cluster=true": "another database", "redis://host?cluster=true&master_name=a": "master", "redis://host?db=-1": "",
		"redis://host?cacert=/etc/none": "rediss://", "rediss://host?cacert=/none/ca.pem": "cacert", "rediss://host?cacert=" + broken: "no certificate",
		"rediss://host?cert=" + broken + "&key=" + broken: "cert and key", "redis://host?%zz": "", "redis://host?cluster=yes": `"cluster"`,
		"redis://host?prefix=A": "prefix", "redis://host?prefix=%7Ba%7D": "prefix", "redis://host?prefix=" + strings.Repeat("a", 65): "prefix",
	} {
		s, err := Open(t.Context(), raw, Config{})
		if err == nil {
			t.Errorf("Open(%q) succeeds", raw)
			_ = s.Close()
			continue
		}
		text := err.Error()
		if !strings.HasPrefix(text, "storage/redis: ") || strings.Contains(text, "s3cr") && !strings.Contains(raw, "s3cret=1") || !strings.Contains(text, want) {
			t.Errorf("Open(%q): %s, want %q in it", raw, text, want)
		}
		wanted.NoSecret(t, err)
	}
	client := redis.NewClient(&redis.Options{})
	defer client.Close()
	reads := redis.NewClusterClient(&redis.ClusterOptions{ReadOnly: true})
	defer reads.Close()
	random := redis.NewClusterClient(&redis.ClusterOptions{RouteRandomly: true})
	defer random.Close()
	ring := redis.NewRing(&redis.RingOptions{})
	defer ring.Close()
	for name, test := range map[string]struct {
		client redis.UniversalClient
		config Config
		want   error
	}{
		"nil":                {nil, Config{}, errNoClient},
		"nil client":         {(*redis.Client)(nil), Config{}, errNoClient},
		"nil cluster":        {(*redis.ClusterClient)(nil), Config{}, errNoClient},
		"a ring":             {ring, Config{}, errKind},
		"replicas read":      {reads, Config{}, errReads},
		"any node read":      {random, Config{}, errReads},
		"prefix":             {client, Config{Prefix: "a/b"}, errPrefix},
		"negative replicas":  {client, Config{Replicas: -1}, errCount},
		"prefix with braces": {client, Config{Prefix: "{a}"}, errPrefix},
	} {
		if _, err := New(test.client, test.config); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
}

func TestURLSettings(t *testing.T) {
	o, c, err := parseURL("valkeys://u:p%40@h1:1?addr=h2:2&addr=h3:3&cluster=true&prefix=a&replicas=2&read_timeout=7s", Config{})
	if err != nil || c != (Config{"a", 2}) || strings.Join(o.Addrs, " ") != "h1:1 h2:2 h3:3" || !o.IsClusterMode || o.Username != "u" || o.Password != "p@" ||
		o.PoolSize != maxConnections || o.ReadTimeout != 7*time.Second || !o.ContextTimeoutEnabled || o.PipelinePoolSize != -1 {
		t.Errorf("%+v, %+v, %v", o, c, err)
	}
	if o.TLSConfig == nil || o.TLSConfig.InsecureSkipVerify || o.TLSConfig.ServerName != "" {
		t.Errorf("TLS is %+v", o.TLSConfig)
	}
	o, c, err = parseURL("redis://u:p@s1/3?addr=s2:2&master_name=main&sentinel_username=su&sentinel_password=sp&prefix=b&pool_size=3", Config{Prefix: "a", Replicas: 1})
	if err != nil || c != (Config{"a", 1}) || strings.Join(o.Addrs, " ") != "s1:6379 s2:2" || o.MasterName != "main" || o.Username != "u" || o.Password != "p" ||
		o.SentinelUsername != "su" || o.SentinelPassword != "sp" || o.DB != 3 || o.PoolSize != 3 || o.TLSConfig != nil {
		t.Errorf("%+v, %+v, %v", o, c, err)
	}
	if o, _, err = parseURL("unix://u:p@/run/redis.sock?db=2", Config{}); err != nil || o.Addrs[0] != "/run/redis.sock" || o.DB != 2 || o.Password != "p" {
		t.Errorf("%+v, %v", o, err)
	}
}

// What a URL says besides the server is heeded.
func TestUnixSocket(t *testing.T) {
	folder := t.TempDir()
	newNode(t, "redis-server", "unixsocket "+folder+"/s")
	s := target{url: "unix://" + folder + "/s?db=2&prefix=mine"}.open(t)
	mustSave(t, s, "a", "x")
	if other := (target{url: "unix://" + folder + "/s?db=2&prefix=mine"}).open(t); other.markKey != "{mine}" {
		t.Errorf("the mark is %q", other.markKey)
	}
	wantRecords(t, s, "a")
	wantRecords(t, target{url: "unix://" + folder + "/s?prefix=mine"}.open(t))
}
