package redis

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

var (
	errURL = errors.New("storage/redis: the URL can't be read: it is like redis://user:password@host:6379/0, or rediss:// with TLS, with characters such as " +
		"@ : / ? # % in a password written as %40 %3A %2F %3F %23 %25")
	errSetting = errors.New("storage/redis: the URL has a parameter that can't be")
)

const (
	maxConnections = 8 // to each server, unless the URL says otherwise
	openTimeout    = 5 * time.Second
	readTimeout    = 3 * time.Second
	poolTimeout    = time.Minute // for a connection of the pool; a caller's context ends it earlier
)

// Open returns a store on the server that the URL names, and asks it what it is: a replica, say, is refused. A server that can't
// be reached within five seconds is asked at the first use, so that a program can start while its storage does not. The store
// must be closed with Close.
//
//	redis://user:password@localhost:6379/0
//	rediss://user:password@host:6379/0?cacert=/etc/ca.pem
//	unix:///run/redis/redis.sock?db=0
//	rediss://user:password@host1:7000?cluster=true&addr=host2:7000&addr=host3:7000
//	rediss://user:password@sentinel1:26379/0?master_name=main&addr=sentinel2:26379
//
// The schemes valkey and valkeys mean the same as redis and rediss. Besides the parameters of the driver's ParseURL, such as
// read_timeout (3s if nothing is said) and pool_size (8 connections to each server), there are
//
//   - prefix and replicas, for those of a [Config] that says nothing,
//   - addr, once for each further node of a cluster or further sentinel; cluster=true; and master_name, for sentinels: user
//     and password are the master's, those for the sentinels are sentinel_username and sentinel_password,
//   - cacert, cert and key, for files in PEM: the CAs that may have signed the servers' certificates, in place of the
//     system's, and a certificate to show to the servers, with its key.
//
// Errors never quote the URL.
func Open(ctx context.Context, rawURL string, c Config) (*Store, error) {
	o, c, err := parseURL(rawURL, c)
	if err != nil {
		return nil, err
	}
	s, err := New(redis.NewUniversalClient(o), c)
	if err != nil {
		return nil, err
	}
	s.owned = true
	if o.MasterName != "" {
		s.addresses, s.encrypted, s.master = o.Addrs, o.TLSConfig != nil, o.MasterName
	}
	asking, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	err = s.check(asking)
	if ctx.Err() != nil || err != nil && !mayRecover(asking, err) {
		err = s.failure(ctx, "open", "", err)
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

// mayRecover reports whether the server can't tell now, but may later.
func mayRecover(asking context.Context, err error) bool {
	return asking.Err() != nil || isUnready(err) || !isReply(err) && !isOwn(err) && !untrusted(err)
}

// parseURL returns what the URL says, and the Config with what it says besides.
func parseURL(rawURL string, c Config) (*redis.UniversalOptions, Config, error) {
	u, err := url.Parse(rawURL)
	// An @ that comes late, or a #, is of a password that was not escaped: what comes before it is no address.
	if err != nil || u.Fragment != "" || strings.Contains(u.Path+u.Opaque+u.RawQuery, "@") {
		return nil, c, errURL // err quotes the URL
	}
	if u.Scheme == "valkey" || u.Scheme == "valkeys" {
		u.Scheme = "redis" + strings.TrimPrefix(u.Scheme, "valkey")
	}
	all, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, c, errURL
	}
	own := settings{values: all}
	o := &redis.UniversalOptions{
		MasterName: own.text("master_name"), SentinelUsername: own.text("sentinel_username"), SentinelPassword: own.text("sentinel_password"),
		IsClusterMode: own.flag("cluster"), Addrs: own.all("addr"),
	}
	prefix, replicas := own.text("prefix"), own.number("replicas")
	if c.Prefix == "" {
		c.Prefix = prefix
	}
	if c.Replicas == 0 {
		c.Replicas = replicas
	}
	files := certificateFiles{own.text("cacert"), own.text("cert"), own.text("key")}
	u.RawQuery = own.values.Encode()
	driver, err := redis.ParseURL(u.String())
	if err != nil {
		return nil, c, culprit(own.values)
	}
	if own.failed != "" || driver.PoolSize < 0 || driver.PoolSize > 10_000 || driver.DB < 0 ||
		len(o.Addrs) > 0 && !o.IsClusterMode && o.MasterName == "" || o.IsClusterMode && (o.MasterName != "" || driver.DB != 0) {
		return nil, c, fmt.Errorf("%w: %s", errSetting, cmpOr(own.failed, "addr needs cluster=true or master_name, a cluster has neither a master's name nor "+
			"another database than 0, and pool_size is from 1 to 10000"))
	}
	o.Addrs = append([]string{driver.Addr}, o.Addrs...)
	fill(o, driver)
	if driver.TLSConfig == nil {
		if files != (certificateFiles{}) {
			return nil, c, fmt.Errorf("%w: cacert, cert and key are for TLS: write rediss://", errSetting)
		}
		return o, c, nil
	}
	o.TLSConfig, err = files.config(driver.TLSConfig.InsecureSkipVerify)
	return o, c, err
}

// fill sets what the driver has found in the URL.
func fill(o *redis.UniversalOptions, driver *redis.Options) {
	o.DB, o.Username, o.Password = driver.DB, driver.Username, driver.Password
	o.Protocol, o.ClientName = driver.Protocol, driver.ClientName
	o.MaxRetries, o.MinRetryBackoff, o.MaxRetryBackoff = driver.MaxRetries, driver.MinRetryBackoff, driver.MaxRetryBackoff
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout = driver.DialTimeout, driver.ReadTimeout, driver.WriteTimeout
	o.PoolFIFO, o.PoolSize, o.PoolTimeout = driver.PoolFIFO, driver.PoolSize, driver.PoolTimeout
	o.MinIdleConns, o.MaxIdleConns, o.MaxActiveConns = driver.MinIdleConns, driver.MaxIdleConns, driver.MaxActiveConns
	o.ConnMaxIdleTime, o.ConnMaxLifetime, o.ConnMaxLifetimeJitter = driver.ConnMaxIdleTime, driver.ConnMaxLifetime, driver.ConnMaxLifetimeJitter
	o.MaxConcurrentDials = driver.MaxConcurrentDials
	o.PipelinePoolSize, o.PipelineReadBufferSize, o.PipelineWriteBufferSize = -1, driver.PipelineReadBufferSize, driver.PipelineWriteBufferSize
	if o.PoolSize == 0 {
		o.PoolSize = maxConnections
	}
	if o.ReadTimeout == 0 {
		o.ReadTimeout = readTimeout
	}
	if o.PoolTimeout == 0 {
		o.PoolTimeout = poolTimeout
	}
	o.DialerRetries = 1
	o.ContextTimeoutEnabled = true
	o.DisableIdentity = true // a user with few privileges may not say who it is
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
}

// Settings are the parameters of a URL that are not the driver's; reading one removes it.
type settings struct {
	values url.Values
	failed string // a name
}

func (s *settings) all(name string) []string {
	found := s.values[name]
	delete(s.values, name)
	return found
}

func (s *settings) text(name string) string {
	found := s.all(name)
	if len(found) > 1 {
		s.failed = name
	}
	return strings.Join(found, "")
}

func (s *settings) flag(name string) bool {
	text := s.text(name)
	if text != "" && text != "true" && text != "false" {
		s.failed = name
	}
	return text == "true"
}

func (s *settings) number(name string) int {
	text := s.text(name)
	if text == "" {
		return 0
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		s.failed = name
	}
	return n
}

// culprit returns the error for what the driver does not take, with the name of the parameter that it is.
func culprit(values url.Values) error {
	for name, all := range values {
		if _, err := redis.ParseURL("rediss://localhost?" + url.Values{name: all}.Encode()); err != nil {
			return fmt.Errorf("%w: %.40q", errSetting, name)
		}
	}
	return errURL
}

func cmpOr(a, b string) string {
	if a != "" {
		return strconv.Quote(a)
	}
	return b
}

// Certificate files are named by a URL.
type certificateFiles struct{ ca, certificate, key string }

// config returns the settings for TLS. They name no server: the driver takes each one's name from its address.
func (f certificateFiles) config(unverified bool) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: unverified}
	if f.ca != "" {
		text, err := os.ReadFile(f.ca)
		if err != nil {
			return nil, fmt.Errorf("%w: cacert: %w", errSetting, cause{err})
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("%w: cacert: there is no certificate in %q", errSetting, f.ca)
		}
	}
	if f.certificate+f.key != "" {
		pair, err := tls.LoadX509KeyPair(f.certificate, f.key)
		if err != nil {
			return nil, fmt.Errorf("%w: cert and key: %w", errSetting, cause{err})
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// local reports whether the address is on this machine.
func local(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	ip := net.ParseIP(host)
	return host == "localhost" || host == "" || strings.HasPrefix(host, "/") || ip != nil && ip.IsLoopback()
}
