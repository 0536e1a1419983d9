package pkcs11

import (
	"errors"
	"fmt"
	"sync"

	"github.com/miekg/pkcs11"
)

// errNoSession is why a call was not made.
var errNoSession = errors.New("all sessions with the token are in use")

var errClosed = errors.New("the keys are closed")

// A pool is a number of sessions with a token, opened when they are needed.
type pool struct {
	module *pkcs11.Ctx
	slot   uint
	pin    func() (string, error)
	idle   chan pkcs11.SessionHandle // noSession stands for one that can be opened

	mu      sync.Mutex // guards what follows; held while the token is asked to take the PIN
	refusal error      // of the PIN
	closed  bool
}

// noSession is no handle: PKCS #11 says so (CK_INVALID_HANDLE).
const noSession = pkcs11.SessionHandle(0)

func newPool(module *pkcs11.Ctx, slot uint, config Config) *pool {
	p := &pool{module: module, slot: slot, pin: config.PIN, idle: make(chan pkcs11.SessionHandle, config.Sessions)}
	for range config.Sessions {
		p.idle <- noSession
	}
	return p
}

// use calls f with a session. It waits for one until ended is closed.
func (p *pool) use(ended <-chan struct{}, f func(pkcs11.SessionHandle) error) (err error) {
	var s pkcs11.SessionHandle
	select {
	case s = <-p.idle:
	default:
		select {
		case s = <-p.idle:
		case <-ended:
			return errNoSession
		}
	}
	defer func() { p.idle <- p.kept(s) }()
	if s, err = p.open(s); err != nil {
		return err
	}
	err = f(s)
	if isCode(err, pkcs11.CKR_SESSION_HANDLE_INVALID, pkcs11.CKR_SESSION_CLOSED, pkcs11.CKR_USER_NOT_LOGGED_IN,
		pkcs11.CKR_DEVICE_ERROR, pkcs11.CKR_DEVICE_REMOVED, pkcs11.CKR_TOKEN_NOT_PRESENT, pkcs11.CKR_OPERATION_ACTIVE) {
		_ = p.module.CloseSession(s) // it is no good any more
		s = noSession
	}
	return err
}

// kept returns a session that is not in use any more, or none if the pool was closed meanwhile.
func (p *pool) kept(s pkcs11.SessionHandle) pkcs11.SessionHandle {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed || s == noSession {
		return s
	}
	_ = p.module.CloseSession(s) // all that is lost is a session
	return noSession
}

// open opens the session if it is not, and sees to it that the user is logged in, which all sessions share.
func (p *pool) open(s pkcs11.SessionHandle) (pkcs11.SessionHandle, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return s, errClosed
	case s != noSession:
		return s, nil
	case p.refusal != nil:
		return s, p.refusal
	}
	pin, err := p.pin()
	if err != nil {
		return s, fmt.Errorf("Config.PIN: %w", err)
	}
	s, err = p.module.OpenSession(p.slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	if err != nil {
		return noSession, fmt.Errorf("open a session with the token: %w", err)
	}
	err = p.module.Login(s, pkcs11.CKU_USER, pin)
	if err == nil || isCode(err, pkcs11.CKR_USER_ALREADY_LOGGED_IN) {
		return s, nil
	}
	_ = p.module.CloseSession(s) // nothing was done with it
	err = fmt.Errorf("log in to the token: %w", err)
	if isCode(err, pkcs11.CKR_PIN_INCORRECT, pkcs11.CKR_PIN_INVALID, pkcs11.CKR_PIN_LEN_RANGE, pkcs11.CKR_PIN_EXPIRED, pkcs11.CKR_PIN_LOCKED) {
		err = fmt.Errorf("%w: Config.PIN has to return another, to a new process, for the token may lock itself", err)
		p.refusal = err
	}
	return noSession, err
}

// close closes the sessions that are not in use, and has the others fail later.
func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for range cap(p.idle) {
		select {
		case s := <-p.idle:
			if s != noSession {
				_ = p.module.CloseSession(s) // all that is lost is a session
			}
			p.idle <- noSession
		default:
			return
		}
	}
}
