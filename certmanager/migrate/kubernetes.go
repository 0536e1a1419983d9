package migrate

import (
	"context"
	"encoding/json"
	"errors"
	"io"
)

// Secrets moves the Secrets of type kubernetes.io/tls in JSON: a Secret, a list of them, such as
//
//	kubectl get secrets --all-namespaces --field-selector type=kubernetes.io/tls -o json
//
// prints, or any number of both, one after the other. They name no CA: that is [Migration.Directory]. Other Secrets are passed over.
func (g *Migration) Secrets(ctx context.Context, manifests io.Reader) (*Report, error) {
	r, err := g.begin()
	if err != nil {
		return r.report, err
	}
	if manifests == nil {
		return r.report, errors.New("migrate: there is nothing to read the Secrets from")
	}
	return r.finish(ctx, func(ctx context.Context, r *run) error {
		s := secrets{r, newStream(manifests)}
		for {
			err := s.manifest(ctx)
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return r.endedStream(err)
			}
		}
	})
}

// Secrets are manifests of Secrets and of lists of them.
type secrets struct {
	*run
	*stream
}

// A secret is a Secret as Kubernetes has it in JSON.
type secret struct {
	Type     string
	Metadata struct{ Namespace, Name string }
	Data     struct {
		Certificate []byte `json:"tls.crt"`
		Key         []byte `json:"tls.key"`
	}
	StringData struct {
		Certificate string `json:"tls.crt"`
		Key         string `json:"tls.key"`
	}
}

// manifest reads the next one. Of a list no more than a Secret at a time is in memory. The error is io.EOF if there is none.
func (s *secrets) manifest(ctx context.Context) error {
	members := make(map[string]json.RawMessage)
	err := s.object(func(key string) error {
		switch key {
		case "items":
			return s.array(func() error {
				var one secret
				err := s.decode(&one)
				if err != nil && !errors.Is(err, errWrongType) {
					return err
				}
				return s.take(ctx, &one, err)
			})
		case "type", "metadata", "data", "stringData":
			var value json.RawMessage
			err := s.decode(&value)
			members[key] = value
			return err
		}
		return s.skip()
	})
	if err != nil {
		return err
	}
	text, err := json.Marshal(members)
	if err != nil {
		return err
	}
	var one secret
	if err = json.Unmarshal(text, &one); err != nil {
		err = errWrongType
	}
	return s.take(ctx, &one, err)
}

// take takes the certificate of a Secret, if it is one of TLS.
func (s *secrets) take(ctx context.Context, one *secret, err error) error {
	if one.Type != "kubernetes.io/tls" {
		return nil
	}
	c := certificate{source: one.Metadata.Namespace + "/" + one.Metadata.Name, chain: one.Data.Certificate, key: one.Data.Key, err: err}
	if len(c.chain) == 0 {
		c.chain = []byte(one.StringData.Certificate)
	}
	if len(c.key) == 0 {
		c.key = []byte(one.StringData.Key)
	}
	return s.found(ctx, c)
}
