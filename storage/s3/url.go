package s3

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

var errURL = errors.New("storage/s3: the URL can't be read: it is like s3://ACCESS_KEY:SECRET_KEY@bucket/prefix?region=eu-central-1, " +
	"with characters such as / + @ : % in a secret key written as %2F %2B %40 %3A %25")

const (
	defaultConnections = 16
	dialTimeout        = 10 * time.Second
	answerTimeout      = 30 * time.Second // for the head of an answer
)

// Open returns a store in the bucket that the URL names. It asks nothing of the service yet, so that a program can start
// while that is away. The store must be closed with Close.
//
//	s3://ACCESS_KEY:SECRET_KEY@bucket/prefix?region=eu-central-1
//	s3://ACCESS_KEY:SECRET_KEY@bucket/prefix?endpoint=https://ACCOUNT.r2.cloudflarestorage.com
//
// Parameters are region, which AWS wants; endpoint, the address of another service, with http:// only if TLS is not wanted;
// ca, a file of the CAs that may have signed the service's certificate; path_style, whether the bucket's name is in the path
// in place of the host (true if there is an endpoint); session_token; connections, at most (16); poll, an interval such as
// 30s, and conditional_delete, both as [Config] has them.
//
// Credentials that are not in the URL, such as those of a machine's role, are the client's that [New] takes. Errors never
// quote the URL.
func Open(ctx context.Context, rawURL string, c Config) (*Store, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("storage/s3: %w", err)
	}
	u, err := url.Parse(rawURL)
	// An @ that comes late, or a #, is of a secret key that was not escaped: what comes before it is no bucket.
	if err != nil || u.Scheme != "s3" || u.Host == "" || u.Port() != "" || u.Opaque != "" || u.Fragment != "" || strings.Contains(u.Path, "@") {
		return nil, errURL // err quotes the URL
	}
	access := u.User.Username()
	secret, _ := u.User.Password()
	if access == "" || secret == "" {
		return nil, errors.New("storage/s3: the URL has no access key or no secret key: write s3://ACCESS_KEY:SECRET_KEY@bucket, or give New a client " +
			"with the credentials of this machine")
	}
	p, err := parametersOf(u.RawQuery)
	if err != nil {
		return nil, err
	}
	c.Bucket = u.Hostname()
	if prefix := strings.Trim(u.Path, "/"); prefix != "" {
		c.Prefix = prefix
	}
	if p.poll > 0 {
		c.PollInterval = p.poll
	}
	c.ConditionalDelete = c.ConditionalDelete || p.conditionalDelete
	transport := p.transport()
	s, err := New(s3.New(s3.Options{
		Region: p.region, BaseEndpoint: p.endpoint, UsePathStyle: p.pathStyle,
		HTTPClient: &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: access, SecretAccessKey: secret, SessionToken: p.sessionToken, Source: "the store's URL"}, nil
		}),
	}), c)
	if err != nil {
		return nil, err
	}
	s.close = transport.CloseIdleConnections
	return s, nil
}

// Parameters are what a URL has after its question mark.
type parameters struct {
	region, sessionToken         string
	endpoint                     *string
	pathStyle, conditionalDelete bool
	connections                  int
	poll                         time.Duration
	roots                        *x509.CertPool
}

func parametersOf(query string) (parameters, error) {
	p := parameters{connections: defaultConnections}
	values, err := url.ParseQuery(query)
	if err != nil {
		return p, errURL
	}
	p.pathStyle = values.Has("endpoint")
	for name, all := range values {
		if len(all) != 1 {
			return p, fmt.Errorf("storage/s3: the URL has the parameter %.40q more than once", name)
		}
		if err := p.set(name, all[0]); err != nil {
			return p, err
		}
	}
	switch {
	case p.region == "" && p.endpoint == nil:
		return p, errors.New("storage/s3: the URL has no region: add ?region= with the one that the bucket is in, or ?endpoint= for another service than AWS")
	case p.region == "":
		p.region = "us-east-1"
	}
	return p, nil
}

// set notes one parameter. Its errors quote what has no secret.
func (p *parameters) set(name, value string) (err error) {
	switch name {
	case "region":
		p.region = value
		if value == "" || strings.Trim(value, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			err = errors.New("it is like eu-central-1")
		}
	case "endpoint":
		p.endpoint = &value
		err = checkEndpoint(value)
	case "session_token":
		p.sessionToken = value
	case "path_style":
		p.pathStyle, err = strconv.ParseBool(value)
	case "conditional_delete":
		p.conditionalDelete, err = strconv.ParseBool(value)
	case "connections":
		if p.connections, err = strconv.Atoi(value); err == nil && p.connections < 1 {
			err = errors.New("it must be 1 at least")
		}
	case "poll":
		if p.poll, err = time.ParseDuration(value); err == nil && p.poll <= 0 {
			err = errors.New("it must be more than 0")
		}
	case "ca":
		p.roots, err = rootsOf(value)
	default:
		return fmt.Errorf("storage/s3: the URL has the parameter %.40q, which is none: see Open for those there are", name)
	}
	if err != nil {
		return fmt.Errorf("storage/s3: the URL's parameter %s can't be used: %w", name, cause{err})
	}
	return nil
}

func checkEndpoint(value string) error {
	u, err := url.Parse(value)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("it is like https://s3.example.com:9000, without a user")
	}
	return nil
}

// hostOf returns the host and port of an endpoint.
func hostOf(endpoint string) string {
	if u, err := url.Parse(endpoint); err == nil && u.Host != "" {
		return u.Host
	}
	return endpoint
}

func rootsOf(file string) (*x509.CertPool, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(data) {
		return nil, errors.New("the file has no certificate in PEM")
	}
	return roots, nil
}

func (p *parameters) transport() *http.Transport {
	dialer := net.Dialer{Timeout: dialTimeout}
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           dialer.DialContext,
		TLSClientConfig:       &tls.Config{RootCAs: p.roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:   dialTimeout,
		ResponseHeaderTimeout: answerTimeout,
		IdleConnTimeout:       90 * time.Second,
		MaxConnsPerHost:       p.connections,
		MaxIdleConnsPerHost:   p.connections,
	}
}
