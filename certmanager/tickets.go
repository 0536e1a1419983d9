package certmanager

import (
	"crypto/tls"
	"sync"
	"sync/atomic"
	"time"
)

// tickets have the session ticket keys that configurations of one manager share, and with Config.SharedTickets those of
// all managers on the storage. The zero value is ready for use: crypto/tls makes a key each day, and drops it after a week.
type tickets struct {
	own   tls.Config
	fleet atomic.Pointer[fleetTickets] // nil: there are no keys that others have, too
}

// fleetTickets seal tickets for all members, and open theirs. They are not changed once they are published.
type fleetTickets struct {
	keys  tls.Config
	until time.Time // when they are to seal none any more; zero: they never seal
}

// sealing returns what has the key that new tickets are sealed with.
func (t *tickets) sealing() *tls.Config {
	if fleet := t.fleet.Load(); fleet != nil && time.Now().Before(fleet.until) {
		return &fleet.keys
	}
	return &t.own
}

// open returns the session of a ticket; nil: it is none that was sealed by these keys.
func (t *tickets) open(ticket []byte, cs tls.ConnectionState) (*tls.SessionState, error) {
	if fleet := t.fleet.Load(); fleet != nil {
		if session, err := fleet.keys.DecryptTicket(ticket, cs); session != nil && err == nil {
			return session, nil
		}
	}
	return t.own.DecryptTicket(ticket, cs)
}

// share has the configuration and its clones issue and accept the tickets of all that share them. Sessions of
// configurations that ask for client certificates, and those that have one, are not shared, for what one configuration
// verified says nothing to another: crypto/tls does not call VerifyPeerCertificate again. They, and whoever set keys
// of his own, use the configuration's own ones.
func (t *tickets) share(config *tls.Config) {
	if config.WrapSession != nil || config.UnwrapSession != nil {
		return
	}
	var once sync.Once
	var keysSet bool
	alone := func(cs tls.ConnectionState, session *tls.SessionState) bool {
		once.Do(func() { keysSet = hasKeys(config, session) })
		return keysSet || config.ClientAuth != tls.NoClientCert || len(cs.PeerCertificates) > 0
	}
	config.WrapSession = func(cs tls.ConnectionState, session *tls.SessionState) ([]byte, error) {
		if alone(cs, session) {
			return config.EncryptTicket(cs, session)
		}
		return t.sealing().EncryptTicket(cs, session)
	}
	config.UnwrapSession = func(ticket []byte, cs tls.ConnectionState) (*tls.SessionState, error) {
		session, err := t.open(ticket, cs)
		if session != nil && err == nil && !alone(cs, session) {
			return session, nil
		}
		return config.DecryptTicket(ticket, cs)
	}
}

// hasKeys reports whether ticket keys were set for the configuration, which crypto/tls does not tell. But those that it
// makes by itself it drops after a week.
func hasKeys(config *tls.Config, session *tls.SessionState) bool {
	const longer = 8 * 24 * time.Hour
	now := time.Now()
	probe := config.Clone()
	probe.Time = func() time.Time { return now }
	ticket, err := probe.EncryptTicket(tls.ConnectionState{}, session)
	if err != nil {
		return false
	}
	now = now.Add(longer)
	kept, err := probe.DecryptTicket(ticket, tls.ConnectionState{})
	return err == nil && kept != nil
}
