package peers

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"net"

	xacme "golang.org/x/crypto/acme"
)

// xcryptoPeer is golang.org/x/crypto/acme, used as its autocert does: one authorization after the other.
type xcryptoPeer struct {
	*xacme.Client
	site
}

func openXCrypto(ctx context.Context, s site) (peer, error) {
	key, err := generateKey()
	if err != nil {
		return nil, err
	}
	p := &xcryptoPeer{&xacme.Client{DirectoryURL: s.directory, HTTPClient: s.client, Key: key}, s}
	account := new(xacme.Account)
	if s.external != nil {
		account.ExternalAccountBinding = &xacme.ExternalAccountBinding{KID: s.external.KeyID, Key: s.external.MACKey}
	}
	_, err = p.Register(ctx, account, xacme.AcceptTOS)
	return p, err
}

func (p *xcryptoPeer) obtain(ctx context.Context, names []string, predecessor *issued) (*issued, error) {
	template := new(x509.CertificateRequest)
	var ids []xacme.AuthzID
	for _, name := range names {
		if address := net.ParseIP(name); address != nil {
			template.IPAddresses = append(template.IPAddresses, address)
			ids = append(ids, xacme.IPIDs(name)...)
			continue
		}
		template.DNSNames = append(template.DNSNames, name)
		ids = append(ids, xacme.DomainIDs(name)...)
	}
	order, err := p.AuthorizeOrder(ctx, ids)
	if err != nil {
		return nil, err
	}
	for _, url := range order.AuthzURLs {
		if err := p.authorize(ctx, url); err != nil {
			return nil, err
		}
	}
	if order, err = p.WaitOrder(ctx, order.URI); err != nil {
		return nil, err
	}
	key, err := generateKey()
	if err != nil {
		return nil, err
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		return nil, err
	}
	const withIssuers = true
	var chain [][]byte
	if predecessor == nil {
		chain, _, err = p.CreateCertFromOrder(ctx, order, csr, withIssuers)
	} else { // the older way, which takes the order's URL from the answer to finalize
		chain, _, err = p.CreateOrderCert(ctx, order.FinalizeURL, csr, withIssuers)
	}
	if err != nil {
		return nil, err
	}
	return newIssued(chain, key)
}

func (p *xcryptoPeer) authorize(ctx context.Context, url string) error {
	authorization, err := p.GetAuthorization(ctx, url)
	if err != nil {
		return err
	}
	if authorization.Status == xacme.StatusValid {
		return nil
	}
	for _, challenge := range authorization.Challenges {
		if challenge.Type != p.challenge {
			continue
		}
		takeAway, err := p.answer(challenge, authorization.Identifier.Value)
		if err != nil {
			return err
		}
		defer takeAway()
		if _, err := p.Accept(ctx, challenge); err != nil {
			return err
		}
		_, err = p.WaitAuthorization(ctx, url)
		return err
	}
	return fmt.Errorf("no %s challenge is offered", p.challenge)
}

// answer puts the answer for the name in place.
func (p *xcryptoPeer) answer(challenge *xacme.Challenge, name string) (takeAway func(), err error) {
	switch challenge.Type {
	case "http-01":
		answer, err := p.HTTP01ChallengeResponse(challenge.Token)
		p.answers.tokens.Store(challenge.Token, answer)
		return func() { p.answers.tokens.Delete(challenge.Token) }, err
	case "tls-alpn-01":
		certificate, err := p.TLSALPN01ChallengeCert(challenge.Token, name)
		p.answers.certificates.Store(name, &certificate)
		return func() { p.answers.certificates.Delete(name) }, err
	}
	value, err := p.DNS01ChallengeRecord(challenge.Token)
	name = "_acme-challenge." + name
	p.answers.addRecord(name, value)
	return func() { p.answers.removeRecord(name, value) }, err
}

func (p *xcryptoPeer) revoke(ctx context.Context, certificate *issued) error {
	return p.RevokeCert(ctx, nil, certificate.chain[0], xacme.CRLReasonSuperseded)
}

func (p *xcryptoPeer) revokeWithKey(ctx context.Context, certificate *issued) error {
	return p.RevokeCert(ctx, certificate.key, certificate.chain[0], xacme.CRLReasonKeyCompromise)
}

func (p *xcryptoPeer) changeKey(ctx context.Context, key *ecdsa.PrivateKey) error {
	return p.AccountKeyRollover(ctx, key)
}

func (p *xcryptoPeer) deactivate(ctx context.Context) error { return p.DeactivateReg(ctx) }
