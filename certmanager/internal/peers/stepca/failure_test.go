package stepca

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver"
)

// mostPolls is how often a client may ask for an order of which nothing is to be hoped any more.
const mostPolls = 6

// Two names of one order.
const (
	right   = "right.example.test"
	culprit = "wrong.example.test"
)

// issueInVain has the client issue, and returns the error. A client that does not give up is stopped.
func issueInVain(t *testing.T, s *authorityServer, client *acme.Client, r acme.Request) error {
	t.Helper()
	ctx, cancel := context.WithCancel(within(t))
	defer cancel()
	before := s.asked("order")
	s.onRequest(func(resource string, count int) {
		if resource == "order" && count > before+mostPolls {
			cancel()
		}
	})
	defer s.onRequest(nil)
	_, err := client.Issue(ctx, r)
	if err == nil {
		t.Fatal("a certificate was issued")
	}
	if n := s.made(t, certificates); n != 0 {
		t.Errorf("the CA has issued %d certificates", n)
	}
	return err
}

// An answer that is there and wrong makes a challenge invalid, and leaves authorization and order pending: Issue ends
// with what the CA says of it, after few requests.
func TestWrongAnswer(t *testing.T) {
	for _, challenge := range []string{acme.TypeHTTP01, acme.TypeTLSALPN01} {
		t.Run(challenge, func(t *testing.T) {
			t.Parallel() // it waits between polls
			s := start(t)
			client := newAccount(t, s)
			request := acme.Request{Identifiers: identifiers(t, right, culprit), Key: newKey(t), Solvers: wrongAnswers(t, s, challenge)}
			err := issueInVain(t, s, client, request)
			wantsOnlyFailure(t, err, challenge)
			request.OrderURL = orderOf(t, err)
			wantsOnlyFailure(t, issueInVain(t, s, client, request), challenge)
			if n := s.asked("challenge"); n != 2 {
				t.Errorf("%d requests for the challenges, want 2: one each, and none for an order that has failed", n)
			}
			s.wants(t, 1, 0)
		})
	}
}

// wrongAnswers is a solver whose servers have a wrong answer for the name culprit.
func wrongAnswers(t *testing.T, s *authorityServer, challenge string) []acme.Solver {
	t.Helper()
	if challenge == acme.TypeHTTP01 {
		http01 := new(solver.HTTP01)
		answers := http01.Handler(nil)
		s.lead(startWeb(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Host == culprit {
				_, _ = w.Write([]byte("not the answer"))
				return
			}
			answers.ServeHTTP(w, r)
		}), nil), "")
		return []acme.Solver{http01}
	}
	tlsALPN01 := new(solver.TLSALPN01)
	s.lead("", startWeb(t, http.NotFoundHandler(), &tls.Config{
		NextProtos: []string{solver.ALPNProto},
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			if hello.ServerName == culprit {
				hello.ServerName = right
			}
			return tlsALPN01.GetCertificate(hello)
		},
	}))
	return []acme.Solver{tlsALPN01}
}

// wantsOnlyFailure fails the test unless err says that the order failed for the one name, culprit, in the CA's words.
func wantsOnlyFailure(t *testing.T, err error, challenge string) {
	t.Helper()
	const words = "The server will not issue certificates for the identifier"
	var failed *acme.OrderError
	if !errors.As(err, &failed) || len(failed.Authorizations) != 1 {
		t.Fatalf("%v; want an order that failed for %s", err, culprit)
	}
	a := failed.Authorizations[0]
	if a.Identifier != culprit || a.ChallengeType != challenge || a.Problem == nil || a.Problem.Detail != words || !errors.Is(err, acme.ErrRejectedIdentifier) {
		t.Errorf("it failed for %+v", a)
	}
	for _, part := range []string{culprit, challenge, words} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not stand in: %v", part, err)
		}
	}
}

func orderOf(t *testing.T, err error) string {
	t.Helper()
	var failed *acme.OrderError
	if !errors.As(err, &failed) || failed.URL == "" {
		t.Fatalf("%v names no order", err)
	}
	return failed.URL
}

// Where no answer was found, the challenge stays pending with the CA's error: Issue ends, with its context at the
// latest, and says what the CA says. The same order is gone on with once the answer can be found.
func TestUnreachable(t *testing.T) {
	tests := []struct {
		challenge string
		problem   error
		words     string
	}{
		{acme.TypeHTTP01, acme.ErrConnection, "The server could not connect to validation target"},
		{acme.TypeTLSALPN01, acme.ErrConnection, "The server could not connect to validation target"},
		{acme.TypeDNS01, acme.ErrDNS, "There was a problem with a DNS query during identifier validation"},
	}
	for _, test := range tests {
		t.Run(test.challenge, func(t *testing.T) {
			t.Parallel() // it waits between polls
			s := start(t)
			client := newAccount(t, s)
			reachable := solvers(t, s, test.challenge)
			plain, secure := s.plain, s.secure
			s.lead("", "")
			request := acme.Request{Identifiers: identifiers(t, culprit), Key: newKey(t), Solvers: reachable[:1]}
			if test.challenge == acme.TypeDNS01 {
				request.Solvers = []acme.Solver{new(network).dns01()}
			}
			request.Before = func(_ context.Context, step acme.Step) error {
				request.OrderURL = step.OrderURL
				return nil
			}
			err := issueInVain(t, s, client, request)
			if !errors.Is(err, test.problem) || !strings.Contains(err.Error(), test.words) || !strings.Contains(err.Error(), culprit) || !strings.Contains(err.Error(), test.challenge) {
				t.Errorf("%v; want %s, %s and the CA's words %q", err, culprit, test.challenge, test.words)
			}
			var dead *acme.OrderError
			if errors.As(err, &dead) {
				t.Errorf("%v: the order is said to be beyond help", err)
			}
			s.lead(plain, secure)
			request.Solvers = reachable[:1]
			certificate, err := client.Issue(within(t), request)
			if err != nil {
				t.Fatal(err)
			}
			verify(t, s, certificate, request)
			s.wants(t, 1, 1)
		})
	}
}
