package acmetest_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme/acmetest"
)

// A network is the part of the Internet that a CA validates in, without sockets: one host that has
// ports 80 and 443 at all addresses, but for those in which 192.0.2.99 stands.
type network struct {
	acmetest.Network
	ca *acmetest.Server

	mu       sync.Mutex
	answers  map[string]string // by path: what the web server answers with
	requests []*http.Request   // that the web server got
	hello    *tls.ClientHelloInfo

	handler http.Handler    // instead of answers
	alpn    alpnCertificate // what the TLS server shows
	noALPN  bool            // the TLS server knows nothing of protocols
}

// newNetwork is called in the bubble that the network is for.
func newNetwork(t *testing.T) *network {
	t.Helper()
	n := &network{answers: make(map[string]string)}
	server := &http.Server{
		Handler:      n,
		TLSConfig:    &tls.Config{GetConfigForClient: n.tlsConfig},
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){"acme-tls/1": func(*http.Server, *tls.Conn, http.Handler) {}},
		ErrorLog:     log.New(io.Discard, "", 0),
	}
	var running sync.WaitGroup
	for address, serve := range map[string]func(net.Listener) error{
		":80":  server.Serve,
		":443": func(l net.Listener) error { return server.ServeTLS(l, "", "") },
	} {
		listener, err := n.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		running.Go(func() { _ = serve(listener) })
	}
	t.Cleanup(func() {
		_ = server.Close()
		running.Wait()
	})
	return n
}

// newCA returns a CA that validates in the network, and for which all names lead there. Its fields can
// be changed before it starts.
func (n *network) newCA(t *testing.T, change func(*acmetest.Server)) *acmetest.Server {
	t.Helper()
	ca := acmetest.NewUnstartedServer()
	ca.Dial = n.dial
	if change != nil {
		change(ca)
	}
	ca.SetHost("*", "192.0.2.1")
	ca.StartInMemory()
	t.Cleanup(ca.Close)
	n.ca = ca
	return ca
}

func (n *network) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if strings.HasPrefix(address, "192.0.2.99:") {
		return nil, errors.New("connection refused")
	}
	return n.DialContext(ctx, network, address)
}

// ServeHTTP is the web server.
func (n *network) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n.mu.Lock()
	n.requests = append(n.requests, r)
	answer, ok := n.answers[r.URL.Path]
	handler := n.handler
	n.mu.Unlock()
	switch {
	case handler != nil:
		handler.ServeHTTP(w, r)
	case ok:
		_, _ = w.Write([]byte(answer))
	default:
		http.NotFound(w, r)
	}
}

// tlsConfig is that for tls-alpn-01 and HTTPS alike.
func (n *network) tlsConfig(*tls.ClientHelloInfo) (*tls.Config, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	config := &tls.Config{NextProtos: []string{"h2", "acme-tls/1"}, GetCertificate: n.getCertificate}
	if n.noALPN {
		config.NextProtos = nil
	}
	return config, nil
}

func (n *network) getCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hello = hello
	return n.alpn.make()
}

// prove answers all challenges of the order that are of the type, and accepts them.
func (n *network) prove(c *client, o *order, challengeType string) {
	c.t.Helper()
	for _, url := range o.Authorizations {
		a := c.authorization(url)
		challenge := a.challenge(c.t, challengeType)
		n.present(a.Identifier, challengeType, c.keyAuthorization(challenge.Token))
		c.post(challenge.URL, map[string]any{}).want(http.StatusOK, "")
		synctest.Wait()
	}
}

func (n *network) present(id identifier, challengeType, keyAuthorization string) {
	token, _, _ := strings.Cut(keyAuthorization, ".")
	n.mu.Lock()
	defer n.mu.Unlock()
	switch challengeType {
	case "http-01":
		n.answers["/.well-known/acme-challenge/"+token] = keyAuthorization
	case "tls-alpn-01":
		n.alpn = rightCertificate(id, keyAuthorization)
	case "dns-01":
		n.ca.SetTXT("_acme-challenge."+id.Value, digest(keyAuthorization))
	}
}

// digest returns what a TXT record for dns-01 holds (RFC 8555 §8.4).
func digest(keyAuthorization string) string {
	sum := sha256.Sum256([]byte(keyAuthorization))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// obtain goes the whole way and returns the valid order.
func (n *network) obtain(c *client, names ...string) *order {
	c.t.Helper()
	o := c.newOrder(names...)
	n.prove(c, o, "http-01")
	return finalize(c, o, newKey(c.t, elliptic.P256()))
}

// finalize finalizes a ready order in a bubble and returns it valid.
func finalize(c *client, o *order, key crypto.Signer) *order {
	c.t.Helper()
	template := new(x509.CertificateRequest)
	for _, id := range o.Identifiers {
		if id.Type == "ip" {
			template.IPAddresses = append(template.IPAddresses, net.ParseIP(id.Value))
		} else {
			template.DNSNames = append(template.DNSNames, id.Value)
		}
	}
	c.post(o.Finalize, newCSR(c.t, template, key)).want(http.StatusOK, "")
	synctest.Wait()
	valid := c.getOrder(o.URL)
	if valid.Status != "valid" || valid.Certificate == "" {
		c.t.Fatalf("order %+v, want it valid", valid)
	}
	return valid
}

// An alpnCertificate says how a certificate for tls-alpn-01 is made.
type alpnCertificate struct {
	names      []string
	addresses  []net.IP
	extensions []pkix.Extension
	issued     bool // by another key and name, not self-signed
}

// rightCertificate is as RFC 8737 §3 wants it.
func rightCertificate(id identifier, keyAuthorization string) alpnCertificate {
	hash := sha256.Sum256([]byte(keyAuthorization))
	value, err := asn1.Marshal(hash[:])
	if err != nil {
		panic(err)
	}
	c := alpnCertificate{extensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 31}, Critical: true, Value: value}}}
	if id.Type == "ip" {
		c.addresses = []net.IP{net.ParseIP(id.Value)}
	} else {
		c.names = []string{id.Value}
	}
	return c
}

func (c alpnCertificate) make() (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:    big.NewInt(1),
		Subject:         pkix.Name{CommonName: "challenge"},
		NotBefore:       time.Now(),
		NotAfter:        time.Now().Add(time.Hour),
		DNSNames:        c.names,
		IPAddresses:     c.addresses,
		ExtraExtensions: c.extensions,
	}
	parent, signer := template, key
	if c.issued {
		if signer, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			return nil, err
		}
		parent = &x509.Certificate{Subject: pkix.Name{CommonName: "challenge"}} // the same name: only the signature tells
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
