package peers

import (
	"context"
	"crypto/ecdsa"

	"github.com/everseal/everseal/acme"
)

// eversealPeer is ours.
type eversealPeer struct {
	*acme.Client
	site
}

func openEverseal(ctx context.Context, s site) (peer, error) {
	key, err := generateKey()
	if err != nil {
		return nil, err
	}
	p := &eversealPeer{&acme.Client{DirectoryURL: s.directory, Key: key, HTTPClient: s.client}, s}
	_, err = p.Register(ctx, acme.Registration{AgreeToTerms: true, ExternalAccount: s.external})
	return p, err
}

func (p *eversealPeer) obtain(ctx context.Context, names []string, predecessor *issued) (*issued, error) {
	key, err := generateKey()
	if err != nil {
		return nil, err
	}
	r := acme.Request{Key: key, Solvers: []acme.Solver{p.solver()}}
	for _, name := range names {
		id, err := acme.ParseIdentifier(name)
		if err != nil {
			return nil, err
		}
		r.Identifiers = append(r.Identifiers, id)
	}
	if predecessor != nil {
		r.Replaces = predecessor.leaf
	}
	certificate, err := p.Issue(ctx, r)
	if err != nil {
		return nil, err
	}
	return &issued{certificate.Chain, certificate.Leaf, key}, nil
}

func (p *eversealPeer) revoke(ctx context.Context, certificate *issued) error {
	return p.RevokeCertificate(ctx, certificate.chain[0], acme.ReasonSuperseded)
}

func (p *eversealPeer) revokeWithKey(ctx context.Context, certificate *issued) error {
	return p.RevokeWithKey(ctx, certificate.chain[0], certificate.key, acme.ReasonKeyCompromise)
}

func (p *eversealPeer) renewalWindow(ctx context.Context, certificate *issued) (acme.Window, error) {
	info, err := p.GetRenewalInfo(ctx, certificate.leaf)
	if err != nil {
		return acme.Window{}, err
	}
	return info.SuggestedWindow, nil
}

func (p *eversealPeer) changeKey(ctx context.Context, key *ecdsa.PrivateKey) error {
	if err := p.ChangeKey(ctx, key); err != nil {
		return err
	}
	p.Client = &acme.Client{DirectoryURL: p.directory, Key: key, HTTPClient: p.client}
	return nil
}

func (p *eversealPeer) deactivate(ctx context.Context) error { return p.DeactivateAccount(ctx) }

func (p *eversealPeer) solver() acme.Solver {
	switch p.challenge {
	case acme.TypeTLSALPN01:
		return &p.answers.tlsALPN01
	case acme.TypeHTTP01:
		return tokenSolver{p.answers}
	}
	return recordSolver{p.challenge, p.answers}
}

// tokenSolver answers http-01.
type tokenSolver struct{ *answers }

func (tokenSolver) Type() string { return acme.TypeHTTP01 }

func (s tokenSolver) Present(_ context.Context, p acme.Proof) error {
	s.tokens.Store(p.Token, p.KeyAuthorization)
	return nil
}

func (s tokenSolver) CleanUp(_ context.Context, p acme.Proof) error {
	s.tokens.Delete(p.Token)
	return nil
}

// recordSolver answers the types that look for a TXT record.
type recordSolver struct {
	challenge string
	*answers
}

func (s recordSolver) Type() string { return s.challenge }

func (s recordSolver) Present(_ context.Context, p acme.Proof) error {
	name, value, err := p.TXTRecord()
	if err != nil {
		return err
	}
	s.addRecord(name, value)
	return nil
}

func (s recordSolver) CleanUp(_ context.Context, p acme.Proof) error {
	name, value, err := p.TXTRecord()
	if err != nil {
		return err
	}
	s.removeRecord(name, value)
	return nil
}
