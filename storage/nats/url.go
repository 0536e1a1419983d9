package nats

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

	driver "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

var (
	errURL = errors.New("storage/nats: the URL can't be read: it is like nats://user:password@host1:4222,host2:4222/bucket?ca=/etc/ca.pem, " +
		"with characters such as @ : / ? # % in a password written as %40 %3A %2F %3F %23 %25")
	errParameter = errors.New("storage/nats: the URL has a parameter that is none of tls, ca, cert, key, servername, creds, nkey, inbox, domain and replicas, or is there twice")
	errTLS       = errors.New("storage/nats: the parameters of TLS can't be: tls is true or false, and if it is false there are no others; cert and key belong together")
	errUser      = errors.New("storage/nats: the URL can have a user with a password, a token, creds, or nkey, but one of them alone")
	errInbox     = errors.New("storage/nats: the parameters inbox and domain can't be: they have letters, digits, - and _, and inbox may have dots between them")
)

const (
	defaultPort  = "4222"
	dialTimeout  = 5 * time.Second
	pingInterval = 10 * time.Second // of a silent connection
	maxPings     = 2                // without an answer
	minRedial    = 50 * time.Millisecond
	maxRedial    = 3 * time.Second
)

// Open returns a store in the servers that the URL names, and looks at the bucket: one whose replicas answer reads, say, is refused. A
// server that can't be reached within five seconds is asked at the first use, so that a program can start while its storage does
// not. The store must be closed with Close.
//
//	nats://host:4222
//	nats://user:password@host1:4222,host2:4222,host3:4222/bucket?ca=/etc/ca.pem&cert=/etc/client.pem&key=/etc/client.key
//	nats://token@host/bucket
//	nats://host/bucket?creds=/etc/program.creds
//
// The port is 4222 if nothing is said. The path is Config.Bucket. The parameters are
//
//   - tls: true or false. If nothing is said TLS is used, unless all servers are on this machine and no other parameter asks for it.
//   - ca: a file with the certificates of CAs, in PEM, which have signed those of the servers. It is the system's CAs otherwise.
//   - cert, key: files with the client's certificate and private key, in PEM. They are read anew for each connection.
//   - servername: the name in the servers' certificates, if it is not their host's.
//   - creds: a file with the user's JWT and the seed of its key, as nsc writes it. It is read anew for each connection.
//   - nkey: a file with the seed of the user's key.
//   - inbox: what the subjects of answers begin with, such as _INBOX_program, so that no other user can read them. It is _INBOX otherwise.
//   - domain: the domain of JetStream, if it is not the server's own.
//   - replicas: Config.Replicas.
//
// Errors never quote the URL.
func Open(ctx context.Context, rawURL string, c Config) (*Store, error) {
	u, hosts, err := splitURL(rawURL)
	if err != nil {
		return nil, err
	}
	if c.Bucket == "" {
		c.Bucket = strings.TrimPrefix(u.Path, "/")
	}
	parameters, err := parametersOf(u)
	if err != nil {
		return nil, err
	}
	if text := parameters["replicas"]; text != "" && c.Replicas == 0 {
		if c.Replicas, err = strconv.Atoi(text); err != nil {
			return nil, errReplicas
		}
	}
	options, err := optionsOf(u, hosts, parameters)
	if err != nil {
		return nil, err
	}
	s, err := newStore(options.Servers, c)
	if err != nil {
		return nil, err
	}
	s.dial = func(ctx context.Context) (jetstream.JetStream, error) {
		return dial(ctx, options, parameters["domain"])
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	asked, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	_, err = s.connect(asked)
	switch {
	case ctx.Err() != nil:
		err = ctx.Err()
	case err == nil || waits(err):
		return s, nil
	default:
		err = s.failure(ctx, "open", "", err)
	}
	_ = s.Close()
	return nil, err
}

// waits reports whether a store with that error may work later.
func waits(err error) bool {
	return refused(err) || passing(err) || unreachable(err)
}

// dial returns a client that keeps its connection until it is closed.
func dial(ctx context.Context, options driver.Options, domain string) (jetstream.JetStream, error) {
	type result struct {
		conn *driver.Conn
		err  error
	}
	done := make(chan result, 1)
	go func() {
		conn, err := options.Connect()
		done <- result{conn, err}
	}()
	var r result
	select {
	case r = <-done:
	case <-ctx.Done():
		go func() {
			if r := <-done; r.conn != nil {
				r.conn.Close()
			}
		}()
		return nil, ctx.Err()
	}
	if r.err != nil {
		return nil, r.err
	}
	if domain != "" {
		return jetstream.NewWithDomain(r.conn, domain)
	}
	return jetstream.New(r.conn)
}

// optionsOf returns those of a connection.
func optionsOf(u *url.URL, hosts []string, parameters map[string]string) (driver.Options, error) {
	o := driver.GetDefaultOptions()
	secure, err := tlsOf(parameters, hosts)
	if err != nil {
		return o, err
	}
	scheme := "nats://"
	if secure != nil {
		scheme, o.Secure, o.TLSConfig = "tls://", true, secure
	}
	for _, host := range hosts {
		o.Servers = append(o.Servers, scheme+host)
	}
	o.Name = "everseal"
	o.Timeout, o.PingInterval, o.MaxPingsOut = dialTimeout, pingInterval, maxPings
	o.MaxReconnect, o.IgnoreAuthErrorAbort = -1, true
	o.ReconnectBufSize = -1 // what was sent long ago must not arrive
	o.CustomReconnectDelayCB = func(attempts int) time.Duration { return min(minRedial<<min(attempts, 8), maxRedial) }
	o.AsyncErrorCB = func(*driver.Conn, *driver.Subscription, error) {} // it would print them
	if inbox := parameters["inbox"]; inbox != "" {
		o.InboxPrefix = inbox
	}
	if !isInbox(parameters["inbox"]) || strings.Contains(parameters["domain"], ".") || !isInbox(parameters["domain"]) {
		return o, errInbox
	}
	return o, identify(&o, u, parameters)
}

// isInbox reports whether it can be a prefix of subjects.
func isInbox(prefix string) bool {
	for token := range strings.SplitSeq(prefix, ".") {
		if !isBucket(token) || token == "" && prefix != "" {
			return false
		}
	}
	return true
}

// identify sets who the user is.
func identify(o *driver.Options, u *url.URL, parameters map[string]string) error {
	name := u.User.Username()
	password, hasPassword := u.User.Password()
	ways := 0
	for _, one := range []bool{u.User != nil, parameters["creds"] != "", parameters["nkey"] != ""} {
		if one {
			ways++
		}
	}
	if ways > 1 || u.User != nil && (name == "" || hasPassword && password == "") {
		return errUser
	}
	switch {
	case hasPassword:
		o.User, o.Password = name, password
	case name != "":
		o.Token = name
	case parameters["creds"] != "":
		if err := readable(parameters["creds"]); err != nil {
			return err
		}
		return driver.UserCredentials(parameters["creds"])(o)
	case parameters["nkey"] != "":
		if err := readable(parameters["nkey"]); err != nil {
			return err
		}
		option, err := driver.NkeyOptionFromSeed(parameters["nkey"])
		if err != nil {
			return fmt.Errorf("storage/nats: the file %q has no seed of a key", parameters["nkey"])
		}
		return option(o)
	}
	return nil
}

func readable(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("storage/nats: the credentials can't be read: %w", cause{err})
	}
	return f.Close()
}

// splitURL returns the URL and its hosts, with their ports. Package url itself knows only one port.
func splitURL(raw string) (*url.URL, []string, error) {
	rest, found := strings.CutPrefix(raw, "nats://")
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
	u, err := url.Parse("nats://" + user + "host" + rest[end:])
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
		case "tls", "ca", "cert", "key", "servername", "creds", "nkey", "inbox", "domain", "replicas":
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
			return nil, fmt.Errorf("storage/nats: the CAs can't be read: %w", cause{err})
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("storage/nats: %q has no certificate of a CA, in PEM", file)
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
			return nil, fmt.Errorf("storage/nats: %w", err)
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

// hostsOf returns the endpoints of a connection as errors name them.
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
