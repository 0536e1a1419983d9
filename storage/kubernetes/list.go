package kubernetes

import (
	"context"
	"errors"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/everseal/everseal/storage"
)

const (
	keysPage    = 1000 // Secrets that List asks for at once, without their data
	recordsPage = 200  // Secrets that Scan asks for at once
)

// A page is a part of a list: Secrets, or their metadata alone.
type page struct {
	Metadata struct {
		Continue        string `json:"continue"`
		ResourceVersion string `json:"resourceVersion"`
	} `json:"metadata"`
	Items []secret `json:"items"`
}

// selection returns the parameters of a request for the records at or below the prefix, and maybe others with the same
// first segment.
func (s *Store) selection(prefix string) url.Values {
	labels := storeLabel + "=" + s.name
	if prefix != "" {
		labels += "," + segmentLabel + "=" + segment(prefix)
	}
	return url.Values{"labelSelector": {labels}, "fieldSelector": {"type=" + recordType}}
}

// page returns the next page after that with the token, of which an empty one is before the first. If the server does not
// know any more how things were when the list began, the page is of how they are now.
func (s *Store) page(ctx context.Context, query url.Values, token, accept string) (p page, err error) {
	r := request{method: http.MethodGet, query: query, accept: accept}
	for range maxRuns {
		query.Del("continue")
		if token != "" {
			query.Set("continue", token)
		}
		if err = s.do(ctx, r, &p); !isExpired(err) {
			return p, err
		}
		refusal, _ := errors.AsType[*StatusError](err)
		if token = refusal.next; token == "" {
			break
		}
	}
	return p, err
}

// List yields the keys at or below the prefix; see [storage.Store]. It reads pages of metadata.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if err := storage.AdmitPrefix(ctx, prefix); err != nil {
			yield("", err)
			return
		}
		query := s.selection(prefix)
		query.Set("limit", strconv.Itoa(keysPage))
		for token := ""; ; {
			p, err := s.page(ctx, query, token, listOfMetadata)
			if err != nil {
				yield("", s.failure(ctx, "list", prefix, err))
				return
			}
			for i := range p.Items {
				key, ok := s.keyOf(&p.Items[i].Metadata)
				if ok && storage.Within(key, prefix) && !yield(key, nil) {
					return
				}
			}
			if token = p.Metadata.Continue; token == "" {
				return
			}
		}
	}
}

// Scan yields the records at or below the prefix; see [storage.Scanner]. It reads pages. A cursor is the name of the record's
// Secret, by which lists are in order, and the token of the page that it was in.
func (s *Store) Scan(ctx context.Context, prefix, cursor string) iter.Seq2[storage.Record, error] {
	return func(yield func(storage.Record, error) bool) {
		if err := storage.AdmitPrefix(ctx, prefix); err != nil {
			yield(storage.Record{}, err)
			return
		}
		query := s.selection(prefix)
		query.Set("limit", strconv.Itoa(recordsPage))
		after, token, _ := strings.Cut(cursor, " ")
		for {
			p, err := s.page(ctx, query, token, "")
			if refusal, ok := errors.AsType[*StatusError](err); ok && refusal.Code == http.StatusBadRequest && cursor != "" {
				after, token, cursor = "", "", "" // it is no cursor of this store's: from the start
				continue
			}
			if err != nil {
				yield(storage.Record{}, s.failure(ctx, "scan", prefix, err))
				return
			}
			for i := range p.Items {
				found := &p.Items[i]
				key, ok := s.keyOf(&found.Metadata)
				if !ok || !storage.Within(key, prefix) || found.Metadata.Name <= after {
					continue
				}
				r := storage.Record{Key: key, Cursor: found.Metadata.Name + " " + token}
				r.Item, err = s.item(key, found)
				if err != nil {
					err = s.failure(ctx, "scan", key, err)
				}
				if !yield(r, err) {
					return
				}
			}
			after, cursor = "", ""
			if token = p.Metadata.Continue; token == "" {
				return
			}
		}
	}
}
