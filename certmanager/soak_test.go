package certmanager_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/acme/acmetest"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/storagetest"
)

const (
	soakNames    = 12
	soakMembers  = 3
	soakLifetime = 12 * time.Hour
	soakEvil     = "\x1b[31m../../evil\r\n%s" // is not to be found anywhere as it is
)

// A soak is a fleet to which random things happen.
type soak struct {
	*world
	random  *rand.Rand
	kept    keptCertificates
	members []*soakMember
	others  sync.WaitGroup // calls under way
	renewed int            // commands

	stranger *certmanager.Manager // has names of the fleet's, and nothing else in common with it
}

// A soakMember is a process of the fleet. It listens as all the fleet does.
type soakMember struct {
	*certmanager.Manager
	store    *storagetest.Faulty
	listener *pipeListener
	logs     logs
	faulty   time.Time // since when its storage is; zero: it is sound
	end      func()
}

// keptCertificates is a store that notes which certificates it was given, by subject, in their order.
type keptCertificates struct {
	storage.Store
	mu  sync.Mutex
	der map[string][][]byte
}

func (k *keptCertificates) Unwrap() storage.Store { return k.Store }

func (k *keptCertificates) Save(ctx context.Context, key string, value []byte, old storage.Revision) (storage.Revision, error) {
	revision, err := k.Store.Save(ctx, key, value, old)
	if err == nil && strings.HasPrefix(key, "certificates/") {
		if block := firstCertificate(value); block != nil {
			k.mu.Lock()
			defer k.mu.Unlock()
			subject := strings.Split(key, "/")[2]
			k.der[subject] = append(k.der[subject], block.Bytes)
		}
	}
	return revision, err
}

func firstCertificate(value []byte) *pem.Block {
	for rest := value; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil || block.Type == "CERTIFICATE" {
			return block
		}
	}
}

func soakName(i int) string { return fmt.Sprintf("s%d.example.com", i) }

func newSoak(t *testing.T, seed uint64) *soak {
	s := &soak{random: rand.New(rand.NewPCG(seed, 1))}
	s.world = newWorld(t, func(ca *acmetest.Server) {
		ca.Lifetime, ca.Dial = soakLifetime, func(ctx context.Context, _, _ string) (net.Conn, error) { return s.dialAny(ctx) }
	})
	s.kept.Store, s.kept.der = s.store, make(map[string][][]byte)
	for range soakMembers {
		s.join()
	}
	ca := newLocalCA(t, "stranger")
	ca.lifetime = soakLifetime
	m, stop := s.startOwn(certmanager.Config{Names: []string{soakName(0), soakName(1)}, Storage: new(storage.Memory), Issuers: []certmanager.Issuer{ca}, Logger: new(logs).logger()})
	s.stranger = m
	t.Cleanup(stop)
	return s
}

// dialAny connects to one of the members, as a balancer does.
func (s *soak) dialAny(ctx context.Context) (net.Conn, error) {
	s.mu.Lock()
	if len(s.members) == 0 {
		s.mu.Unlock()
		return nil, net.ErrClosed
	}
	l := s.members[rand.N(len(s.members))].listener
	s.mu.Unlock()
	return l.dial(ctx)
}

// join adds a member.
func (s *soak) join() {
	m := &soakMember{store: &storagetest.Faulty{Store: &s.kept, Seed: s.random.Uint64()}, listener: newPipeListener()}
	config := s.config()
	for i := range soakNames {
		config.Names = append(config.Names, soakName(i))
	}
	config.Storage, config.Logger, config.OnEvent = m.store, m.logs.logger(), nil
	config.Vantage = s.zones.vantage(func(ctx context.Context, _, _ string) (net.Conn, error) { return s.dialAny(ctx) })
	config.OnDemand = func(_ context.Context, q certmanager.Question) error {
		if strings.HasPrefix(q.Name, "wanted") {
			return nil
		}
		return certmanager.ErrDenied
	}
	var err error
	if m.Manager, err = certmanager.New(config); err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(s.t.Context())
	var group sync.WaitGroup
	group.Go(func() { _ = m.Run(ctx) }) // a storage that fails from the start ends it
	group.Go(func() { serveHandshakes(m.Listener(m.listener)) })
	m.end = func() { cancel(); m.listener.Close(); group.Wait() }
	s.mu.Lock()
	defer s.mu.Unlock()
	s.members = append(s.members, m)
}

// kill kills a member: what it does from one moment on does not reach the storage.
func (s *soak) kill(i int) {
	s.mu.Lock()
	m := s.members[i]
	s.members = slices.Delete(s.members, i, i+1)
	s.mu.Unlock()
	m.store.SetFaults(storagetest.Fault{Kind: storagetest.Fail})
	m.store.Release()
	m.end()
	s.listen(m)
}

// storageFaults are what can happen to a member's storage.
func (s *soak) storageFaults() []storagetest.Fault {
	share := s.random.Float64() / 2
	return [][]storagetest.Fault{
		nil, nil,
		{{Share: share}},
		{{Kind: storagetest.Lost, On: storagetest.Writes, Share: share}},
		{{Kind: storagetest.Twice, On: storagetest.Writes, Share: share}},
		{{Kind: storagetest.Late, On: storagetest.Writes, Share: share, Delay: s.upTo(2 * time.Minute)}},
		{{Kind: storagetest.Slow, Delay: s.upTo(5 * time.Second)}},
		{{Kind: storagetest.Hang, Share: share}},
		{{Kind: storagetest.Stuck, Times: 3, After: s.random.IntN(20), Delay: s.upTo(5 * time.Minute)}},
		{{Kind: storagetest.Fail}},
		{{Kind: storagetest.Fail, On: storagetest.Writes}},
		{{Kind: storagetest.Stale, Share: share}, {Kind: storagetest.Lost, On: storagetest.Delete, Share: share}},
	}[s.random.IntN(12)]
}

// caFaults are what can happen to the CA.
func (s *soak) caFaults() []acmetest.Fault {
	share := s.random.Float64() / 3
	return [][]acmetest.Fault{
		nil, nil, nil,
		{acmetest.Share(share, s.ca.Problem(http.StatusInternalServerError, string(acme.ErrServerInternal), "an accident"))},
		{acmetest.Share(share, acmetest.CutAnswer())},
		{acmetest.Share(share, acmetest.Cut())},
		{acmetest.Share(share, s.ca.BadNonce())},
		{acmetest.Share(share, acmetest.DelayAnswer(s.upTo(90*time.Second)))},
		{acmetest.Next(2, acmetest.On("newOrder", s.ca.RateLimited("120")))},
		{acmetest.Next(3, acmetest.On("finalize", acmetest.CutAnswer()))},
		{acmetest.Share(share, acmetest.Answer(http.StatusBadGateway, "text/html", "<h1>Bad gateway</h1>"))},
	}[s.random.IntN(11)]
}

func (s *soak) upTo(d time.Duration) time.Duration { return time.Duration(s.random.Int64N(int64(d))) }

// step has something happen.
func (s *soak) step() {
	i := s.random.IntN(len(s.members))
	m := s.members[i]
	switch s.random.IntN(10) {
	case 0, 1, 2, 3:
		m.store.Release()
		m.store.SetFaults(s.storageFaults()...)
		m.faulty = time.Now()
	case 4, 5:
		s.ca.SetFaults(s.caFaults()...)
	case 6:
		s.kill(i)
		s.join()
	case 7:
		m.store.CutWatches()
	case 8:
		s.renewed++
		name := soakName(s.random.IntN(soakNames))
		s.others.Go(func() {
			ctx, cancel := context.WithTimeout(s.t.Context(), 10*time.Minute)
			defer cancel()
			_ = m.Renew(ctx, name)
		})
	case 9:
		name := fmt.Sprintf("wanted%d.example.com", s.random.IntN(5))
		s.others.Go(func() {
			for _, sni := range []string{name, soakEvil, "unknown." + name} {
				if c, _ := ask(s.t, m.Manager, sni); c != nil && leafOf(s.t, c).VerifyHostname(sni) != nil {
					s.t.Errorf("%q got the certificate of %v", sni, leafOf(s.t, c).DNSNames)
				}
			}
		})
	}
}

// mend ends what has been wrong with storages for so long that certificates would expire.
func (s *soak) mend() {
	for _, m := range s.members {
		if !m.faulty.IsZero() && time.Since(m.faulty) > soakLifetime/8 {
			m.store.SetFaults()
			m.faulty = time.Time{}
		}
	}
}

// check checks what holds at all times.
func (s *soak) check() {
	withHello(s.t, nil, func(hello *tls.ClientHelloInfo) {
		for _, m := range append([]*soakMember{{Manager: s.stranger}}, s.members...) {
			for i := range soakNames {
				s.checkServed(m, named(hello, soakName(i)))
			}
		}
	})
	s.checkStored()
}

// checkServed asks for a managed name: what is served at once is valid, for that name, and with its key, and of the
// member's own CA. A name that was loaded does not wait.
func (s *soak) checkServed(m *soakMember, hello *tls.ClientHelloInfo) {
	name := hello.ServerName
	status, managed := m.Status(name)
	if !managed || status.NotAfter.Before(time.Now()) {
		if managed && !status.NotAfter.IsZero() {
			s.t.Errorf("%s has expired: %+v", name, status)
		}
		return
	}
	began := time.Now()
	c, err := m.GetCertificate(hello)
	if err != nil || time.Since(began) > 0 {
		s.t.Fatalf("%s: %v after %v, and there is a certificate: %+v", name, err, time.Since(began), status)
	}
	leaf := leafOf(s.t, c)
	if !c.PrivateKey.(crypto.Signer).Public().(*ecdsa.PublicKey).Equal(leaf.PublicKey) || leaf.VerifyHostname(name) != nil {
		s.t.Errorf("%s is served a certificate of %v, with a key that fits: %v", name, leaf.DNSNames, leaf.VerifyHostname(name) == nil)
	}
	if ours := leaf.Issuer.CommonName == "stranger"; ours != (m.Manager == s.stranger) {
		s.t.Errorf("%s has a certificate of %v", name, leaf.Issuer)
	}
}

// checkStored reads what is in the storage: certificates have their keys, and no key of a record is made of what a client
// has said.
func (s *soak) checkStored() {
	for key, err := range s.store.List(s.t.Context(), "") {
		if err != nil {
			s.t.Fatal(err)
		}
		if strings.ContainsAny(key, "\x1b\r\n%") || strings.Contains(key, "..") {
			s.t.Errorf("the record %q", key)
		}
		if !strings.HasPrefix(key, "certificates/") {
			continue
		}
		item, err := s.store.Load(s.t.Context(), key)
		if err != nil {
			s.t.Fatal(err)
		}
		if _, err := tls.X509KeyPair(item.Value, item.Value); err != nil {
			s.t.Errorf("%s: %v", key, err)
		}
	}
}

// listen looks for secrets in what a member that has ended has said.
func (s *soak) listen(m *soakMember) {
	text := m.logs.String()
	if strings.Contains(text, "PRIVATE KEY") || strings.Contains(text, soakEvil) || strings.Contains(text, "\x1b") {
		s.t.Error("the log has what it is not to have")
	}
	for key := range s.store.List(s.t.Context(), "") {
		item, _ := s.store.Load(s.t.Context(), key)
		rest := bytes.ReplaceAll(bytes.ReplaceAll(item.Value, []byte(`\n`), []byte("\n")), []byte(`"`), []byte("\n"))
		for block, rest := pem.Decode(rest); block != nil; block, rest = pem.Decode(rest) {
			if !strings.Contains(block.Type, "PRIVATE") {
				continue
			}
			for encoding, encoded := range encodings(block.Bytes) {
				if strings.Contains(text, encoded) {
					s.t.Errorf("the key of %s is in the log, as %s", key, encoding)
				}
			}
		}
	}
}

// calm ends all that is wrong, lets the fleet recover, and checks what must hold then: each certificate that the CA
// has issued came into the storage, none twice, and no older one after a newer one.
func (s *soak) calm() {
	s.ca.SetFaults()
	for _, m := range s.members {
		m.store.Release()
		m.store.SetFaults()
	}
	s.others.Wait()
	time.Sleep(soakLifetime)
	s.check()
	for _, m := range s.members {
		m.end()
		s.listen(m)
	}
	s.kept.mu.Lock()
	defer s.kept.mu.Unlock()
	issued := 0
	for _, c := range s.ca.Certificates() {
		if strings.HasPrefix(c.DNSNames[0], "wanted") {
			continue
		}
		issued++
		times := 0
		for _, der := range s.kept.der[c.DNSNames[0]] {
			if bytes.Equal(der, c.Raw) {
				times++
			}
		}
		if times != 1 {
			s.t.Errorf("the certificate of %s that was issued at %v was stored %d times", c.DNSNames[0], c.NotBefore, times)
		}
	}
	s.t.Logf("%d certificates, %d commands", issued, s.renewed)
}

// TestSoak has a fleet go through a week in which everything goes wrong that can: storages, the CA, processes, clients.
func TestSoak(t *testing.T) {
	if testing.Short() {
		t.Skip("a long simulation")
	}
	length, seeds := 7*24*time.Hour, []uint64{1, 2, 7}
	if raceDetector {
		length, seeds = 24*time.Hour, seeds[:1]
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSoak(t, seed)
				for began := time.Now(); time.Since(began) < length && !t.Failed(); {
					s.step()
					time.Sleep(time.Minute + s.upTo(20*time.Minute))
					s.mend()
					s.check()
				}
				s.calm()
			})
		})
	}
}
