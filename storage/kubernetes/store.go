package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/everseal/everseal/storage"
)

// A Config is what need not be said. Its zero value is the right one for most.
type Config struct {
	// Namespace is where the Secrets are. Empty: the one that the URL names, or else the pod's own.
	Namespace string
	// Name tells the Secrets of one store from those of others in the namespace: their names begin with it, and a label
	// has it. It has lower-case letters, digits and "-", at most 40. Empty: the one that the URL names, or "everseal".
	Name string
}

// A Store is a [storage.Store], a [storage.Scanner] and a [storage.Watcher] in Secrets of a namespace of Kubernetes. [Open]
// and [New] make one. Its methods are safe for concurrent use, and obey their context.
//
// An error that is none of those that storage.Store names says which server failed, where, and with which key; what the
// server answered is a [*StatusError]. It never has a token in it.
type Store struct {
	client
	name string
}

// New returns a store that reaches the API server at the address, such as "https://10.0.0.1:6443", by a client that shows
// the server who it is: one that client-go's rest.HTTPClientFor has made, say. The client is not changed; it must not
// follow the store's redirects, and does not. Config.Namespace has to be said.
func New(httpClient *http.Client, address string, c Config) (*Store, error) {
	if httpClient == nil {
		return nil, errors.New("storage/kubernetes: the client is nil: give one that shows the API server who it is")
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("storage/kubernetes: the address can't be read: it is like https://10.0.0.1:6443")
	}
	own := *httpClient
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return newStore(client{http: &own, base: strings.TrimSuffix(u.String(), "/"), host: u.Host}, c)
}

func newStore(c client, config Config) (*Store, error) {
	c.namespace, c.turns = config.Namespace, make(chan struct{}, maxRequests)
	s := &Store{client: c, name: config.Name}
	if s.name == "" {
		s.name = "everseal"
	}
	const maxStoreName = 40
	switch {
	case s.namespace == "":
		return nil, errors.New("storage/kubernetes: there is no namespace: set Config.Namespace")
	case !isNamespace(s.namespace):
		return nil, fmt.Errorf("storage/kubernetes: the namespace %.80q can't be: it has lower-case letters, digits and - within, at most 63", s.namespace)
	case !isNamespace(s.name) || len(s.name) > maxStoreName:
		return nil, fmt.Errorf("storage/kubernetes: the name %.80q can't be: it has lower-case letters, digits and - within, at most %d", s.name, maxStoreName)
	}
	return s, nil
}

// Close ends the connections of a store that [Open] has made. A client that was given is its owner's. No call may be under
// way.
func (s *Store) Close() error {
	if s.close != nil {
		s.close()
	}
	return nil
}

// Load returns what is stored under key; see [storage.Store]. The API server asks etcd, each time: it answers from its
// cache only who names a resourceVersion.
func (s *Store) Load(ctx context.Context, key string) (storage.Item, error) {
	if err := storage.Admit(ctx, key, nil); err != nil {
		return storage.Item{}, err
	}
	var found secret
	err := s.get(ctx, s.secretName(key), &found)
	if s.isAbsent(err, key) {
		return storage.Item{}, storage.NotExist(key)
	}
	var item storage.Item
	if err == nil {
		item, err = s.item(key, &found)
	}
	if err != nil {
		return storage.Item{}, s.failure(ctx, "load", key, err)
	}
	return item, nil
}

// How often a change is asked for.
const (
	maxRuns    = 10 // that the server has refused for reasons which are none of the record's
	maxRepeats = 3  // of which nobody knows whether it was done
)

// errUndecided is of a change that the server has refused though what is stored is what was to be changed.
var errUndecided = errors.New("the server reports a conflict though there is none")

// Save stores value under key if the stored revision is old; see [storage.Store]. It is one POST or PUT. One whose answer is
// lost is sent again if it is a PUT, which nothing but the old revision lets through; a POST would bring back what another
// has deleted since, and is read back instead.
func (s *Store) Save(ctx context.Context, key string, value []byte, old storage.Revision) (storage.Revision, error) {
	if err := storage.Admit(ctx, key, value); err != nil {
		return "", err
	}
	before, ok := parseRevision(old)
	if old != "" && !ok {
		return "", storage.Conflict(key) // as it never was one
	}
	record := s.record(key, value, before)
	change := request{method: http.MethodPost, body: &record}
	if old != "" {
		change = request{method: http.MethodPut, name: record.Metadata.Name, body: &record}
	}
	var unknown error // of a request that may have been done all the same
	for runs := 1; ; runs++ {
		revision, err := s.attempt(ctx, change, &record, old)
		switch {
		case err == nil:
			return revision, nil
		case errors.Is(err, storage.ErrConflict) && unknown == nil:
			return "", storage.Conflict(key)
		case errors.Is(err, storage.ErrConflict):
			return "", s.failure(ctx, "save", key, unknown) // it may have been stored, and changed by another since
		case mayBeDone(err) && old == "":
			return s.readBack(ctx, &record, err)
		case mayBeDone(err) && runs < maxRepeats:
			unknown = err // the nonce tells whether it was
		case !errors.Is(err, errUndecided) || runs == maxRuns:
			return "", s.failure(ctx, "save", key, err)
		}
		if err := pause(ctx, runs); err != nil {
			return "", s.failure(ctx, "save", key, err)
		}
	}
}

// readBack looks whether a new record is stored that had the error for an answer. If it is not, it may have been, or may be soon.
func (s *Store) readBack(ctx context.Context, record *secret, unknown error) (storage.Revision, error) {
	key := record.Metadata.Annotations[keyAnnotation]
	for runs := 1; ; runs++ {
		var stored secret
		err := s.get(ctx, record.Metadata.Name, &stored)
		switch {
		case err == nil && stored.isSame(record):
			return revisionOf(&stored.Metadata), nil
		case err == nil || s.isAbsent(err, key) || runs == maxRepeats || pause(ctx, runs) != nil:
			return "", s.failure(ctx, "save", key, unknown)
		}
	}
}

// attempt asks for the change that saves the record. It returns storage.ErrConflict if another revision than old is stored,
// and errUndecided if the server refuses though that is not so.
func (s *Store) attempt(ctx context.Context, change request, record *secret, old storage.Revision) (storage.Revision, error) {
	key := record.Metadata.Annotations[keyAnnotation]
	var stored secret
	err := s.do(ctx, change, &stored)
	switch {
	case err == nil:
		return revisionOf(&stored.Metadata), nil
	case s.isAbsent(err, key):
		return "", storage.ErrConflict
	case !s.refuses(err, key):
		return "", err
	}
	// A proxy that has lost an answer sends the request again: the second finds what the first has stored.
	err = s.get(ctx, record.Metadata.Name, &stored)
	absent := s.isAbsent(err, key)
	switch {
	case absent && old == "":
		return "", errUndecided // another has deleted it since
	case absent:
		return "", storage.ErrConflict
	case err != nil:
		return "", err
	case stored.isSame(record):
		return revisionOf(&stored.Metadata), nil
	case revisionOf(&stored.Metadata) == old:
		return "", errUndecided
	}
	// Who is told of a conflict loads the record next: another program's Secret is better told of here.
	if _, err := s.item(key, &stored); err != nil {
		return "", err
	}
	return "", storage.ErrConflict
}

// Delete removes key if the stored revision is old; see [storage.Store].
func (s *Store) Delete(ctx context.Context, key string, old storage.Revision) error {
	if err := storage.Admit(ctx, key, nil); err != nil {
		return err
	}
	before, ok := parseRevision(old)
	if !ok {
		return storage.Conflict(key)
	}
	for runs := 1; ; runs++ {
		var left secret
		err := s.do(ctx, request{method: http.MethodDelete, name: s.secretName(key), body: newDeletion(before)}, &left)
		if err == nil && len(left.Metadata.Finalizers) > 0 {
			err = fmt.Errorf("the Secret %s has finalizers of another program, which keep it: remove them", left.Metadata.Name)
		}
		if err == nil {
			return nil
		}
		switch {
		case s.isAbsent(err, key):
			return storage.Conflict(key)
		case !s.refuses(err, key) || runs == maxRuns:
			return s.failure(ctx, "delete", key, err)
		}
		// It is a conflict only if there is another revision.
		var stored secret
		err = s.get(ctx, s.secretName(key), &stored)
		if s.isAbsent(err, key) || err == nil && revisionOf(&stored.Metadata) != old {
			return storage.Conflict(key)
		}
		if err == nil {
			err = pause(ctx, runs)
		}
		if err != nil {
			return s.failure(ctx, "delete", key, err)
		}
	}
}

// A deletion is the body of a DELETE (DeleteOptions).
type deletion struct {
	APIVersion        string `json:"apiVersion"`
	Kind              string `json:"kind"`
	PropagationPolicy string `json:"propagationPolicy"`
	Preconditions     struct {
		UID             string `json:"uid"`
		ResourceVersion string `json:"resourceVersion"`
	} `json:"preconditions"`
}

func newDeletion(r revision) *deletion {
	d := &deletion{APIVersion: "v1", Kind: "DeleteOptions", PropagationPolicy: "Background"}
	d.Preconditions.UID, d.Preconditions.ResourceVersion = r.uid, r.version
	return d
}
