package certmanager_test

import (
	"context"
	"crypto/x509"
	"encoding/hex"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
)

// A question is one that an informingCA was asked.
type question struct {
	at     time.Time
	name   string
	serial string
}

// An informingCA is a localCA that says when to renew what it has signed: at two thirds of the lifetime, if nothing else is
// set.
type informingCA struct {
	*localCA

	mu        sync.Mutex
	inform    func(ctx context.Context, leaf *x509.Certificate) (*acme.RenewalInfo, error) // nil: the usual
	questions []question
	out, most int // questions under way, now and at most
}

func newInformingCA(t testing.TB, id string) *informingCA {
	return &informingCA{localCA: newLocalCA(t, id)}
}

func (ca *informingCA) RenewalInfo(ctx context.Context, leaf *x509.Certificate) (*acme.RenewalInfo, error) {
	ca.mu.Lock()
	ca.questions = append(ca.questions, question{time.Now(), leaf.DNSNames[0], hex.EncodeToString(leaf.SerialNumber.Bytes())})
	inform := ca.inform
	ca.out++
	ca.most = max(ca.most, ca.out)
	ca.mu.Unlock()
	defer func() {
		ca.mu.Lock()
		defer ca.mu.Unlock()
		ca.out--
	}()
	if inform != nil {
		return inform(ctx, leaf)
	}
	return usualInfo(leaf), nil
}

// usualInfo suggests a fiftieth of the lifetime around the end of its second third.
func usualInfo(leaf *x509.Certificate) *acme.RenewalInfo {
	lifetime := leaf.NotAfter.Sub(leaf.NotBefore)
	return windowAt(leaf, lifetime/3*2-lifetime/100, lifetime/50)
}

// windowAt suggests a window that begins at an age of the certificate, and is so long.
func windowAt(leaf *x509.Certificate, age, length time.Duration) *acme.RenewalInfo {
	start := leaf.NotBefore.Add(age)
	return &acme.RenewalInfo{SuggestedWindow: acme.Window{Start: start, End: start.Add(length)}, RetryAfter: 6 * time.Hour}
}

// informs sets what the CA says from now on.
func (ca *informingCA) informs(inform func(ctx context.Context, leaf *x509.Certificate) (*acme.RenewalInfo, error)) {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	ca.inform = inform
}

// suggests has the CA suggest a window for each certificate from now on.
func (ca *informingCA) suggests(info func(leaf *x509.Certificate) *acme.RenewalInfo) {
	ca.informs(func(_ context.Context, leaf *x509.Certificate) (*acme.RenewalInfo, error) { return info(leaf), nil })
}

// asked returns the questions about the name since the last time, of an empty name those about all.
func (ca *informingCA) asked(name string) (about []question) {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	var others []question
	for _, q := range ca.questions {
		if name == "" || q.name == name {
			about = append(about, q)
		} else {
			others = append(others, q)
		}
	}
	ca.questions = others
	return about
}

// asking returns a configuration for the world's CA, which is asked for renewal information.
func (w *world) asking(names ...string) certmanager.Config {
	config := w.config(names...)
	config.RenewalInfoInterval = 0
	return config
}

// from returns a configuration for a CA that informs.
func (w *world) from(ca certmanager.Issuer, names ...string) certmanager.Config {
	config := w.asking(names...)
	config.Issuers = []certmanager.Issuer{ca}
	return config
}

// informed runs f in a bubble, with a manager that has certificates of a CA that informs, obtained just now.
func informed(t *testing.T, change func(*certmanager.Config), f func(w *world, ca *informingCA, m *certmanager.Manager), names ...string) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		ca := newInformingCA(t, "ca")
		config := w.from(ca, names...)
		if change != nil {
			change(&config)
		}
		m, stop := w.serving(config)
		defer stop()
		f(w, ca, m)
	})
}

// after lets time pass until all that is due then is done.
func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// outOfOrder is what a CA says that is.
func outOfOrder(context.Context, *x509.Certificate) (*acme.RenewalInfo, error) {
	return nil, &acme.Problem{Status: http.StatusInternalServerError}
}
