package etcd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
)

var (
	errURL = errors.New("storage/etcd: the URL can't be read: it is like etcd://user:password@host1:2379,host2:2379/prefix?ca=/etc/ca.pem, " +
		"with characters such as @ : / ? # % in a password written as %40 %3A %2F %3F %23 %25")
	errParameter = errors.New("storage/etcd: the URL has a parameter that is none of tls, ca, cert, key, servername and session, or is there twice")
	errTLS       = errors.New("storage/etcd: the parameters of TLS can't be: tls is true or false, and if it is false there are no others; cert and key belong together")
	errUser      = errors.New("storage/etcd: the URL has a user without a password: give it, or leave the user to the common name of a client certificate (cert, key)")

	errUnanswered = errors.New("none of the endpoints answers")
)

const (
	defaultPort  = "2379"
	dialTimeout  = 5 * time.Second
	pingInterval = 10 * time.Second // of a connection in use that is silent
	pingTimeout  = 5 * time.Second
	minRedial    = 100 * time.Millisecond
	maxRedial    = 3 * time.Second
)

// Open returns a store in the cluster that the URL names by the endpoints of its members. It asks nothing of the cluster yet, so
// that a program can start while its etcd does not; ctx is for Open alone. The store must be closed with Close.
//
//	etcd://host:2379
//	etcd://user:password@host1:2379,host2:2379,host3:2379/prefix?ca=/etc/ca.pem&cert=/etc/client.pem&key=/etc/client.key
//
// The port is 2379 if nothing is said. The path is Config.Prefix, such as "certificates/" for /certificates. The parameters are
//
//   - tls: true or false. If nothing is said TLS is used, unless all members are on this machine and no other parameter asks for it.
//   - ca: a file with the certificates of CAs, in PEM, which have signed those of the members. It is the system's CAs otherwise.
//   - cert, key: files with the client's certificate and private key, in PEM. They are read anew for each connection.
//   - servername: the name in the members' certificates, if it is not their host's.
//   - session: Config.SessionTTL, such as 20s.
//
// Errors never quote the URL.
func Open(ctx context.Context, rawURL string, c Config) (*Store, error) {
	u, hosts, err := splitURL(rawURL)
	if err != nil {
		return nil, err
	}
	if c.Prefix == "" {
		c.Prefix = strings.TrimPrefix(u.Path, "/")
	}
	parameters, err := parametersOf(u)
	if err != nil {
		return nil, err
	}
	if text := parameters["session"]; text != "" && c.SessionTTL == 0 {
		if c.SessionTTL, err = time.ParseDuration(text); err != nil || c.SessionTTL == 0 {
			return nil, errTTL
		}
	}
	password, _ := u.User.Password()
	if (u.User.Username() == "") != (password == "") {
		return nil, errUser
	}
	secure, err := tlsOf(parameters, hosts)
	if err != nil {
		return nil, err
	}
	scheme := "http://"
	if secure != nil {
		scheme = "https://"
	}
	endpoints := make([]string, len(hosts))
	for i, host := range hosts {
		endpoints[i] = scheme + host
	}
	s, err := newStore(endpoints, c)
	if err != nil {
		return nil, err
	}
	config := clientv3.Config{Endpoints: endpoints, TLS: secure, Username: u.User.Username(), Password: password}
	base := context.WithoutCancel(ctx)
	s.dial = func(ctx context.Context) (*clientv3.Client, error) { return dial(ctx, base, config) }
	return s, ctx.Err()
}

// dial returns a client that lives in base. It asks the cluster for a token if there is a password, until ctx ends.
func dial(ctx, base context.Context, config clientv3.Config) (*clientv3.Client, error) {
	base, cancel := context.WithCancel(base)
	stop := context.AfterFunc(ctx, cancel)
	config.Context = base
	config.Logger = zap.NewNop()
	config.DialTimeout = dialTimeout
	config.DialKeepAliveTime, config.DialKeepAliveTimeout = pingInterval, pingTimeout
	// The client would wait for ever, also for a token, where nobody can be reached.
	unwaiting := func(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		return invoke(ctx, method, request, reply, conn, append(slices.Clip(opts), grpc.WaitForReady(false))...)
	}
	redial := backoff.DefaultConfig
	redial.BaseDelay, redial.MaxDelay = minRedial, maxRedial
	config.DialOptions = []grpc.DialOption{
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: redial, MinConnectTimeout: dialTimeout}),
		grpc.WithChainUnaryInterceptor(unwaiting),
	}
	client, err := clientv3.New(config)
	if !stop() && err == nil {
		_ = client.Close()
		err = ctx.Err()
	}
	if err != nil {
		cancel()
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			err = errUnanswered
		}
		return nil, err
	}
	return client, nil
}

// splitURL returns the URL and its hosts, with their ports. Package url itself knows only one port.
func splitURL(raw string) (*url.URL, []string, error) {
	rest, found := strings.CutPrefix(raw, "etcd://")
	if !found {
		return nil, nil, errURL
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	user, hosts := "", rest[:end]
	if at := strings.LastIndexByte(hosts, '@'); at >= 0 {
		user, hosts = hosts[:at+1], hosts[at+1:]
	}
	u, err := url.Parse("etcd://" + user + "host" + rest[end:])
	// An @ that comes late, or a #, is of a password that was not escaped: what comes before it is no address.
	if err != nil || strings.Contains(raw, "#") || strings.Contains(u.Path+u.RawQuery, "@") {
		return nil, nil, errURL // err quotes the URL
	}
	var all []string
	for host := range strings.SplitSeq(hosts, ",") {
		name, port, err := net.SplitHostPort(host)
		if err != nil {
			name, port = host, defaultPort
			if bare, found := strings.CutPrefix(host, "["); found && strings.HasSuffix(bare, "]") {
				name = strings.TrimSuffix(bare, "]")
			}
		}
		number, err := strconv.ParseUint(port, 10, 16)
		if err != nil || number == 0 || !isHost(name) {
			return nil, nil, errURL
		}
		all = append(all, net.JoinHostPort(name, port))
	}
	return u, all, nil
}

// isHost reports whether it can be an address or a name.
func isHost(name string) bool {
	if net.ParseIP(name) != nil {
		return true
	}
	for _, c := range name {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '.' && c != '_' {
			return false
		}
	}
	return name != ""
}

// parametersOf returns those of the URL, each at most once.
func parametersOf(u *url.URL) (map[string]string, error) {
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, errURL
	}
	parameters := make(map[string]string)
	for name, values := range query {
		switch name {
		case "tls", "ca", "cert", "key", "servername", "session":
		default:
			return nil, errParameter
		}
		if len(values) != 1 {
			return nil, errParameter
		}
		parameters[name] = values[0]
	}
	return parameters, nil
}

// tlsOf returns the configuration that the parameters ask for, nil if that is none.
func tlsOf(parameters map[string]string, hosts []string) (*tls.Config, error) {
	asked := parameters["ca"] != "" || parameters["cert"] != "" || parameters["key"] != "" || parameters["servername"] != ""
	secure := asked || !local(hosts)
	switch parameters["tls"] {
	case "":
	case "true":
		secure = true
	case "false":
		secure = false
	default:
		return nil, errTLS
	}
	if asked && !secure || (parameters["cert"] == "") != (parameters["key"] == "") {
		return nil, errTLS
	}
	if !secure {
		return nil, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: parameters["servername"]}
	if file := parameters["ca"]; file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("storage/etcd: the CAs can't be read: %w", cause{err})
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("storage/etcd: %q has no certificate of a CA, in PEM", file)
		}
	}
	if certificate, key := parameters["cert"], parameters["key"]; certificate != "" {
		read := func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(certificate, key)
			if err != nil {
				return nil, fmt.Errorf("the client certificate can't be read: %w", cause{err})
			}
			return &pair, nil
		}
		if _, err := read(nil); err != nil {
			return nil, fmt.Errorf("storage/etcd: %w", err)
		}
		config.GetClientCertificate = read
	}
	return config, nil
}

// local reports whether all hosts are on this machine.
func local(hosts []string) bool {
	for _, host := range hosts {
		name, _, _ := net.SplitHostPort(host)
		if ip := net.ParseIP(name); name != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return false
		}
	}
	return true
}

// hostsOf returns the endpoints of a client as errors name them.
func hostsOf(endpoints []string) string {
	names := make([]string, len(endpoints))
	for i, endpoint := range endpoints {
		_, name, found := strings.Cut(endpoint, "://")
		if !found {
			name = endpoint
		}
		if at := strings.LastIndexByte(name, '@'); at >= 0 {
			name = name[at+1:]
		}
		names[i] = name
	}
	return strings.Join(names, ",")
}
