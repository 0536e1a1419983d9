package peers

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	acmez "github.com/mholt/acmez/v3"
	acmezacme "github.com/mholt/acmez/v3/acme"
	xacme "golang.org/x/crypto/acme"

	"github.com/everseal/everseal/acme"
)

// An obtainer is an ACME client at work: it obtains a certificate for the names, by http-01, with a new key.
type obtainer func(ctx context.Context, names []string) error

// responses are the answers to http-01 challenges, by token: what costs the least, so that only the clients differ.
type responses struct {
	sync.Map
	delay time.Duration // of each answer, which makes the CA's validation take as long
}

func (r *responses) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	select {
	case <-time.After(r.delay):
	case <-req.Context().Done():
		return
	}
	const prefix = "/.well-known/acme-challenge/"
	if answer, ok := r.Load(req.URL.Path[min(len(prefix), len(req.URL.Path)):]); ok {
		_, _ = w.Write([]byte(answer.(string)))
		return
	}
	http.NotFound(w, req)
}

// Type, Present and CleanUp make the responses a solver of everseal.
func (r *responses) Type() string { return acme.TypeHTTP01 }

func (r *responses) Present(_ context.Context, p acme.Proof) error {
	r.Store(p.Token, p.KeyAuthorization)
	return nil
}

func (r *responses) CleanUp(_ context.Context, p acme.Proof) error {
	r.Delete(p.Token)
	return nil
}

// acmezSolver is the same for acmez.
type acmezSolver struct{ *responses }

func (s acmezSolver) Present(_ context.Context, c acmezacme.Challenge) error {
	s.Store(c.Token, c.KeyAuthorization)
	return nil
}

func (s acmezSolver) CleanUp(_ context.Context, c acmezacme.Challenge) error {
	s.Delete(c.Token)
	return nil
}

func newEverseal(ctx context.Context, p *pebble, answers *responses) (obtainer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	client := &acme.Client{DirectoryURL: p.directory, Key: key, HTTPClient: p.client()}
	if _, err := client.Register(ctx, acme.Registration{AgreeToTerms: true}); err != nil {
		return nil, err
	}
	return func(ctx context.Context, names []string) error {
		r := acme.Request{Solvers: []acme.Solver{answers}}
		for _, name := range names {
			r.Identifiers = append(r.Identifiers, acme.Identifier{Type: acme.TypeDNS, Value: name})
		}
		var err error
		if r.Key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			return err
		}
		_, err = client.Issue(ctx, r)
		return err
	}, nil
}

func newAcmez(ctx context.Context, p *pebble, answers *responses) (obtainer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	client := &acmez.Client{
		Client:           &acmezacme.Client{Directory: p.directory, HTTPClient: p.client()},
		ChallengeSolvers: map[string]acmez.Solver{acmezacme.ChallengeTypeHTTP01: acmezSolver{answers}},
	}
	account, err := client.NewAccount(ctx, acmezacme.Account{TermsOfServiceAgreed: true, PrivateKey: key})
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, names []string) error {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return err
		}
		chains, err := client.ObtainCertificateForSANs(ctx, account, key, names)
		if err == nil && len(chains) == 0 {
			err = errors.New("acmez returned no certificate")
		}
		return err
	}, nil
}

func newXCrypto(ctx context.Context, p *pebble, answers *responses) (obtainer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	client := &xacme.Client{DirectoryURL: p.directory, HTTPClient: p.client(), Key: key}
	if _, err := client.Register(ctx, new(xacme.Account), xacme.AcceptTOS); err != nil {
		return nil, err
	}
	return func(ctx context.Context, names []string) error {
		order, err := client.AuthorizeOrder(ctx, xacme.DomainIDs(names...))
		if err != nil {
			return err
		}
		for _, url := range order.AuthzURLs {
			if err := authorizeXCrypto(ctx, client, answers, url); err != nil {
				return err
			}
		}
		if order, err = client.WaitOrder(ctx, order.URI); err != nil {
			return err
		}
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return err
		}
		csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: names}, key)
		if err != nil {
			return err
		}
		_, _, err = client.CreateCertFromOrder(ctx, order, csr, true)
		return err
	}, nil
}

// authorizeXCrypto does as autocert does: one authorization after the other.
func authorizeXCrypto(ctx context.Context, client *xacme.Client, answers *responses, url string) error {
	authorization, err := client.GetAuthorization(ctx, url)
	if err != nil {
		return err
	}
	for _, challenge := range authorization.Challenges {
		if challenge.Type != "http-01" {
			continue
		}
		answer, err := client.HTTP01ChallengeResponse(challenge.Token)
		if err != nil {
			return err
		}
		answers.Store(challenge.Token, answer)
		defer answers.Delete(challenge.Token)
		if _, err := client.Accept(ctx, challenge); err != nil {
			return err
		}
		_, err = client.WaitAuthorization(ctx, url)
		return err
	}
	return errors.New("no http-01 challenge is offered")
}

// BenchmarkIssue obtains certificates from one Pebble that neither sleeps nor asks to wait.
func BenchmarkIssue(b *testing.B) { benchmarkIssue(b, pebbleSettings{}, 0, []int{1, 20}) }

// BenchmarkIssueSlowCA does so from one that takes 1.5 s for a validation and asks to be polled after 3 s.
func BenchmarkIssueSlowCA(b *testing.B) {
	benchmarkIssue(b, pebbleSettings{retryAfter: 3}, 1500*time.Millisecond, []int{1})
}

func benchmarkIssue(b *testing.B, s pebbleSettings, validation time.Duration, parallel []int) {
	for _, client := range []struct {
		name string
		new  func(context.Context, *pebble, *responses) (obtainer, error)
	}{{"everseal", newEverseal}, {"acmez", newAcmez}, {"xcrypto", newXCrypto}} {
		for _, names := range []int{1, 10} {
			for _, workers := range parallel {
				b.Run(fmt.Sprintf("client=%s/names=%d/parallel=%d", client.name, names, workers), func(b *testing.B) {
					p := startPebble(b, s)
					answers := &responses{delay: validation}
					plain, secure := listen(b), listen(b)
					startWeb(b, plain, answers)
					startWeb(b, tls.NewListener(secure, new(tls.Config)), http.NotFoundHandler())
					p.http.lead(plain.Addr().String())
					p.tls.lead(secure.Addr().String())
					obtain, err := client.new(b.Context(), p, answers)
					if err != nil {
						b.Fatal(err)
					}
					measureIssue(b, p, obtain, names, workers)
				})
			}
		}
	}
}

// measureIssue has the workers obtain b.N certificates after each has obtained one, which fills its pools.
func measureIssue(b *testing.B, p *pebble, obtain obtainer, names, workers int) {
	var next atomic.Int64
	one := func() error {
		n := next.Add(1)
		all := make([]string, names)
		for i := range all {
			all[i] = fmt.Sprintf("n%d-%d.example.com", n, i)
		}
		return obtain(b.Context(), all)
	}
	run := func(count int) {
		var group sync.WaitGroup
		work := make(chan struct{}, count)
		for range count {
			work <- struct{}{}
		}
		close(work)
		for range workers {
			group.Go(func() {
				for range work {
					if err := one(); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		group.Wait()
	}
	run(workers)
	before := p.traffic.total()
	b.ResetTimer()
	run(b.N)
	b.StopTimer()
	b.ReportMetric(float64(p.traffic.total()-before)/float64(b.N), "requests/cert")
}
