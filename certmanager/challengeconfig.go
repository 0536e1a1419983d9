package certmanager

import (
	"crypto/tls"

	"github.com/everseal/everseal/solver"
)

// answerChallenges has the configuration answer tls-alpn-01 validations whatever else it asks of clients: a CA has no
// certificate of its own to show (RFC 8737 §3).
func (m *Manager) answerChallenges(config *tls.Config) {
	next := config.GetConfigForClient
	challenge := &tls.Config{
		GetCertificate:         m.GetCertificate,
		NextProtos:             []string{ALPNProto},
		SessionTicketsDisabled: true,
	}
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		switch {
		case solver.IsChallenge(hello):
			return challenge, nil
		case next == nil:
			return nil, nil // the configuration itself
		}
		return next(hello)
	}
}
