package solver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver/internal/dnsclient"
	"github.com/everseal/everseal/solver/internal/escape"
	"github.com/everseal/everseal/solver/internal/reach"
)

// A Vantage is where a diagnosis looks from, and for whom. The zero value looks from this process, as the
// system does. A split-horizon set-up leads it elsewhere by DNS and Dial.
type Vantage struct {
	// DNS says how to ask the Domain Name System. Nil: as the system does.
	DNS *DNS

	// Dial opens the connections to servers. The address is an IP address, which Private lets be asked, and a
	// port. Nil: a [net.Dialer] does.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// CAAIdentities are the domain names of which the CA says that they mean it in CAA records: the
	// caaIdentities of its directory. Empty: CAA records that name a CA are not judged.
	CAAIdentities []string

	// Private says that the CA is on a private network itself. Names, name servers and redirects may lead to
	// private networks then, and names also to this machine. It is so without it if the CA's directory is at
	// such an address. Otherwise what leads to loopback, link-local or private addresses is not asked there,
	// wherever Dial leads: a public CA would not, and whoever has a name could have a look inside by it. From
	// the Internet, no redirect is ever followed to this machine or its segment.
	Private bool
}

// ForSolvers returns the DNS by which solvers ask from there, for their methods WithDNS: DNS itself, and with its
// Private set if that of the Vantage is. Nil: as the system does.
func (v Vantage) ForSolvers() *DNS {
	if !v.Private || v.DNS != nil && v.DNS.Private {
		return v.DNS
	}
	private := new(DNS)
	if v.DNS != nil {
		*private = *v.DNS
	}
	private.Private = true
	return private
}

// diagnoseTimeout bounds a whole diagnosis: some DNS lookups, then visits side by side.
const diagnoseTimeout = 30 * time.Second

// Diagnose looks at what a CA looks at to validate p, and says why that fails or would fail. failure is
// what the CA said, an error in which an [*acme.AuthorizationError] or an [*acme.Problem] can be found; nil
// stands for a CA that was not asked yet.
//
// It must be called while the answer is in place, before CleanUp. For http-01 and tls-alpn-01 it resolves
// the identifier, here and at its zone's authoritative servers, and asks each address for the answer; for
// dns-01, dns-account-01 and dns-persist-01 it asks the authoritative servers for the record. For all it
// reads the CAA records. It takes half a minute at most, and less if ctx ends; what was not seen by then is
// not judged.
//
// A set-up that is right from here has no cause as long as failure is nil. What cannot be judged from here,
// such as IPv6 addresses on a machine without IPv6, is none either.
func Diagnose(ctx context.Context, p acme.Proof, failure error, from Vantage) *Diagnosis {
	i := newInspection(p, failure, from)
	if err := i.checkProof(); err != nil {
		return i.conclude(because(CauseUnusableProof, "use a challenge that suits the identifier", "%s", escape.Text(err.Error(), 300)))
	}
	ctx, cancel := context.WithTimeout(ctx, diagnoseTimeout)
	defer cancel()
	i.begin(ctx)
	i.gather(ctx)
	return i.conclude(i.judge())
}

// An inspection is a diagnosis being made: the evidence first, then what follows from it.
type inspection struct {
	proof   acme.Proof
	name    string // of the identifier, as in the order: with "*." for a wildcard
	domain  string // the name without it
	from    Vantage
	dns     *dnsclient.Client // of from, during the diagnosis
	private reach.PrivateFunc
	problem *acme.Problem // the CA's words; may be nil
	failed  bool          // the CA looked, and did not see the answer

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
	i.dns = i.from.ForSolvers().client(ctx, i.proof.DirectoryURL)
	i.private = i.dns.Privately(i.from.Private)
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
		_, err = validate(i.proof, i.proof.Type)
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

func (i *inspection) conclude(f *verdict) *Diagnosis {
	d := &Diagnosis{
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

// problemOf returns what the CA said of the identifier: the words of its own authorization if there are
// some, else the first of all.
func problemOf(err error, name string) *acme.Problem {
	var first, own *acme.Problem
	var walk func(err error, depth int)
	walk = func(err error, depth int) {
		const deepest = 30
		if err == nil || depth > deepest || own != nil {
			return
		}
		switch e := err.(type) {
		case *acme.AuthorizationError:
			if e.Problem != nil && strings.EqualFold(e.Identifier, name) {
				own = e.Problem
				return
			}
		case *acme.Problem:
			if e.Identifier != nil && strings.EqualFold(e.Identifier.Value, strings.TrimPrefix(name, "*.")) {
				own = e
				return
			}
			if first == nil {
				first = e
			}
		}
		switch e := err.(type) {
		case interface{ Unwrap() error }:
			walk(e.Unwrap(), depth+1)
		case interface{ Unwrap() []error }:
			for _, err := range e.Unwrap() {
				walk(err, depth+1)
			}
		}
	}
	walk(err, 0)
	if own != nil {
		return own
	}
	return first
}
