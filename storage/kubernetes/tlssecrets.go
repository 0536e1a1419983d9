package kubernetes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/internal/wait"
)

// TLSSecrets writes the certificates that a manager has stored, with their keys, into Secrets of the type kubernetes.io/tls,
// where an ingress, a gateway or a proxy takes them from. It goes by the records in the storage ("certificates/…", see package
// certmanager), of whichever process has obtained them. Its fields are not changed after Run was called.
//
// The Secret of a certificate has the name that [TLSSecretName] makes of the certificate's first name, in the order of
// bytes, and the label everseal.github.io/tls with the Store's name. A Secret that is there and has not that label is left
// alone. What others add to its labels and annotations stays. It is replaced by certificates that were obtained later
// alone, whichever process comes first; so of several for one name (of several issuers or kinds of key) the last that was
// obtained counts. It is never deleted here: who does not want it any more deletes it.
//
// The program needs get, create and update on secrets in the namespace of these Secrets. It should be another than the
// Store's, for who may read the latter's Secrets has the account's key, too.
type TLSSecrets struct {
	// Store has the API server. It is the only required field.
	Store *Store
	// Source is where the manager's records are: what certmanager.Config.Storage is, such as a *storage.Sealed. Nil: the
	// Store.
	Source storage.Store
	// Namespace is where the Secrets are written. Empty: the Store's.
	Namespace string
	// Names are the first names of the certificates to be written. Nil: all that are stored.
	Names []string
	// Interval is the time from one look at all certificates to the next. What a Source tells (storage.Watcher) is written
	// at once. Zero: ten minutes.
	Interval time.Duration
	// Logger is told what is written, and what can't be. Nil: slog.Default().
	Logger *slog.Logger
}

const (
	tlsType            = "kubernetes.io/tls"
	tlsLabel           = "everseal.github.io/tls"      // Config.Name of the store
	obtainedAnnotation = "everseal.github.io/obtained" // RFC 3339
	recordAnnotation   = "everseal.github.io/record"   // key of the record

	allCertificates = "certificates" // prefix of the records
)

// TLSSecretName returns the name of the Secret for a certificate whose first name that is: "tls.example.com" for
// example.com, "tls-wildcard.example.com" for *.example.com, "tls.192.0.2.1" and
// "tls.2001-0db8-0000-0000-0000-0000-0000-0001" for addresses.
func TLSSecretName(name string) (string, error) {
	secretName := "tls." + withoutColons(name)
	if parent, wildcard := strings.CutPrefix(name, "*."); wildcard {
		secretName = "tls-wildcard." + parent
	}
	if !isSubdomain(secretName) {
		return "", fmt.Errorf("storage/kubernetes: no Secret can have a name for %.80q: that has at most 249 bytes, all of a domain name in lower case", name)
	}
	return secretName, nil
}

// Run writes what is missing or was replaced, until ctx ends, whose error it returns. What can't be written is logged, and
// tried again each Interval.
func (p *TLSSecrets) Run(ctx context.Context) error {
	if p.Store == nil {
		return errors.New("storage/kubernetes: TLSSecrets.Store is nil: give one, which Open has made")
	}
	if p.Namespace != "" && !isNamespace(p.Namespace) {
		return fmt.Errorf("storage/kubernetes: TLSSecrets.Namespace %.80q can't be one", p.Namespace)
	}
	for {
		p.round(ctx)
		const roundPause = time.Second // of a watch that breaks at once
		if err := wait.For(ctx, min(p.interval(), roundPause)); err != nil {
			return fmt.Errorf("storage/kubernetes: writing certificates: %w", err)
		}
	}
}

func (p *TLSSecrets) interval() time.Duration { return cmp.Or(p.Interval, 10*time.Minute) }

func (p *TLSSecrets) source() storage.Store {
	if p.Source == nil {
		return p.Store
	}
	return p.Source
}

// round looks at all certificates, and then at those that the source tells of, until all are to be looked at again.
func (p *TLSSecrets) round(ctx context.Context) {
	watching, cancel := context.WithTimeout(ctx, p.interval())
	defer cancel()
	watcher, ok := storage.As[storage.Watcher](p.source())
	if !ok {
		p.writeAll(ctx)
		<-watching.Done()
		return
	}
	for key, err := range watcher.Watch(watching, allCertificates) {
		switch {
		case err != nil && watching.Err() == nil:
			p.warn(ctx, "certificates are looked at once more", err)
		case err != nil:
		case key == "":
			p.writeAll(ctx)
		default:
			item, err := p.source().Load(ctx, key)
			if err == nil {
				err = p.write(ctx, key, item.Value)
			}
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				p.warn(ctx, "a certificate is not written into its Secret", err)
			}
		}
	}
}

// writeAll looks at all certificates.
func (p *TLSSecrets) writeAll(ctx context.Context) {
	for record, err := range storage.Scan(ctx, p.source(), allCertificates, "") {
		if err == nil {
			err = p.write(ctx, record.Key, record.Value)
		}
		if err != nil {
			p.warn(ctx, "a certificate is not written into its Secret", err)
		}
	}
}

func (p *TLSSecrets) log() *slog.Logger {
	if p.Logger == nil {
		return slog.Default()
	}
	return p.Logger
}

func (p *TLSSecrets) warn(ctx context.Context, message string, err error) {
	if ctx.Err() == nil {
		p.log().WarnContext(ctx, message, "error", err.Error())
	}
}

// write writes the certificate of a record into its Secret, unless that has it or a later one.
func (p *TLSSecrets) write(ctx context.Context, key string, value []byte) error {
	c, err := parseCertificate(key, value)
	if err != nil {
		return fmt.Errorf("storage/kubernetes: the record %q: %w", key, err)
	}
	if p.Names != nil && !slices.Contains(p.Names, c.name) || time.Now().After(c.end) {
		return nil
	}
	name, err := TLSSecretName(c.name)
	if err != nil {
		return err
	}
	for runs := 1; ; runs++ {
		written, err := p.swap(ctx, name, c)
		if refusal, ok := errors.AsType[*StatusError](err); ok && refusal.Code == http.StatusConflict && refusal.isAbout(name) && runs < maxRuns {
			if err = pause(ctx, runs); err == nil {
				continue // another was faster: see what it has written
			}
		}
		if err != nil {
			namespace := cmp.Or(p.Namespace, p.Store.namespace)
			return explain(ctx, fmt.Sprintf("storage/kubernetes: %s, namespace %s: Secret %s", p.Store.host, namespace, name), err, namespace)
		}
		if written {
			p.log().InfoContext(ctx, "certificate written into a Secret", "secret", name, "names", c.names, "notAfter", c.end)
		}
		return nil
	}
}

// swap puts the certificate into the Secret of the name, by the state in which it finds that, and reports whether it had to.
func (p *TLSSecrets) swap(ctx context.Context, name string, c *certificate) (written bool, err error) {
	var found secret
	err = p.Store.do(ctx, request{method: http.MethodGet, namespace: p.Namespace, name: name}, &found)
	r := request{method: http.MethodPut, namespace: p.Namespace, name: name}
	refusal, refused := errors.AsType[*StatusError](err)
	switch {
	case refused && refusal.Code == http.StatusNotFound && refusal.isAbout(name):
		r.method, r.name = http.MethodPost, ""
		found.Metadata = metadata{Name: name, Namespace: cmp.Or(p.Namespace, p.Store.namespace)}
	case err != nil:
		return false, err
	case found.Type != tlsType || found.Metadata.Labels[tlsLabel] != p.Store.name:
		return false, fmt.Errorf("there is one with the type %.80q and the label %s=%.80q, which another has made: it is left alone: delete or rename it",
			found.Type, tlsLabel, found.Metadata.Labels[tlsLabel])
	case !c.replaces(&found):
		return false, nil
	}
	m := found.Metadata
	m.Labels, m.Annotations = with(m.Labels, managedByLabel, managedBy, tlsLabel, p.Store.name),
		with(m.Annotations, obtainedAnnotation, c.obtained.Format(time.RFC3339Nano), recordAnnotation, c.key)
	made := newSecret(tlsType, m, map[string][]byte{"tls.crt": c.chain, "tls.key": c.private})
	r.body = &made
	return true, p.Store.do(ctx, r, new(secret))
}

// with returns the texts with others in them.
func with(texts map[string]string, pairs ...string) map[string]string {
	texts = maps.Clone(texts)
	if texts == nil {
		texts = make(map[string]string)
	}
	for pair := range slices.Chunk(pairs, 2) {
		texts[pair[0]] = pair[1]
	}
	return texts
}
