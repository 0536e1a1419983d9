package kubernetes

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// podAccount is where a pod has the token of its service account, the cluster's CA and the name of its namespace.
const podAccount = "/var/run/secrets/kubernetes.io/serviceaccount"

// An account are the files that show the server who its client is, and the client the server. Each is read when it is
// needed: the kubelet replaces tokens about once an hour, and CAs and certificates are replaced as well.
type account struct {
	token     string // empty: none
	ca        string
	cert, key string // empty: none
	host      string // of the server
}

// maxFile is how large a token, a certificate or a CA may be.
const maxFile = 1 << 20

// readFile returns the text of a file, without white space around it.
func readFile(what, name string) (string, error) {
	file, err := os.Open(name)
	if err != nil {
		return "", fmt.Errorf("%s: %w: mount the service account's token, or name another file", what, err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxFile))
	if err != nil {
		return "", fmt.Errorf("%s: %w", what, err)
	}
	text := strings.TrimSpace(string(data))
	if text == "" {
		return "", fmt.Errorf("%s: the file %s is empty", what, name)
	}
	return text, nil
}

// readToken returns what the file of the token has now.
func (a account) readToken() (string, error) {
	token, err := readFile("the token", a.token)
	if err == nil && strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fmt.Errorf("the token: the file %s has something else", a.token)
	}
	return token, err
}

// config returns how to speak TLS with the server, by what the files have now.
func (a account) config() (*tls.Config, error) {
	text, err := readFile("the CA", a.ca)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{RootCAs: x509.NewCertPool(), ServerName: a.host, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
	if !config.RootCAs.AppendCertsFromPEM([]byte(text)) {
		return nil, fmt.Errorf("the CA: the file %s has no certificate in PEM", a.ca)
	}
	if a.cert != "" {
		certificate, err := tls.LoadX509KeyPair(a.cert, a.key)
		if err != nil {
			return nil, fmt.Errorf("the client's certificate: %w", err)
		}
		config.Certificates = []tls.Certificate{certificate}
	}
	return config, nil
}

// client returns a client for the server at host and port.
func (a account) client(address string) client {
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}
	transport := &http.Transport{
		DialTLSContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			config, err := a.config()
			if err != nil {
				return nil, err
			}
			return (&tls.Dialer{NetDialer: dialer, Config: config}).DialContext(ctx, network, address)
		},
		ForceAttemptHTTP2:     true,
		DisableCompression:    true,                                                                                // keys and certificates hardly shrink
		HTTP2:                 &http.HTTP2Config{SendPingTimeout: 30 * time.Second, PingTimeout: 15 * time.Second}, // finds out that nobody is there
		ResponseHeaderTimeout: 65 * time.Second,                                                                    // servers give up after 60
		MaxIdleConnsPerHost:   maxRequests,
		IdleConnTimeout:       90 * time.Second,
	}
	c := client{
		http: &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		base: "https://" + address, host: address, close: transport.CloseIdleConnections,
	}
	if a.token != "" {
		c.token = a.readToken
	}
	return c
}

// podServer returns where a pod finds the API server.
func podServer() (address string, err error) {
	host, port := os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT")
	if host == "" || port == "" {
		return "", errors.New("storage/kubernetes: this is no pod, for KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set: name the API server in the URL")
	}
	return net.JoinHostPort(host, port), nil
}

// readNamespace returns the namespace of an account's folder.
func readNamespace(folder string) (string, error) {
	namespace, err := readFile("the namespace", filepath.Join(folder, "namespace"))
	if err != nil {
		return "", fmt.Errorf("storage/kubernetes: %w, or say in the URL or the Config which namespace it is", cause{err})
	}
	return namespace, nil
}
