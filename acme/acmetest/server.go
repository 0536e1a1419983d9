package acmetest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// A Server is a CA that speaks ACME (RFC 8555), for tests and demonstrations. [NewServer] returns one
// that runs; [NewUnstartedServer] returns one whose fields can be set before Start or StartInMemory.
// Its methods may be called concurrently.
type Server struct {
	URL string // of the directory; set by Start and StartInMemory

	// Lifetime is that of certificates whose profile has none of its own; zero: 90 days. An order may
	// ask for less by its notBefore and notAfter, and is refused when it asks for more.
	Lifetime time.Duration
	// Backdate is how long before its issuance a certificate begins to be valid, where the order
	// does not say. The lifetime counts from there.
	Backdate time.Duration
	// RetryAfter is what polls of unfinished orders, authorizations and challenges are answered
	// with in a Retry-After header, in whole seconds; zero: no header.
	RetryAfter time.Duration

	// Challenges are the types of challenges that authorizations offer, in this sequence, as far as they
	// fit the identifier: "http-01", "tls-alpn-01", "dns-01", "dns-account-01" and "dns-persist-01" are
	// possible; nil: the first three.
	Challenges []string
	// OtherChallenges are types, by their names, that are offered after those.
	OtherChallenges map[string]OtherChallenge
	// HashedAccounts makes dns-persist-01 that of draft-ietf-acme-dns-persist-02, in which records have the
	// account hashed, in place of the older one that CAs have offered so far.
	HashedAccounts bool
	// SubdomainAuthorizations lets the proof for a domain, where it is asked for, do for all names below it
	// (RFC 9444). Such a proof is by DNS.
	SubdomainAuthorizations bool

	// Profiles are the kinds of certificates that an order can ask for by their names; nil: none.
	Profiles map[string]Profile
	// ReuseAuthorizations lets an order do with valid authorizations that its account has from earlier
	// orders. Those that it has from newAuthz are always taken.
	ReuseAuthorizations bool
	// RateLimits are how often the CA lets things happen; zero: as often as anybody likes.
	RateLimits RateLimits
	// OrdersPerPage is the most orders that one page of an account's list has (RFC 8555 §7.1.2.1);
	// zero: they are all on one.
	OrdersPerPage int

	// HTTPPort and TLSPort are where http-01 and tls-alpn-01 are looked for; zero: 80 and 443. The
	// address that SetHost gives a name may have a port of its own.
	HTTPPort, TLSPort int
	// Dial makes the connections of http-01 and tls-alpn-01 validations; nil: a net.Dialer does.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// ExternalAccounts has the MAC keys by key identifier. If it is not nil, newAccount requires
	// an external account binding (RFC 8555 §7.3.4).
	ExternalAccounts map[string][]byte

	// Root is the CA's root certificate with its key; where it is zero, Start makes one and puts it
	// here. A CA that outlives its process is given the one from before.
	Root tls.Certificate
	// AlternateChains is how many other chains a certificate has beside that to Root (RFC 8555
	// §7.4.2), each to a root of its own, which Start makes.
	AlternateChains int
	// Accounts are known from the start, as OnAccount was given them.
	Accounts []Account
	// OnAccount is called with each account that was created or changed, before the client is
	// answered and never twice at a time.
	OnAccount func(Account)

	// Logger is told what the server does; nil: nobody is.
	Logger *slog.Logger

	origin        string // URL without a path, which all URLs of resources begin with
	log           *slog.Logger
	authority     *authority
	nonces        nonces
	accountChange chan struct{} // holds an element while an account is created, changed or kept
	client        *http.Client
	httpServer    *http.Server   // nil in memory
	well          http.Handler   // the CA without faults
	running       sync.WaitGroup // requests, validations and issuances under way, connections and the listener

	// mu guards what follows. It is never held while something waits or a function of the user's runs.
	mu                   sync.Mutex
	closed               bool
	cancels              map[*work]context.CancelFunc
	accounts             map[string]*account // by ID
	accountsByKey        map[string]*account // by thumbprint
	orders               map[string]*order
	orderSequence        []*order
	authorizations       map[string]*authorization
	challenges           map[string]*challenge
	certificates         map[string]*certificate
	certificatesBySerial map[string]*certificate // by serial number in decimal
	certificateList      []*x509.Certificate
	preauthorized        map[holding]*authorization // by newAuthz, the last ones
	proven               map[holding]*authorization // that became valid, the last ones
	compromised          map[string]bool            // keys by thumbprint
	renewalInfos         map[string]RenewalInfo     // by serial number in decimal
	hosts                map[string]string
	txt                  map[string][]string
	refused              map[string]bool
	failing              map[string]int // validations that are to fail, by name
	requests             map[string]int
	spent                map[bucket]time.Time // when the bucket is full again
	paused               map[bucket]bool      // by the failures in a row that led to it
	issuedSets           map[string]bool      // of identifiers
	faulty               http.Handler         // the CA with faults around it; nil: there are none
}

// NewServer returns a server that runs on a loopback socket with TLS. The caller should call Close
// when finished.
func NewServer() *Server {
	s := NewUnstartedServer()
	s.Start()
	return s
}

// NewUnstartedServer returns a server that does not run yet. After its fields have been set, Start or
// StartInMemory is to be called.
func NewUnstartedServer() *Server {
	return &Server{
		accountChange:        make(chan struct{}, 1),
		cancels:              make(map[*work]context.CancelFunc),
		accounts:             make(map[string]*account),
		accountsByKey:        make(map[string]*account),
		orders:               make(map[string]*order),
		authorizations:       make(map[string]*authorization),
		challenges:           make(map[string]*challenge),
		certificates:         make(map[string]*certificate),
		certificatesBySerial: make(map[string]*certificate),
		preauthorized:        make(map[holding]*authorization),
		proven:               make(map[holding]*authorization),
		compromised:          make(map[string]bool),
		renewalInfos:         make(map[string]RenewalInfo),
		hosts:                make(map[string]string),
		txt:                  make(map[string][]string),
		refused:              make(map[string]bool),
		failing:              make(map[string]int),
		requests:             make(map[string]int),
		spent:                make(map[bucket]time.Time),
		paused:               make(map[bucket]bool),
		issuedSets:           make(map[string]bool),
	}
}

// Start starts the server on a loopback socket with TLS. Like [net/http/httptest.Server.Start] it
// panics where it cannot: no port is free, Root cannot sign certificates, an account in Accounts has
// no valid key, or the server was started before.
func (s *Server) Start() {
	listener := listenLoopback()
	handler := s.start("https://" + listener.Addr().String())
	certificate, err := s.authority.serverCertificate(listener.Addr())
	if err != nil {
		panic(fmt.Sprintf("acmetest: certificate for the server's own address: %v", err))
	}
	s.httpServer = &http.Server{
		Handler:           handler,
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{certificate}},
		ReadHeaderTimeout: 10 * time.Second,
		ConnState:         s.countConnection,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	s.client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.Roots()}}}
	s.running.Go(func() { _ = s.httpServer.ServeTLS(listener, "", "") }) // ends with Close
}

// StartInMemory starts the server without a socket: only [Server.Client] reaches it. URL is the same
// in every process. It panics as Start does.
func (s *Server) StartInMemory() {
	const host = "acmetest.invalid"
	s.client = &http.Client{Transport: &memoryTransport{host: host, handler: s.start("https://" + host), begin: s.begin}}
}

// countConnection lets Close wait for the connections, which it closes.
func (s *Server) countConnection(conn net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		s.running.Add(1)
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.closed { // http.Server.Close may have passed by before it knew of this one
			_ = conn.Close()
		}
	case http.StateClosed, http.StateHijacked:
		s.running.Done()
	}
}

// start does what both ways of starting share, and returns the CA's handler.
func (s *Server) start(origin string) http.Handler {
	if s.URL != "" {
		panic("acmetest: the server was started before")
	}
	s.origin = origin
	s.URL = s.urlOf("directory", "")
	s.log = s.Logger
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	var err error
	if s.authority, err = newAuthority(&s.Root, s.AlternateChains); err != nil {
		panic(fmt.Sprintf("acmetest: %v", err))
	}
	if err := s.checkOffers(); err != nil {
		panic(fmt.Sprintf("acmetest: %v", err))
	}
	if err := s.loadAccounts(); err != nil {
		panic(fmt.Sprintf("acmetest: %v", err))
	}
	return s.handler()
}

func listenLoopback() net.Listener {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		if listener, err = net.Listen("tcp6", "[::1]:0"); err != nil {
			panic(fmt.Sprintf("acmetest: no port to listen on: %v", err))
		}
	}
	return listener
}

// Close stops the server and returns when all that it had under way has ended.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	for _, cancel := range s.cancels {
		cancel()
	}
	s.mu.Unlock()
	if s.httpServer != nil {
		_ = s.httpServer.Close() // nothing is left to save
	}
	s.running.Wait()
	if s.client != nil {
		s.client.CloseIdleConnections()
	}
}

// Client returns an HTTP client that trusts the server, and is the only one to reach a server in
// memory. It is there once the server has been started; its idle connections are closed by Close.
func (s *Server) Client() *http.Client { return s.client }

// Roots returns a pool that holds the CA's root certificate, and those of the alternate chains. The
// server must have been started.
func (s *Server) Roots() *x509.CertPool {
	pool := x509.NewCertPool()
	for _, root := range s.authority.roots {
		pool.AddCert(root)
	}
	return pool
}

// RootPEM returns what Roots holds in PEM, the certificate in Root first. The server must have been
// started.
func (s *Server) RootPEM() (pem []byte) {
	for _, root := range s.authority.roots {
		pem = append(pem, encodePEM(root.Raw)...)
	}
	return pem
}

// Certificates returns the certificates issued so far, in order.
func (s *Server) Certificates() []*x509.Certificate {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.certificateList)
}

// A work is something under way that Close waits for.
type work struct{ _ byte } // not empty, so that each has an address of its own

// begin counts something as under way until end is called. Its context ends with ctx, with end and
// with Close. It reports false if the server is closed: then nothing must be begun.
func (s *Server) begin(ctx context.Context) (_ context.Context, end func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, nil, false
	}
	ctx, cancel := context.WithCancel(ctx)
	begun := new(work)
	s.cancels[begun] = cancel
	s.running.Add(1)
	return ctx, func() {
		cancel()
		s.mu.Lock()
		delete(s.cancels, begun)
		s.mu.Unlock()
		s.running.Done()
	}, true
}

// inBackground runs f in a goroutine of its own, which outlives the request that ctx belongs to.
func (s *Server) inBackground(ctx context.Context, f func(context.Context)) {
	ctx, end, ok := s.begin(context.WithoutCancel(ctx))
	if !ok {
		return
	}
	go func() {
		defer end()
		f(ctx)
	}()
}
