package peers

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"encoding/base64"
	"fmt"
	"log/slog"
	"os"
	"time"

	legoacme "github.com/go-acme/lego/v5/acme"
	"github.com/go-acme/lego/v5/acme/api"
	"github.com/go-acme/lego/v5/certificate"
	"github.com/go-acme/lego/v5/challenge/dns01"
	"github.com/go-acme/lego/v5/challenge/tlsalpn01"
	"github.com/go-acme/lego/v5/lego"
	legolog "github.com/go-acme/lego/v5/log"
	"github.com/go-acme/lego/v5/registration"

	"github.com/everseal/everseal/acme"
)

// setUpLego makes the settings that lego keeps for the whole process: it is quiet, and asks no DNS server of this
// machine's for CNAME records.
func setUpLego() error {
	legolog.SetDefault(slog.New(slog.DiscardHandler))
	return os.Setenv("LEGO_DISABLE_CNAME_SUPPORT", "true")
}

// legoPeer is github.com/go-acme/lego with the settings that it has from the start.
type legoPeer struct {
	*lego.Client
	user *legoUser
}

// A legoUser is an account as lego wants it.
type legoUser struct {
	key     crypto.Signer
	account *legoacme.ExtendedAccount
}

func (*legoUser) GetEmail() string                             { return "" }
func (u *legoUser) GetRegistration() *legoacme.ExtendedAccount { return u.account }
func (u *legoUser) GetPrivateKey() crypto.Signer               { return u.key }

func openLego(ctx context.Context, s site) (peer, error) {
	key, err := generateKey()
	if err != nil {
		return nil, err
	}
	user := &legoUser{key: key}
	config := lego.NewConfig(user)
	config.CADirURL, config.HTTPClient = s.directory, s.client
	client, err := lego.NewClient(config)
	if err != nil {
		return nil, err
	}
	if s.external == nil {
		user.account, err = client.Registration.Register(ctx, registration.RegisterOptions{TermsOfServiceAgreed: true})
	} else {
		user.account, err = client.Registration.RegisterWithExternalAccountBinding(ctx, registration.RegisterEABOptions{
			TermsOfServiceAgreed: true, Kid: s.external.KeyID,
			HmacEncoded: base64.RawURLEncoding.EncodeToString(s.external.MACKey),
		})
	}
	if err != nil {
		return nil, err
	}
	switch provider := (legoProvider{s.challenge, s.answers}); s.challenge {
	case acme.TypeHTTP01:
		err = client.Challenge.SetHTTP01Provider(provider)
	case acme.TypeTLSALPN01:
		err = client.Challenge.SetTLSALPN01Provider(provider)
	case acme.TypeDNS01:
		const unchecked = true // its own DNS look-ups would be elsewhere
		err = client.Challenge.SetDNS01Provider(provider, dns01.PropagationWait(0, unchecked))
	}
	return &legoPeer{client, user}, err
}

func (p *legoPeer) obtain(ctx context.Context, names []string, predecessor *issued) (*issued, error) {
	key, err := generateKey()
	if err != nil {
		return nil, err
	}
	request := certificate.ObtainRequest{Domains: names, PrivateKey: key, Bundle: true}
	if predecessor != nil {
		if request.ReplacesCertID, err = api.MakeARICertID(predecessor.leaf); err != nil {
			return nil, err
		}
	}
	resource, err := p.Certificate.Obtain(ctx, request)
	if err != nil {
		return nil, err
	}
	return newIssued(decodeChain(resource.Certificate), key)
}

func (p *legoPeer) revoke(ctx context.Context, revoked *issued) error {
	reason := legoacme.CRLReasonSuperseded
	return p.Certificate.RevokeWithReason(ctx, encodeCertificate(revoked.chain[0]), &reason)
}

func (p *legoPeer) renewalWindow(ctx context.Context, certificate *issued) (acme.Window, error) {
	info, err := p.Certificate.GetRenewalInfo(ctx, certificate.leaf)
	if err != nil {
		return acme.Window{}, err
	}
	return acme.Window{Start: info.SuggestedWindow.Start, End: info.SuggestedWindow.End}, nil
}

func (p *legoPeer) changeKey(ctx context.Context, key *ecdsa.PrivateKey) error {
	return p.Registration.KeyRollover(ctx, key)
}

func (p *legoPeer) deactivate(ctx context.Context) error {
	return p.Registration.DeleteRegistration(ctx)
}

// legoProvider puts the answers in place for lego.
type legoProvider struct {
	challenge string
	*answers
}

// Present and CleanUp are those of lego's challenge.Provider.
func (p legoProvider) Present(ctx context.Context, domain, token, keyAuthorization string) error {
	switch p.challenge {
	case acme.TypeHTTP01:
		p.tokens.Store(token, keyAuthorization)
	case acme.TypeTLSALPN01:
		answer, err := tlsalpn01.ChallengeCert(domain, keyAuthorization)
		if err != nil {
			return err
		}
		p.certificates.Store(domain, answer)
	case acme.TypeDNS01:
		info := dns01.GetChallengeInfo(ctx, domain, keyAuthorization)
		p.addRecord(dns01.UnFqdn(info.FQDN), info.Value)
	default:
		return fmt.Errorf("no answer to %s is known", p.challenge)
	}
	return nil
}

func (p legoProvider) CleanUp(ctx context.Context, domain, token, keyAuthorization string) error {
	switch p.challenge {
	case acme.TypeHTTP01:
		p.tokens.Delete(token)
	case acme.TypeTLSALPN01:
		p.certificates.Delete(domain)
	case acme.TypeDNS01:
		info := dns01.GetChallengeInfo(ctx, domain, keyAuthorization)
		p.removeRecord(dns01.UnFqdn(info.FQDN), info.Value)
	}
	return nil
}

// Timeout returns for how long and how often lego would look for a record: it first sleeps once.
func (legoProvider) Timeout() (timeout, interval time.Duration) { return time.Minute, time.Millisecond }
