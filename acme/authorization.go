package acme

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// An Authorization is the CA's view of the account's control of one identifier (RFC 8555 §7.1.4).
type Authorization struct {
	URL        string      `json:"-"`
	Identifier Identifier  `json:"identifier"` // for a wildcard without the "*."
	Status     string      `json:"status"`
	Expires    time.Time   `json:"expires,omitzero"`
	Challenges []Challenge `json:"challenges"`
	Wildcard   bool        `json:"wildcard,omitempty"`
	// SubdomainAuthAllowed says that orders for subdomains of the identifier need no other (RFC 9444 §4).
	SubdomainAuthAllowed bool          `json:"subdomainAuthAllowed,omitempty"`
	RetryAfter           time.Duration `json:"-"` // when the CA wants to be asked again; zero: it did not say
}

// maxChallenges bounds the challenges of one authorization; no CA offers more than a handful.
const maxChallenges = 50

// GetAuthorization returns the authorization as it stands.
func (c *Client) GetAuthorization(ctx context.Context, url string) (*Authorization, error) {
	a := &Authorization{URL: url}
	resp, err := c.get(ctx, "authorization", url)
	if err == nil {
		err = a.read(resp)
	}
	if err != nil {
		return nil, actionError("get authorization", err)
	}
	return a, nil
}

// An authorizationResource is an authorization as it comes: its challenges are read one by one, because
// one that is not known here can have any form, and is skipped.
type authorizationResource struct {
	Authorization
	Identifier           identifierResource `json:"identifier"`
	Expires              looseTime          `json:"expires"`
	Wildcard             looseBool          `json:"wildcard"`
	SubdomainAuthAllowed looseBool          `json:"subdomainAuthAllowed"`
	Challenges           []json.RawMessage  `json:"challenges"`
}

// read completes a from the answer, its URLs resolved.
func (a *Authorization) read(resp *response) error {
	resource := authorizationResource{Authorization: *a}
	if err := resp.decode(&resource); err != nil {
		return err
	}
	if len(resource.Challenges) > maxChallenges {
		return fmt.Errorf("it has %d challenges, more than %d", len(resource.Challenges), maxChallenges)
	}
	switch resource.Status {
	case StatusPending, StatusValid, StatusInvalid, StatusDeactivated, StatusExpired, StatusRevoked:
	default:
		return fmt.Errorf("the authorization has the unknown status %.40q", resource.Status)
	}
	*a = resource.Authorization
	a.Identifier = resource.Identifier.identifier()
	a.Expires, a.Wildcard, a.SubdomainAuthAllowed = resource.Expires.Time, bool(resource.Wildcard), bool(resource.SubdomainAuthAllowed)
	if base, ok := strings.CutPrefix(a.Identifier.Value, "*."); ok && a.Identifier.Type == TypeDNS {
		a.Identifier.Value, a.Wildcard = base, true // as some CAs write it
	}
	a.Challenges, a.RetryAfter = nil, resp.retryAfter()
	for _, data := range resource.Challenges {
		a.Challenges = append(a.Challenges, readChallenge(data, resp))
	}
	return nil
}

// readChallenge returns the challenge. Of one in an unknown form it is the type alone.
func readChallenge(data json.RawMessage, resp *response) Challenge {
	var resource challengeResource
	err := json.Unmarshal(data, &resource)
	challenge := resource.challenge()
	if err != nil {
		challenge = Challenge{}
		var members map[string]json.RawMessage
		_ = json.Unmarshal(data, &members) // what is no object has no type either
		readMember(members["type"], &challenge.Type)
	}
	if challenge.URL != "" {
		// Without a URL it can't be accepted, and nothing else is lost.
		challenge.URL, _ = resp.resolve(challenge.URL)
	}
	return challenge
}

// NewAuthorization asks for an authorization ahead of any order (RFC 8555 §7.4.1), and with
// id.SubdomainAuthAllowed for one that is good for subdomains too; the SubdomainAuthAllowed of what is
// returned says whether it is. If the CA offers no such thing, the error wraps errors.ErrUnsupported. A
// wildcard can't be authorized so.
func (c *Client) NewAuthorization(ctx context.Context, id Identifier) (*Authorization, error) {
	a, err := c.newAuthorization(ctx, id)
	if err != nil {
		return nil, actionError("new authorization", err)
	}
	return a, nil
}

func (c *Client) newAuthorization(ctx context.Context, id Identifier) (*Authorization, error) {
	if id.Value == "" {
		return nil, errors.New("the identifier is empty")
	}
	target, err := c.resource(ctx, "newAuthz", func(d *Directory) string { return d.NewAuthz })
	if err != nil {
		return nil, err
	}
	d, err := c.GetDirectory(ctx)
	if err != nil {
		return nil, err
	}
	if id.SubdomainAuthAllowed && !d.Meta.SubdomainAuthAllowed {
		return nil, fmt.Errorf("%s offers none for subdomains (Identifier.SubdomainAuthAllowed): %w", c.directoryURL(), errors.ErrUnsupported)
	}
	wanted, err := json.Marshal(struct {
		Identifier Identifier `json:"identifier"`
	}{id})
	if err != nil {
		return nil, err
	}
	resp, err := c.post(ctx, request{action: "newAuthz", url: target, body: wanted})
	if err != nil {
		return nil, c.unsupported("newAuthz", err)
	}
	a := new(Authorization)
	if a.URL, err = c.location(resp); err != nil {
		return nil, err
	}
	return a, a.read(resp)
}

// WaitAuthorization polls an authorization that is not of an order, or one of them alone, until it is no longer
// pending, and returns it then. It asks as often as WaitOrder does. One that can't become valid any more is an
// [*AuthorizationError].
func (c *Client) WaitAuthorization(ctx context.Context, url string) (*Authorization, error) {
	for poll, failures := 0, 0; ; poll++ {
		var asked time.Duration
		a, err := c.GetAuthorization(ctx, url)
		if err == nil {
			if failure := a.failure(); failure != nil {
				return nil, actionError("wait for the authorization", failure)
			}
			if a.Status != StatusPending {
				return a, nil
			}
			failures, asked = 0, a.RetryAfter
		} else if failures++; !passing(ctx, err) || failures > maxTries {
			return nil, err
		} else {
			asked = askedBy(err)
		}
		if err := pausePoll(ctx, poll, asked); err != nil {
			err = actionError("wait for the authorization, which is pending", err)
			if a != nil {
				if hindrance := a.hindrance(StatusProcessing); hindrance != nil {
					err = fmt.Errorf("%w: the CA keeps trying: %w", err, hindrance)
				}
			}
			return nil, err
		}
	}
}

// DeactivateAuthorization gives the authorization up (RFC 8555 §7.5.2): the CA will not issue on it any
// more, and a pending one no longer counts.
func (c *Client) DeactivateAuthorization(ctx context.Context, url string) error {
	lost, err := c.deactivate(ctx, request{action: "authorization", url: url})
	if lost {
		// The try whose answer did not come may have done it.
		if a, getErr := c.GetAuthorization(ctx, url); getErr == nil && a.Status == StatusDeactivated {
			return nil
		}
	}
	if err != nil {
		return actionError("deactivate authorization", err)
	}
	return nil
}

// name returns the identifier as it stands in the order.
func (a *Authorization) name() string { return orderedName(a.Identifier, a.Wildcard) }

func orderedName(id Identifier, wildcard bool) string {
	if wildcard {
		return "*." + id.Value
	}
	return id.Value
}

// sideBySide bounds the requests of one order that are under way at once.
const sideBySide = 16

// getAuthorizations returns those that have the URLs, fetched side by side. If some can't be fetched, the
// error is that of one of them, and they are nil.
func (c *Client) getAuthorizations(ctx context.Context, urls []string) ([]*Authorization, error) {
	authorizations := make([]*Authorization, len(urls))
	var group errgroup.Group
	group.SetLimit(sideBySide)
	for i, url := range urls {
		group.Go(func() (err error) {
			authorizations[i], err = c.GetAuthorization(ctx, url)
			return err
		})
	}
	return authorizations, group.Wait()
}

// An AuthorizationError reports that control of an identifier was not proved.
type AuthorizationError struct {
	Identifier    string   // as in the order: with "*." for a wildcard
	ChallengeType string   // the challenge that failed, such as "http-01"; may be empty
	Status        string   // the authorization's
	Problem       *Problem // the CA's words; may be nil
}

// Error names the identifier and the challenge and says what the CA said.
func (e *AuthorizationError) Error() string {
	text := "control was not proved"
	switch {
	case e.Problem != nil:
		text = e.Problem.Error()
	case e.Status != "":
		text = "the authorization is " + printable(e.Status, 40)
	}
	return about(e.Identifier, e.ChallengeType) + text
}

// Unwrap returns the CA's problem.
func (e *AuthorizationError) Unwrap() error {
	if e.Problem == nil {
		return nil
	}
	return e.Problem
}

// authorizationErrors are the errors of several authorizations of one order.
type authorizationErrors []*AuthorizationError

func (e authorizationErrors) Error() string { return joined(e.Unwrap()) }

func (e authorizationErrors) Unwrap() []error {
	errs := make([]error, len(e))
	for i := range e {
		errs[i] = e[i]
	}
	return errs
}

// unproved returns what failed, and what waits with an error to be tried once more, as far as the CA tells.
func unproved(authorizations []*Authorization) (failed, hindered authorizationErrors) {
	for _, a := range authorizations {
		if a == nil {
			continue // it could not be fetched
		}
		if err := a.failure(); err != nil {
			failed = append(failed, err)
		} else if a.processing() {
			continue
		} else if err := a.hindrance(StatusPending); err != nil {
			hindered = append(hindered, err)
		}
	}
	return failed, hindered
}

// processing reports whether the CA is trying a challenge of the authorization.
func (a *Authorization) processing() bool {
	return slices.ContainsFunc(a.Challenges, func(challenge Challenge) bool { return challenge.Status == StatusProcessing })
}

// hindrance returns why the CA could not validate a challenge so far that has the status, or nil. With "processing"
// the CA keeps trying; with "pending" it validates again only when the challenge is accepted again (RFC 8555 §8.2).
func (a *Authorization) hindrance(status string) *AuthorizationError {
	if a.Status != StatusPending {
		return nil
	}
	for _, challenge := range a.Challenges {
		if challenge.Status == status && challenge.Error.says() {
			return &AuthorizationError{Identifier: a.name(), ChallengeType: challenge.Type, Status: a.Status, Problem: challenge.Error}
		}
	}
	return nil
}

// failure returns why the authorization can no longer become valid, or nil if it can. A challenge
// that has failed is enough: CAs are known to leave its authorization pending.
func (a *Authorization) failure() *AuthorizationError {
	if a.Status == StatusValid {
		return nil // by another challenge, whatever became of the rest
	}
	for _, challenge := range a.Challenges {
		if challenge.Status == StatusInvalid {
			return &AuthorizationError{Identifier: a.name(), ChallengeType: challenge.Type, Status: a.Status, Problem: challenge.Error}
		}
	}
	switch a.Status {
	case StatusInvalid, StatusDeactivated, StatusExpired, StatusRevoked:
		return &AuthorizationError{Identifier: a.name(), Status: a.Status}
	}
	return nil
}
