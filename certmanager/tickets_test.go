package certmanager_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/certmanager"
)

// A ticketClient is a client that keeps its sessions.
type ticketClient struct {
	t      *testing.T
	config *tls.Config
}

func newTicketClient(t *testing.T, w *world, version uint16) *ticketClient {
	return &ticketClient{t, &tls.Config{ServerName: "example.com", RootCAs: w.ca.Roots(), Time: time.Now,
		MinVersion: version, MaxVersion: version, ClientSessionCache: tls.NewLRUClientSessionCache(1)}}
}

// with returns a client with a certificate and without sessions.
func (c *ticketClient) with(certificate tls.Certificate) *ticketClient {
	config := c.config.Clone()
	config.Certificates, config.ClientSessionCache = []tls.Certificate{certificate}, tls.NewLRUClientSessionCache(1)
	return &ticketClient{c.t, config}
}

// connect reports whether the server with the configuration resumed the client's session.
func (c *ticketClient) connect(server *tls.Config) bool {
	c.t.Helper()
	resumed, err := c.try(server)
	if err != nil {
		c.t.Fatal(err)
	}
	return resumed
}

func (c *ticketClient) try(server *tls.Config) (resumed bool, err error) {
	local, remote := net.Pipe()
	served := make(chan error, 1)
	go func() {
		defer remote.Close()
		_, err := tls.Server(remote, server).Write([]byte("x"))
		served <- err
	}()
	conn := tls.Client(local, c.config)
	_, err = conn.Read(make([]byte, 1)) // before which the tickets of TLS 1.3 come
	local.Close()
	if err = errors.Join(err, <-served); err != nil {
		return false, err
	}
	return conn.ConnectionState().DidResume, nil
}

// inTicketWorld runs f with a manager that has a certificate, for each version of TLS.
func inTicketWorld(t *testing.T, f func(m *certmanager.Manager, c *ticketClient)) {
	for name, version := range map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				m, stop := w.serving(w.config("example.com"))
				defer stop()
				f(m, newTicketClient(t, w, version))
			})
		})
	}
}

// TestTicketsAreShared has a client resume its session with other servers of the manager.
func TestTicketsAreShared(t *testing.T) {
	inTicketWorld(t, func(m *certmanager.Manager, c *ticketClient) {
		if c.connect(m.TLSConfig()) {
			c.t.Error("the first session is resumed")
		}
		clone := m.TLSConfig().Clone()
		forClient := m.TLSConfig()
		forClient.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return clone, nil }
		used := m.TLSConfig()
		for name, config := range map[string]*tls.Config{"another": m.TLSConfig(), "a clone": clone, "one for the client": forClient, "one again": used, "and again": used} {
			if !c.connect(config) {
				c.t.Errorf("%s does not resume the session", name)
			}
		}
	})
}

// TestTicketsRotate lets days pass: a session is resumed for some of them, not for ever.
func TestTicketsRotate(t *testing.T) {
	const day = 24 * time.Hour
	inTicketWorld(t, func(m *certmanager.Manager, c *ticketClient) {
		c.connect(m.TLSConfig())
		sessions := []tls.ClientSessionCache{c.config.ClientSessionCache}
		for range 3 { // a client each day, which has the keys rotated
			time.Sleep(day)
			c.config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
			c.connect(m.TLSConfig())
			sessions = append(sessions, c.config.ClientSessionCache)
		}
		for i, cache := range sessions {
			c.config.ClientSessionCache = frozen{cache}
			if !c.connect(m.TLSConfig()) {
				c.t.Errorf("the session of day %d is not resumed on day 3", i)
			}
		}
		time.Sleep(5 * day)
		for i, cache := range sessions {
			c.config.ClientSessionCache = frozen{cache}
			if resumed := c.connect(m.TLSConfig()); resumed != (i >= 2) {
				c.t.Errorf("the session of day %d on day 8: resumed %t", i, resumed)
			}
		}
	})
}

// frozen sessions are not replaced.
type frozen struct{ tls.ClientSessionCache }

func (frozen) Put(string, *tls.ClientSessionState) {}

// TestTicketKeysOfOnesOwn has servers with keys of their own, or none: they don't share those of the manager.
func TestTicketKeysOfOnesOwn(t *testing.T) {
	keys := [][32]byte{{1}}
	for name, prepare := range map[string]func(*tls.Config){
		"SetSessionTicketKeys": func(config *tls.Config) { config.SetSessionTicketKeys(keys) },
		//lint:ignore SA1019 who has not replaced it keeps his key
		"SessionTicketKey": func(config *tls.Config) { config.SessionTicketKey = keys[0] },
	} {
		t.Run(name, func(t *testing.T) {
			inTicketWorld(t, func(m *certmanager.Manager, c *ticketClient) {
				own, foreign := m.TLSConfig(), &tls.Config{GetCertificate: m.GetCertificate}
				prepare(own)
				prepare(foreign)
				c.connect(own)
				if !c.connect(own) {
					c.t.Error("its own session is not resumed")
				}
				if !c.connect(foreign) || !c.connect(own) {
					c.t.Error("servers with the same keys share no sessions")
				}
				if c.connect(m.TLSConfig()) {
					c.t.Error("the manager's keys are those of one configuration")
				}
				if c.connect(own) {
					c.t.Error("the configuration has other keys than its own")
				}
			})
		})
	}
	t.Run("SessionTicketsDisabled", func(t *testing.T) {
		inTicketWorld(t, func(m *certmanager.Manager, c *ticketClient) {
			none := m.TLSConfig()
			none.SessionTicketsDisabled = true
			c.connect(m.TLSConfig())
			if c.connect(none) {
				c.t.Error("a session is resumed")
			}
		})
	})
}

// selfSigned returns a client's certificate, which is its own root.
func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// TestTicketsAndClientCertificates has servers that want client certificates: each resumes its own sessions, and
// neither those of a server that wants none nor those of one that accepts others.
func TestTicketsAndClientCertificates(t *testing.T) {
	errStranger := errors.New("a stranger")
	for _, auth := range []tls.ClientAuthType{tls.RequestClientCert, tls.RequireAnyClientCert, tls.VerifyClientCertIfGiven, tls.RequireAndVerifyClientCert} {
		t.Run(auth.String(), func(t *testing.T) {
			inTicketWorld(t, func(m *certmanager.Manager, c *ticketClient) {
				certificate := selfSigned(c.t)
				pool := x509.NewCertPool()
				root, err := x509.ParseCertificate(certificate.Certificate[0])
				if err != nil {
					c.t.Fatal(err)
				}
				pool.AddCert(root)
				wanting := func(verify func([][]byte, [][]*x509.Certificate) error) *tls.Config {
					config := m.TLSConfig()
					config.ClientAuth, config.ClientCAs, config.VerifyPeerCertificate = auth, pool, verify
					return config
				}
				accepting := wanting(nil)
				refusing := wanting(func([][]byte, [][]*x509.Certificate) error { return errStranger })

				known := c.with(certificate)
				known.connect(accepting)
				if !known.connect(accepting) {
					c.t.Error("its own session is not resumed")
				}
				if !known.connect(accepting.Clone()) {
					c.t.Error("a clone does not resume the session, which has the same keys")
				}
				if resumed, err := known.try(refusing); !errors.Is(err, errStranger) {
					c.t.Errorf("the server that refuses the certificate: resumed %t, %v", resumed, err)
				}
				if known.connect(m.TLSConfig()) {
					c.t.Error("a server that wants no certificate resumes the session of one that does")
				}

				unknown := c.with(certificate)
				unknown.connect(m.TLSConfig())
				if resumed, err := unknown.try(refusing); !errors.Is(err, errStranger) {
					c.t.Errorf("after a session without: resumed %t, %v", resumed, err)
				}
			})
		})
	}
}

// TestTicketsOfACloneWithClientAuth sets ClientAuth in a clone: what one verified is still not another's.
func TestTicketsOfACloneWithClientAuth(t *testing.T) {
	inTicketWorld(t, func(m *certmanager.Manager, c *ticketClient) {
		clone := func() *tls.Config {
			config := m.TLSConfig().Clone()
			config.ClientAuth = tls.RequireAnyClientCert
			return config
		}
		first, second := clone(), clone()
		known := c.with(selfSigned(c.t))
		known.connect(first)
		if !known.connect(first) {
			c.t.Error("its own session is not resumed")
		}
		if known.connect(second) {
			c.t.Error("a session with a client's certificate is shared")
		}
	})
}

// TestServeSharesTickets has a client of Serve's server resume its session with a server of one's own.
func TestServeSharesTickets(t *testing.T) {
	withKeys := new(tls.Config)
	withKeys.SetSessionTicketKeys([][32]byte{{1}})
	for _, test := range []struct {
		name   string
		own    *tls.Config
		shares bool
	}{
		{"no tls.Config", nil, true},
		{"its own", &tls.Config{MinVersion: tls.VersionTLS12}, true},
		{"its own with keys", withKeys, false},
		{"its own with WrapSession", &tls.Config{WrapSession: withKeys.EncryptTicket, UnwrapSession: withKeys.DecryptTicket}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSite(t, "example.com")
			s.server.TLSConfig = test.own
			s.serve(t)
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			go serveHandshakes(s.manager.Listener(ln))
			config := &tls.Config{ServerName: "example.com", RootCAs: s.ca.Roots(), MaxVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(1)}
			for _, step := range []struct {
				addr    string
				resumed bool
			}{{s.secure, false}, {s.secure, true}, {ln.Addr().String(), test.shares}} {
				conn, err := tls.Dial("tcp", step.addr, config)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				if resumed := conn.ConnectionState().DidResume; resumed != step.resumed {
					t.Errorf("at %s: resumed %t, want %t", step.addr, resumed, step.resumed)
				}
			}
		})
	}
}
