package diagnose

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver/internal/challenge"
	"github.com/everseal/everseal/solver/internal/dnsclient"
	"github.com/everseal/everseal/solver/internal/escape"
	"github.com/everseal/everseal/solver/internal/reach"
)

// An inspection is a diagnosis being made: the evidence first, then what follows from it.
type inspection struct {
	proof   acme.Proof
	name    string // of the identifier, as in the order: with "*." for a wildcard
	domain  string // the name without it
	from    Vantage
	dns     *dnsclient.Client // of from, during the diagnosis
	private reach.PrivateFunc
	problem *acme.Problem // the CA's words; may be nil
	failed  bool          // the CA validated, and did not see the answer

	mu      sync.Mutex
	lookups []Lookup // guarded by mu
	noted   int      // bytes of their values, guarded by mu

	hosts   hostEvidence
	visits  []visit
	records recordEvidence // with the DNS challenges
	caa     caaSet
	caaErr  error
}

func newInspection(p acme.Proof, failure error, from Vantage) *inspection {
	i := &inspection{proof: p, name: p.Identifier.Value, from: from}
	i.domain = strings.TrimPrefix(i.name, "*.")
	if p.Wildcard {
		i.name = "*." + i.domain
	}
	i.problem = problemOf(failure, i.name)
	i.failed = i.isValidationFailure()
	return i
}

// begin sets the bounds of what is asked.
func (i *inspection) begin(ctx context.Context) {
	i.dns = i.from.client(ctx, i.proof.DirectoryURL)
	i.private = i.dns.CAIsPrivate(i.from.Private)
}

// checkProof reports what makes the proof one that nobody could answer.
func (i *inspection) checkProof() error {
	id, err := acme.ParseIdentifier(i.name)
	if err != nil {
		return err
	}
	if id.Type != i.proof.Identifier.Type || id.Value != i.name {
		return fmt.Errorf("the identifier {%.40q, %.100q} is not in the form that acme.ParseIdentifier returns", i.proof.Identifier.Type, i.name)
	}
	switch i.proof.Type {
	case acme.TypeHTTP01, acme.TypeTLSALPN01:
		_, err = challenge.Validate(i.proof, i.proof.Type)
	case acme.TypeDNS01, acme.TypeDNSAccount01, acme.TypeDNSPersist01:
		i.records.name, i.records.value, err = i.proof.TXTRecord()
	}
	return err
}

// gather collects the evidence.
func (i *inspection) gather(ctx context.Context) {
	var gathering sync.WaitGroup
	if i.proof.Identifier.Type == acme.TypeDNS { // CAA is for names alone
		gathering.Go(func() {
			i.caa, i.caaErr = i.climbCAA(ctx, i.domain)
		})
	}
	switch i.proof.Type {
	case acme.TypeHTTP01, acme.TypeTLSALPN01:
		i.hosts = i.findHosts(ctx)
		i.visits = i.visitAll(ctx)
	case acme.TypeDNS01, acme.TypeDNSAccount01, acme.TypeDNSPersist01:
		i.findRecords(ctx)
	}
	gathering.Wait()
}

// judge returns why validation fails, or would fail, or nil. It begins with what the CA complained of.
func (i *inspection) judge() *verdict {
	judges := []func() *verdict{i.judgeNames, i.judgeAnswer, i.judgeCAA, i.judgeFailure}
	if i.problem == nil || errors.Is(i.problem, acme.ErrCAA) {
		judges = []func() *verdict{i.judgeNames, i.judgeCAA, i.judgeAnswer, i.judgeFailure}
	}
	for _, judge := range judges {
		if f := judge(); f != nil {
			return f
		}
	}
	return nil
}

// judgeAnswer judges what was seen where the answer should be.
func (i *inspection) judgeAnswer() *verdict {
	switch i.proof.Type {
	case acme.TypeHTTP01, acme.TypeTLSALPN01:
		return i.judgeHosts()
	case acme.TypeDNS01, acme.TypeDNSAccount01, acme.TypeDNSPersist01:
		return i.judgeRecords()
	}
	return nil
}

func (i *inspection) conclude(f *verdict) *Report {
	d := &Report{
		Identifier:    escape.Text(i.name, 260),
		ChallengeType: escape.Text(i.proof.Type, 40),
		Seen:          i.seen(),
		Lookups:       i.lookups,
	}
	for j := range i.visits {
		d.Visits = append(d.Visits, i.visits[j].Visit)
	}
	if f != nil {
		d.Cause, d.Reason, d.Cure = f.cause, f.reason, f.cure
	}
	slices.SortStableFunc(d.Lookups, func(a, b Lookup) int {
		return strings.Compare(a.Name+" "+a.Type+" "+a.Server, b.Name+" "+b.Type+" "+b.Server)
	})
	return d
}

// seen reports whether the answer was seen, and seen wherever that can be judged from here.
func (i *inspection) seen() bool {
	if i.isAsked() {
		return len(rightOf(i.visits)) > 0 && i.judgeHosts() == nil
	}
	return i.records.seen()
}
