package certmanager

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"slices"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/storage"
)

// An account is an ACME issuer at work for one manager: it keeps the client, with its nonces, between
// issuances.
type account struct {
	ACME
	lock   chan struct{} // holds one value while client is being made
	client *acme.Client  // guarded by lock; nil: its account is not known to be registered
	url    string        // guarded by lock; the account's, as it is stored
	made   *acme.Client  // guarded by lock; the last one, with the directory and nonces that it has
	http   *http.Client

	blind blindSpots
}

func newAccount(a *ACME) *account {
	return &account{ACME: *a, lock: make(chan struct{}, 1), http: a.httpClient()}
}

// rest closes the connections that the account keeps for later, where nobody else uses them.
func (a *account) rest() {
	if a.HTTPClient == nil && a.Roots != nil {
		a.http.CloseIdleConnections()
	}
}

// accountRecord is the account as it is stored: the key first, then, once registered, the URL. So any
// number of processes that start at once make one account.
type accountRecord struct {
	Version   int    `json:"version"`
	Directory string `json:"directory"`
	Key       string `json:"key"`           // PEM
	URL       string `json:"url,omitempty"` // empty until registered
}

// notes are what an account records of an order under way.
type notes struct {
	OrderURL    string       `json:"orderURL,omitempty"`
	Proofs      []acme.Proof `json:"proofs,omitempty"`     // presented, perhaps not yet cleaned up
	FinalizedAt time.Time    `json:"finalizedAt,omitzero"` // see acme.Request; kept when the attempt fails
}

// Issue goes on with the order that the journal tells of, or makes one.
func (a *account) Issue(ctx context.Context, r Request) (*acme.Certificate, error) {
	if r.Storage == nil {
		return nil, errors.New("certmanager: Request.Storage is nil: an ACME issuer keeps its account there")
	}
	client, url, err := a.open(ctx, r.Storage, nil)
	if err != nil {
		return nil, err
	}
	var n notes
	if len(r.Journal) > 0 {
		// Unreadable notes are no reason to fail: what they tell of costs an unused order at most.
		_ = json.Unmarshal(r.Journal, &n)
	}
	resumed := n.OrderURL != ""
	certificate, err := a.issue(ctx, client, r, &n)
	if errors.Is(err, acme.ErrAccountDoesNotExist) {
		known := url
		if client, url, err = a.open(ctx, r.Storage, client); err != nil {
			return nil, err
		}
		if url != known {
			n = notes{Proofs: n.Proofs} // the order is another account's
		}
		return a.issue(ctx, client, r, &n)
	}
	// An order left by an earlier attempt may have expired meanwhile, or have been validated while no
	// process was there to answer.
	var dead *acme.OrderError
	if resumed && errors.As(err, &dead) && ctx.Err() == nil {
		return a.issue(ctx, client, r, &notes{Proofs: n.Proofs})
	}
	return certificate, err
}

// issue obtains the certificate and notes how far it came.
func (a *account) issue(ctx context.Context, client *acme.Client, r Request, n *notes) (*acme.Certificate, error) {
	flight := &preflight{account: a, client: client, request: &r, faults: make(map[blindSpot]bool)}
	certificate, err := client.Issue(ctx, acme.Request{
		Identifiers: r.Identifiers,
		Key:         r.Key,
		CommonName:  a.CommonName,
		Solvers:     r.Solvers,
		OrderURL:    n.OrderURL,
		FinalizedAt: n.FinalizedAt,
		Presented:   n.Proofs,
		Explain:     flight.explain(),
		CleanUpFailed: func(p acme.Proof, err error) {
			if r.Warn != nil {
				r.Warn(fmt.Errorf("%s: the answer to %s may still be in place: %w", p.Identifier.Value, p.Type, err))
			}
		},
		Before: func(ctx context.Context, s acme.Step) error {
			switch {
			case s.Action == acme.ActionAccept:
				return flight.lookAll(ctx, s.Proofs)
			case r.Record == nil:
				return nil
			case s.Action == acme.ActionAuthorize && s.OrderURL != n.OrderURL:
				n.OrderURL = s.OrderURL
			case s.Action == acme.ActionPresent:
				n.add(s.Proofs)
			default:
				n.finalized(s.Action)
				return nil // to be kept only if it is not over in a moment
			}
			return n.record(ctx, r.Record)
		},
	})
	if err == nil {
		flight.succeeded()
		return certificate, nil
	}
	if r.Record != nil && !n.FinalizedAt.IsZero() {
		// Not kept, an order that the CA processes for ever is given up later.
		_ = n.record(ctx, r.Record)
	}
	return nil, err
}

// finalized notes when the CA was asked for the certificate, or at the latest.
func (n *notes) finalized(before acme.Action) {
	if (before == acme.ActionFinalize || before == acme.ActionDownload) && n.FinalizedAt.IsZero() {
		n.FinalizedAt = time.Now().UTC()
	}
}

func (n *notes) record(ctx context.Context, record func(context.Context, []byte) error) error {
	encoded, err := json.Marshal(n)
	if err != nil {
		return err
	}
	return record(ctx, encoded)
}

func (n *notes) add(proofs []acme.Proof) {
	for _, p := range proofs {
		if !slices.ContainsFunc(n.Proofs, func(q acme.Proof) bool { return q.URL == p.URL }) {
			n.Proofs = append(n.Proofs, p)
		}
	}
}

// open returns the client with its account, and that one's URL. A client for which the CA says that there is no
// such account is given as lost: the same key is registered anew then.
func (a *account) open(ctx context.Context, s storage.Store, lost *acme.Client) (client *acme.Client, url string, err error) {
	select {
	case a.lock <- struct{}{}:
		defer func() { <-a.lock }()
	case <-ctx.Done():
		return nil, "", ctx.Err()
	}
	if a.client != nil && a.client != lost {
		return a.client, a.url, nil
	}
	client, url, err = a.load(ctx, s, lost != nil)
	if err != nil {
		return nil, "", fmt.Errorf("account at %s: %w", a.directoryURL(), err)
	}
	a.client, a.url = client, url
	return client, url, nil
}

// load reads the account from the storage and, if it is not registered or the CA lost it, registers it.
func (a *account) load(ctx context.Context, s storage.Store, lost bool) (client *acme.Client, url string, err error) {
	rec, err := a.record(ctx, s)
	if err != nil {
		return nil, "", err
	}
	key, err := decodeKey(rec.Key)
	if err != nil {
		return nil, "", fmt.Errorf("the stored record %s: %w", a.key(), err)
	}
	if rec.URL != "" && !lost {
		client = &acme.Client{DirectoryURL: a.directoryURL(), Key: key, HTTPClient: a.http, AccountURL: rec.URL}
		return client, rec.URL, nil
	}
	client = a.clientFor(key)
	registration := acme.Registration{AgreeToTerms: a.AgreeToTerms, ExternalAccount: a.ExternalAccount}
	if a.Email != "" {
		registration.Contact = []string{"mailto:" + a.Email}
	}
	registered, err := client.Register(ctx, registration)
	if err != nil {
		return nil, "", err
	}
	_, err = storage.Update(ctx, s, a.key(), func(old []byte) ([]byte, error) {
		var current accountRecord
		if json.Unmarshal(old, &current) == nil && current.Key != rec.Key {
			return nil, errors.New("its key was replaced meanwhile")
		}
		rec.URL = registered.URL
		return json.Marshal(rec)
	})
	if err != nil {
		return nil, "", fmt.Errorf("store its URL: %w", err)
	}
	return client, registered.URL, nil
}

// clientFor returns a client for the key: the one that has tried before, where there is one.
func (a *account) clientFor(key crypto.Signer) *acme.Client {
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	if a.made == nil || !ok || !public.Equal(a.made.Key.Public()) {
		a.made = &acme.Client{DirectoryURL: a.directoryURL(), Key: key, HTTPClient: a.http}
	}
	return a.made
}

// record returns the stored account. Where there is none, it makes the key and stores it, unless
// another process is faster.
func (a *account) record(ctx context.Context, s storage.Store) (accountRecord, error) {
	var rec accountRecord
	item, err := s.Load(ctx, a.key())
	if errors.Is(err, fs.ErrNotExist) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return rec, err
		}
		fresh := accountRecord{Version: 1, Directory: a.directoryURL()}
		if fresh.Key, err = encodeKey(key); err != nil {
			return rec, err
		}
		value, err := json.Marshal(fresh)
		if err != nil {
			return rec, err
		}
		if _, err = s.Save(ctx, a.key(), value, ""); err == nil {
			return fresh, nil
		}
		if !errors.Is(err, storage.ErrConflict) {
			return rec, fmt.Errorf("store its key: %w", err)
		}
		item, err = s.Load(ctx, a.key())
		if err != nil {
			return rec, err
		}
	} else if err != nil {
		return rec, err
	}
	if json.Unmarshal(item.Value, &rec) != nil || rec.Version != 1 {
		return rec, fmt.Errorf("the stored record %s can't be read: restore it, or delete it to make a new account", a.key())
	}
	return rec, nil
}

// key is the storage key of the account's record. An account bound to an external one is another
// account.
func (a *account) key() string {
	if a.ExternalAccount == nil {
		return "accounts/" + a.ID() + "/default"
	}
	sum := sha256.Sum256([]byte(a.ExternalAccount.KeyID))
	return "accounts/" + a.ID() + "/external-" + hex.EncodeToString(sum[:8])
}
