package acme

import (
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"iter"

	"github.com/go-jose/go-jose/v4"
)

// GetAccount returns the account as the CA has it (RFC 8555 §7.3.2 speaks of an empty update).
func (c *Client) GetAccount(ctx context.Context) (*Account, error) {
	account, err := c.changeAccount(ctx, nil)
	if err != nil {
		return nil, actionError("get account", err)
	}
	return account, nil
}

// UpdateContact replaces the account's contacts, which are URLs such as "mailto:admin@example.com"; none
// removes them (RFC 8555 §7.3.2).
func (c *Client) UpdateContact(ctx context.Context, contact []string) (*Account, error) {
	change := struct {
		Contact []string `json:"contact"`
	}{append([]string{}, contact...)}
	account, err := c.changeAccount(ctx, change)
	if err != nil {
		return nil, actionError("update contact", err)
	}
	return account, nil
}

// DeactivateAccount ends the account for good: the CA accepts nothing from it any more, and its key can
// have no other (RFC 8555 §7.3.6).
func (c *Client) DeactivateAccount(ctx context.Context) error {
	lost, err := c.deactivate(ctx, request{action: "account", own: true})
	if lost && errors.Is(err, ErrUnauthorized) {
		return nil // a try whose answer did not come has ended the account
	}
	if err != nil {
		return actionError("deactivate account", err)
	}
	return nil
}

// deactivate gives the resource that status. If it fails, lost says that a try got no answer.
func (c *Client) deactivate(ctx context.Context, r request) (lost bool, err error) {
	r.body, r.named, r.lost = []byte(`{"status":"deactivated"}`), true, &lost
	resp, err := c.post(ctx, r)
	if err != nil {
		return lost, err
	}
	var resource struct {
		Status string `json:"status"`
	}
	if err := resp.decode(&resource); err != nil {
		return false, err
	}
	if resource.Status != StatusDeactivated {
		return false, fmt.Errorf("the CA answers that it is %.40q", resource.Status)
	}
	return false, nil
}

func (c *Client) changeAccount(ctx context.Context, change any) (*Account, error) {
	body := []byte{}
	if change != nil {
		var err error
		if body, err = json.Marshal(change); err != nil {
			return nil, err
		}
	}
	resp, err := c.post(ctx, request{action: "account", own: true, body: body, named: true})
	if err != nil {
		return nil, err
	}
	account, err := readAccount(resp)
	if err != nil {
		return nil, err
	}
	account.URL = c.knownAccountURL()
	return account, nil
}

// ChangeKey gives the account another key (RFC 8555 §7.3.5). After it this client can be used no more:
// make one with the new key and the same AccountURL. Keep the new key before calling: the answer can be
// lost, and the old key is no good once the CA has acted. So ChangeKey asks the CA whose the new key is:
// nil means that it is the account's, whatever became of the answer. After an error FindAccount with
// either key tells.
func (c *Client) ChangeKey(ctx context.Context, key crypto.Signer) error {
	changeErr := c.changeKey(ctx, key)
	kid := c.knownAccountURL()
	if key == nil || kid == "" {
		return actionError("change key", changeErr)
	}
	next := &Client{DirectoryURL: c.DirectoryURL, Key: key, HTTPClient: c.HTTPClient, UserAgent: c.UserAgent, Observe: c.Observe}
	account, err := next.FindAccount(ctx)
	switch {
	case err == nil && account.URL == kid:
		return nil
	case changeErr != nil:
		return actionError("change key", changeErr)
	case err != nil:
		return actionError("change key: check whether it was changed", err)
	}
	return fmt.Errorf("acme: change key: the new key is that of another account, %s", account.URL)
}

func (c *Client) changeKey(ctx context.Context, key crypto.Signer) error {
	if c.Key == nil {
		return errNoKey
	}
	if key == nil {
		return errors.New("the new key is nil")
	}
	if _, err := signatureAlgorithm(key); err != nil {
		return fmt.Errorf("the new key: %w", inner{err})
	}
	target, err := c.resource(ctx, "keyChange", func(d *Directory) string { return d.KeyChange })
	if err != nil {
		return err
	}
	kid, err := c.kid(ctx)
	if err != nil {
		return err
	}
	err = c.changeKeyOf(ctx, kid, key, target)
	if current := c.knownAccountURL(); err != nil && current != kid {
		err = c.changeKeyOf(ctx, current, key, target) // the CA did not know the account by the other
	}
	return c.unsupported("keyChange", err)
}

func (c *Client) changeKeyOf(ctx context.Context, kid string, key crypto.Signer, target string) error {
	change, err := json.Marshal(struct {
		Account string          `json:"account"`
		OldKey  jose.JSONWebKey `json:"oldKey"`
	}{kid, jose.JSONWebKey{Key: c.Key.Public()}})
	if err != nil {
		return err
	}
	signed, err := signature{key: key, url: target}.sign(change)
	if err != nil {
		return err
	}
	_, err = c.post(ctx, request{action: "keyChange", url: target, body: signed})
	return err
}

// maxPages bounds a list of orders that comes in pages.
const maxPages = 1000

// Orders yields the URLs of the account's orders, as far as the CA lists them (RFC 8555 §7.1.2.1). Many
// CAs have no such list; the error wraps errors.ErrUnsupported then. An error ends the sequence.
func (c *Client) Orders(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		account, err := c.GetAccount(ctx)
		if err != nil {
			yield("", err)
			return
		}
		if account.Orders == "" {
			yield("", fmt.Errorf("acme: orders: the account has no list of them: %w", errors.ErrUnsupported))
			return
		}
		seen := make(map[string]bool)
		for page := account.Orders; page != ""; {
			if seen[page] || len(seen) == maxPages {
				yield("", errors.New("acme: orders: the list has no end"))
				return
			}
			seen[page] = true
			urls, next, err := c.ordersPage(ctx, page)
			if err != nil {
				yield("", actionError("orders", err))
				return
			}
			for _, u := range urls {
				if !yield(u, nil) {
					return
				}
			}
			page = next
		}
	}
}

// ordersPage returns the orders on one page of the list, and the URL of the next page, if any.
func (c *Client) ordersPage(ctx context.Context, page string) (urls []string, next string, err error) {
	var list struct {
		Orders []string `json:"orders"`
	}
	resp, err := c.post(ctx, request{action: "orders", url: page, body: []byte{}, limit: largestChain})
	if err != nil {
		return nil, "", c.unsupported("list of orders", err)
	}
	if json.Unmarshal(resp.body, &list.Orders) != nil { // step-ca answers with the array alone
		if err := resp.decode(&list); err != nil {
			return nil, "", err
		}
	}
	for i := range list.Orders {
		if list.Orders[i], err = resp.resolve(list.Orders[i]); err != nil {
			return nil, "", err
		}
	}
	if links := resp.links("next"); len(links) > 0 {
		next = links[0]
	}
	return list.Orders, next, nil
}
