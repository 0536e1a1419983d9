package acmetest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// A Server is a CA that speaks ACME (RFC 8555), for tests and demonstrations. [NewServer] returns one
// that runs; [NewUnstartedServer] returns one, as Server{} is, whose fields can be set before Start or
// StartInMemory. Its methods may be called concurrently.
type Server struct {
	URL string // of the directory; set by Start and StartInMemory

	// Addr is the address that Start listens at, such as "127.0.0.1:14000", so that URL stays the same; empty: a
	// loopback port that is free. URL has its host, or "localhost" if that is none or unspecified.
	Addr string

	// Lifetime is that of certificates whose profile has none of its own; zero: 90 days. An order may
	// ask for less by its notBefore and notAfter, and is refused when it asks for more.
	Lifetime time.Duration
	// Backdate is how long before its issuance a certificate begins to be valid, if the order
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
	// account hashed, instead of the older one that CAs have offered so far.
	HashedAccounts bool
	// SubdomainAuthorizations lets the proof for a domain, if it is asked for, do for all names below it
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
	// Resolver looks up the names that SetHost and SetTXT say nothing of; nil: these do not exist.
	Resolver *net.Resolver
	// Dial makes the connections of http-01 and tls-alpn-01 validations; nil: a net.Dialer does.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// ExternalAccounts has the MAC keys by key identifier. If it is not nil, newAccount requires
	// an external account binding (RFC 8555 §7.3.4).
	ExternalAccounts map[string][]byte

	// Root is the CA's root certificate with its key; if it is zero, Start makes one and puts it
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

	prepared      sync.Once
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
	issuedSets           map[string]time.Time // of identifiers: when a certificate was issued last
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
// StartInMemory is to be called. It is the same as new(Server).
func NewUnstartedServer() *Server { return new(Server) }

// prepare makes what a Server does not have from its making. What writes to a server that may not have been
// started calls it first.
func (s *Server) prepare() {
	s.prepared.Do(func() {
		s.accountChange = make(chan struct{}, 1)
		s.cancels = make(map[*work]context.CancelFunc)
		s.accounts = make(map[string]*account)
		s.accountsByKey = make(map[string]*account)
		s.orders = make(map[string]*order)
		s.authorizations = make(map[string]*authorization)
		s.challenges = make(map[string]*challenge)
		s.certificates = make(map[string]*certificate)
		s.certificatesBySerial = make(map[string]*certificate)
		s.preauthorized = make(map[holding]*authorization)
		s.proven = make(map[holding]*authorization)
		s.compromised = make(map[string]bool)
		s.renewalInfos = make(map[string]RenewalInfo)
		s.hosts = make(map[string]string)
		s.txt = make(map[string][]string)
		s.refused = make(map[string]bool)
		s.failing = make(map[string]int)
		s.requests = make(map[string]int)
		s.spent = make(map[bucket]time.Time)
		s.paused = make(map[bucket]bool)
		s.issuedSets = make(map[string]time.Time)
	})
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
