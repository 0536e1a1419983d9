package peers

import (
	"context"
	"crypto/ecdsa"
	"encoding/base64"

	acmez "github.com/mholt/acmez/v3"
	acmezacme "github.com/mholt/acmez/v3/acme"

	"github.com/everseal/everseal/acme"
)

// acmezPeer is github.com/mholt/acmez, the client that CertMagic uses.
type acmezPeer struct {
	acmez.Client
	account acmezacme.Account
}

func openAcmez(ctx context.Context, s site) (peer, error) {
	key, err := generateKey()
	if err != nil {
		return nil, err
	}
	p := &acmezPeer{acmez.Client{
		Client:           &acmezacme.Client{Directory: s.directory, HTTPClient: s.client},
		ChallengeSolvers: map[string]acmez.Solver{s.challenge: acmezSolver{s.answers}},
	}, acmezacme.Account{TermsOfServiceAgreed: true, PrivateKey: key}}
	if s.external != nil {
		external := acmezacme.EAB{KeyID: s.external.KeyID, MACKey: base64.RawURLEncoding.EncodeToString(s.external.MACKey)}
		if err := p.account.SetExternalAccountBinding(ctx, p.Client.Client, external); err != nil {
			return nil, err
		}
	}
	p.account, err = p.NewAccount(ctx, p.account)
	return p, err
}

func (p *acmezPeer) obtain(ctx context.Context, names []string, predecessor *issued) (*issued, error) {
	key, err := generateKey()
	if err != nil {
		return nil, err
	}
	csr, err := acmez.NewCSR(key, names)
	if err != nil {
		return nil, err
	}
	parameters, err := acmez.OrderParametersFromCSR(p.account, csr)
	if err != nil {
		return nil, err
	}
	if predecessor != nil {
		parameters.Replaces = predecessor.leaf
	}
	chains, err := p.ObtainCertificate(ctx, parameters)
	if err != nil {
		return nil, err
	}
	var first []byte
	if len(chains) > 0 {
		first = chains[0].ChainPEM
	}
	return newIssued(decodeChain(first), key)
}

func (p *acmezPeer) revoke(ctx context.Context, certificate *issued) error {
	return p.RevokeCertificate(ctx, p.account, certificate.leaf, nil, acmezacme.ReasonSuperseded)
}

func (p *acmezPeer) revokeWithKey(ctx context.Context, certificate *issued) error {
	return p.RevokeCertificate(ctx, p.account, certificate.leaf, certificate.key, acmezacme.ReasonKeyCompromise)
}

func (p *acmezPeer) renewalWindow(ctx context.Context, certificate *issued) (acme.Window, error) {
	info, err := p.GetRenewalInfo(ctx, certificate.leaf)
	return acme.Window{Start: info.SuggestedWindow.Start, End: info.SuggestedWindow.End}, err
}

func (p *acmezPeer) changeKey(ctx context.Context, key *ecdsa.PrivateKey) (err error) {
	p.account, err = p.AccountKeyRollover(ctx, p.account, key)
	return err
}

func (p *acmezPeer) deactivate(ctx context.Context) (err error) {
	p.account.Status = acme.StatusDeactivated
	p.account, err = p.UpdateAccount(ctx, p.account)
	return err
}

// acmezSolver puts the answers in place for acmez.
type acmezSolver struct{ *answers }

// Present and CleanUp are those of acmez.Solver.
func (s acmezSolver) Present(_ context.Context, c acmezacme.Challenge) error {
	switch c.Type {
	case acmezacme.ChallengeTypeHTTP01:
		s.tokens.Store(c.Token, c.KeyAuthorization)
	case acmezacme.ChallengeTypeTLSALPN01:
		certificate, err := acmez.TLSALPN01ChallengeCert(c)
		if err != nil {
			return err
		}
		s.certificates.Store(c.Identifier.Value, certificate)
	case acmezacme.ChallengeTypeDNS01:
		s.addRecord(c.DNS01TXTRecordName(), c.DNS01KeyAuthorization())
	}
	return nil
}

func (s acmezSolver) CleanUp(_ context.Context, c acmezacme.Challenge) error {
	switch c.Type {
	case acmezacme.ChallengeTypeHTTP01:
		s.tokens.Delete(c.Token)
	case acmezacme.ChallengeTypeTLSALPN01:
		s.certificates.Delete(c.Identifier.Value)
	case acmezacme.ChallengeTypeDNS01:
		s.removeRecord(c.DNS01TXTRecordName(), c.DNS01KeyAuthorization())
	}
	return nil
}
