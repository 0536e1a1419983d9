package certmanager

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/everseal/everseal/certmanager/internal/record"
)

// A distantKey is a certificate's private key that Config.Keys has. It is opened when a handshake first needs it: a start with
// a hundred thousand certificates asks for none.
type distantKey struct {
	ring *keyring
	ref  string
	leaf []byte // DER of the certificate; not to be changed

	signer atomic.Pointer[crypto.Signer] // nil: not opened yet

	mu      sync.Mutex // guards what follows
	opening *keyOpening
}

// A keyOpening is the work of opening a key. What it comes to is set before done is closed.
type keyOpening struct {
	done  chan struct{}
	ended time.Time
	err   error
}

// newDistantKey returns the key of a record that refers to it, which may be open already.
func newDistantKey(ring *keyring, r *record.Certificate) *distantKey {
	d := &distantKey{ring: ring, ref: r.Key.Reference, leaf: r.Chain[0]}
	if signer := r.Key.Signer; signer != nil {
		d.signer.Store(&signer)
	}
	return d
}

// errNotOpened is for who uses the key without [Manager.GetCertificate].
var errNotOpened = errors.New("certmanager: the private key is kept elsewhere, and was not opened by GetCertificate")

// Public returns the public key; nil: the key is not open.
func (d *distantKey) Public() crypto.PublicKey {
	if signer := d.signer.Load(); signer != nil {
		return (*signer).Public()
	}
	return nil
}

// Sign has Config.Keys sign.
func (d *distantKey) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if signer := d.signer.Load(); signer != nil {
		return (*signer).Sign(random, digest, opts)
	}
	return nil, errNotOpened
}

// openFor returns the certificate once its key can sign. Only the first handshake that needs it waits.
func openFor(hello *tls.ClientHelloInfo, certificate *tls.Certificate) (*tls.Certificate, error) {
	d, ok := certificate.PrivateKey.(*distantKey)
	if !ok || d.signer.Load() != nil {
		return certificate, nil
	}
	if err := d.open(hello.Context()); err != nil {
		return nil, fmt.Errorf("certmanager: %.100q has a certificate that can't be served: %w", hello.ServerName, err)
	}
	return certificate, nil
}

// open waits until the key can sign. All who need it wait for one call of Keys, which may outlast a client: ctx, that of one of
// them, or nil, only ends its own wait.
func (d *distantKey) open(ctx context.Context) error {
	o := d.begin(ctx)
	var ended <-chan struct{}
	if ctx != nil {
		ended = ctx.Done()
	}
	timeout := time.NewTimer(openTimeout)
	defer timeout.Stop()
	select {
	case <-o.done:
		return o.err
	case <-timeout.C:
		return keysError{fmt.Errorf("Config.Keys fails: open the key %s: no answer within %v", d.ref, openTimeout)}
	case <-ended:
		return fmt.Errorf("its key is being opened, and the client went away: %w", ctx.Err())
	}
}

// begin returns the work under way, or what came of the last one a moment ago, or begins it.
func (d *distantKey) begin(ctx context.Context) *keyOpening {
	d.mu.Lock()
	defer d.mu.Unlock()
	if o := d.opening; o != nil {
		select {
		case <-o.done:
			if o.err == nil || time.Since(o.ended) < openPause {
				return o
			}
		default:
			return o
		}
	}
	o := &keyOpening{done: make(chan struct{})}
	d.opening = o
	if ctx == nil { // of a ClientHelloInfo that is no handshake's
		o.err, o.ended = errNotOpened, time.Now()
		close(o.done)
		return o
	}
	go d.work(context.WithoutCancel(ctx), o)
	return o
}

// work opens the key.
func (d *distantKey) work(ctx context.Context, o *keyOpening) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	defer close(o.done)
	signer, err := d.ask(ctx)
	if err == nil {
		d.signer.Store(&signer)
	}
	o.err, o.ended = err, time.Now()
}

// ask has Keys open the key, which has to be the certificate's, when not too many others are being opened.
func (d *distantKey) ask(ctx context.Context) (crypto.Signer, error) {
	select {
	case d.ring.opening <- struct{}{}:
	case <-ctx.Done():
		return nil, keysError{fmt.Errorf("Config.Keys is slow: %d keys are being opened: %w", maxOpening, ctx.Err())}
	}
	defer func() { <-d.ring.opening }()
	signer, err := d.ring.open(ctx, d.ref)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(d.leaf)
	if err != nil {
		return nil, err
	}
	if public, ok := signer.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !public.Equal(leaf.PublicKey) {
		return nil, keysError{fmt.Errorf("Config.Keys fails: the key %s is not the certificate's", d.ref)}
	}
	return signer, nil
}
