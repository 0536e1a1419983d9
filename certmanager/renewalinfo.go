package certmanager

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/everseal/everseal/acme"
)

const (
	pollTimeout       = 10 * time.Second // of one question
	minPollInterval   = time.Minute      // that an issuer may ask for (RFC 9773 §4.3.2)
	maxPollInterval   = 24 * time.Hour
	usualPollInterval = 6 * time.Hour
)

// A renewalInformer is an issuer that says when to renew what it has signed: see [Issuer].
type renewalInformer interface {
	RenewalInfo(ctx context.Context, leaf *x509.Certificate) (*acme.RenewalInfo, error)
}

// renewalInfo asks the issuer when to renew what it has signed. What it says makes sense.
func (g *gatedIssuer) renewalInfo(ctx context.Context, logger *slog.Logger, leaf *x509.Certificate) (*acme.RenewalInfo, error) {
	able, ok := capability[renewalInformer](g)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	var info *acme.RenewalInfo
	err := guard(ctx, logger, "Issuer.RenewalInfo", func() (err error) {
		info, err = able.RenewalInfo(ctx, leaf)
		return err
	})
	if err != nil {
		return nil, inWords(err)
	}
	if info == nil {
		return nil, errors.New("Issuer.RenewalInfo has returned neither an answer nor an error")
	}
	told := *info
	if w := told.SuggestedWindow; w.Start.IsZero() || !w.End.After(w.Start) || !w.Start.Before(leaf.NotAfter) {
		return nil, fmt.Errorf("the window that it suggests, from %s to %s, makes no sense", w.Start.Format(time.RFC3339), w.End.Format(time.RFC3339))
	}
	if told.RetryAfter <= 0 {
		told.RetryAfter = usualPollInterval
	}
	told.RetryAfter = min(max(told.RetryAfter, minPollInterval), maxPollInterval)
	return &told, nil
}

// isOutOfOrder reports whether an error says that the issuer tells nobody at the moment, rather than nothing of one certificate.
func isOutOfOrder(err error) bool {
	var problem *acme.Problem
	if errors.As(err, &problem) {
		return acme.IsOutage(err) || problem.Status == http.StatusTooManyRequests || errors.Is(err, acme.ErrRateLimited)
	}
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, new(net.Error)) || errors.As(err, new(*UnavailableError))
}

// RenewalInfo asks the CA, for which it needs no account.
func (a *acmeIssuer) RenewalInfo(ctx context.Context, leaf *x509.Certificate) (*acme.RenewalInfo, error) {
	return a.informer.GetRenewalInfo(ctx, leaf)
}
