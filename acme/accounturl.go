package acme

import (
	"context"
	"errors"
	"fmt"
)

// accountState is what a client knows of its account's URL.
type accountState struct {
	url      string // as the CA told it; in place of Client.AccountURL, which may be empty or no good
	accepted bool   // the CA has taken a request for the URL, or was asked for it
}

// kid returns the account's URL, which signed requests carry, and looks it up if need be.
func (c *Client) kid(ctx context.Context) (string, error) {
	if url := c.knownAccountURL(); url != "" {
		return url, nil
	}
	if err := c.registering.take(ctx); err != nil {
		return "", actionError("find account", err)
	}
	defer c.registering.giveBack()
	if url := c.knownAccountURL(); url != "" {
		return url, nil // another call has found it
	}
	account, err := c.findAccount(ctx)
	if errors.Is(err, ErrAccountDoesNotExist) {
		return "", fmt.Errorf("acme: no account has Client.Key at %s: call Register first: %w", c.directoryURL(), inner{err})
	}
	if err != nil {
		return "", err
	}
	return account.URL, nil
}

func (c *Client) knownAccountURL() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.account.url != "" {
		return c.account.url
	}
	return c.AccountURL
}

// rememberAccountURL keeps the URL that the CA told.
func (c *Client) rememberAccountURL(url string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.account = accountState{url: url, accepted: true}
}

// accountAccepted notes that the CA knows the account by its URL.
func (c *Client) accountAccepted() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.account.accepted = true
}

// reviewAccount asks the CA for the account if it refused a request that may have been right but for the
// account's URL, kid: CAs have been moved, and then know the key but not the URL. It returns the URL to repeat
// the request with, or the refusal, with what to do about the account.
func (c *Client) reviewAccount(ctx context.Context, r request, kid string, refusal error) (string, error) {
	if !c.blamesAccount(r, kid, refusal) {
		return "", refusal
	}
	if c.registering.take(ctx) != nil {
		return "", refusal
	}
	defer c.registering.giveBack()
	if current := c.knownAccountURL(); current != kid {
		return current, nil // another call has found it
	}
	account, err := c.findAccount(ctx)
	switch {
	case err == nil && (account.URL != kid || errors.Is(refusal, ErrAccountDoesNotExist)):
		return account.URL, nil // which another of the CA's replicas may not have known yet
	case errors.Is(err, ErrAccountDoesNotExist):
		return "", fmt.Errorf("%w (the CA has neither the account %s nor one for Client.Key: register it: %w)", refusal, kid, inner{err})
	case errors.Is(err, ErrUnauthorized):
		return "", fmt.Errorf("%w (account %s: %w)", refusal, kid, inner{err})
	}
	return "", refusal
}

// blamesAccount reports whether the refusal may be about the account, and not about what was asked for. Once
// the CA has taken the account's URL only the requests that begin something are in doubt.
func (c *Client) blamesAccount(r request, kid string, refusal error) bool {
	problem, ok := errors.AsType[*Problem](refusal)
	if !ok {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	doubted := !c.account.accepted || c.account.url != "" && c.account.url != kid // another call has found a better one
	switch problem.Type {
	case ErrAccountDoesNotExist:
		return true
	case ErrMalformed:
		return doubted
	case ErrUnauthorized:
		return doubted || !r.named || r.own
	}
	return false
}
