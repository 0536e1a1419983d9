package acme

import (
	"context"
	"errors"
	"fmt"
	"net/http"
)

// resource returns a URL of the directory that not every CA has.
func (c *Client) resource(ctx context.Context, name string, url func(*Directory) string) (string, error) {
	d, err := c.GetDirectory(ctx)
	if err != nil {
		return "", err
	}
	if u := url(d); u != "" {
		return u, nil
	}
	return "", fmt.Errorf("%s offers no %s: %w", c.directoryURL(), name, errors.ErrUnsupported)
}

// unsupported returns the error of a request for a resource of that name. CAs list some that they do not have:
// then it wraps errors.ErrUnsupported.
func (c *Client) unsupported(name string, err error) error {
	problem, refused := err.(*Problem) // one that is wrapped is about the account or a nonce
	if !refused {
		return err
	}
	switch problem.Status {
	case http.StatusNotFound:
		if problem.Type != "" {
			return err // the CA's word on what was asked for
		}
	case http.StatusMethodNotAllowed, http.StatusNotImplemented:
	default:
		return err
	}
	return fmt.Errorf("%s has no %s, though it lists one: %w: %w", c.directoryURL(), name, errors.ErrUnsupported, err)
}
