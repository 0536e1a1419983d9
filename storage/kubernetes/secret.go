package kubernetes

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/everseal/everseal/storage"
)

// What a Secret of a store has besides its value.
const (
	recordType = "everseal.github.io/record-v1" // the type, with the version of the layout

	managedByLabel = "app.kubernetes.io/managed-by"
	managedBy      = "everseal"
	storeLabel     = "everseal.github.io/store"         // Config.Name
	segmentLabel   = "everseal.github.io/first-segment" // of the key

	keyAnnotation   = "everseal.github.io/key"
	nonceAnnotation = "everseal.github.io/nonce" // of the save

	valueMember = "value" // of data
)

// A secret is a Secret as the API has it, as far as a store needs to know it.
type secret struct {
	APIVersion string            `json:"apiVersion"`
	Kind       string            `json:"kind"`
	Metadata   metadata          `json:"metadata"`
	Type       string            `json:"type,omitempty"`
	Data       map[string][]byte `json:"data,omitempty"`
}

type metadata struct {
	Name              string            `json:"name"`
	Namespace         string            `json:"namespace,omitempty"`
	UID               string            `json:"uid,omitempty"`
	ResourceVersion   string            `json:"resourceVersion,omitempty"`
	Labels            map[string]string `json:"labels,omitempty"`
	Annotations       map[string]string `json:"annotations,omitempty"`
	DeletionTimestamp string            `json:"deletionTimestamp,omitempty"`
	Finalizers        []string          `json:"finalizers,omitempty"`
}

func newSecret(kind string, m metadata, data map[string][]byte) secret {
	return secret{APIVersion: "v1", Kind: "Secret", Metadata: m, Type: kind, Data: data}
}

// secretName returns the name of the Secret of a key: that of the store, "-" and the key's SHA-256 in hexadecimal.
func (s *Store) secretName(key string) string {
	sum := sha256.Sum256([]byte(key))
	return s.name + "-" + hex.EncodeToString(sum[:])
}

// record returns the Secret that a save of the value makes.
func (s *Store) record(key string, value []byte, old revision) secret {
	if value == nil {
		value = []byte{}
	}
	return newSecret(recordType, metadata{
		Name: s.secretName(key), Namespace: s.namespace, UID: old.uid, ResourceVersion: old.version,
		Labels:      map[string]string{managedByLabel: managedBy, storeLabel: s.name, segmentLabel: segment(key)},
		Annotations: map[string]string{keyAnnotation: key, nonceAnnotation: rand.Text()},
	}, map[string][]byte{valueMember: value})
}

// keyOf returns the key of a Secret that lists yield, and whether it is one that Load finds: a copy of a record under
// another name is none.
func (s *Store) keyOf(m *metadata) (key string, ok bool) {
	key = m.Annotations[keyAnnotation]
	return key, storage.CheckKey(key) == nil && m.Name == s.secretName(key)
}

// item returns what the Secret under the key's name holds. It is an error if that is no record of the store.
func (s *Store) item(key string, found *secret) (storage.Item, error) {
	value, ok := found.Data[valueMember]
	m := &found.Metadata
	switch {
	case found.Type != recordType:
		return storage.Item{}, fmt.Errorf("the Secret %s has the type %.80q, not %q: it is of another program, or of another version of this library: "+
			"delete it, or give the store another name", m.Name, found.Type, recordType)
	case m.Annotations[keyAnnotation] != key || !isNonce(m.Annotations[nonceAnnotation]) || m.Labels[storeLabel] != s.name || !ok:
		return storage.Item{}, fmt.Errorf("the Secret %s was changed by another program: its annotations %s and %s, its label %s or its data are not those of the record: "+
			"put them right, or delete it", m.Name, keyAnnotation, nonceAnnotation, storeLabel)
	}
	if value == nil {
		value = []byte{}
	}
	return storage.Item{Value: value, Revision: revisionOf(m)}, nil
}

// A revision is what is known of a stored state of a key: the server compares version and uid, the nonce is of the save.
type revision struct{ version, uid, nonce string }

// revisionOf returns the revision of a Secret: its resourceVersion, which is etcd's and so never returns, also if the
// Secret is deleted and made anew. Should etcd be restored from a backup, which sets its numbers back, there are still the
// uid and the nonce, without which two states would look the same.
func revisionOf(m *metadata) storage.Revision {
	return storage.Revision(m.ResourceVersion + "/" + m.UID + "/" + m.Annotations[nonceAnnotation])
}

// parseRevision returns what revisionOf has joined, and whether it was that.
func parseRevision(text storage.Revision) (r revision, ok bool) {
	const maxRevision = 300
	parts := strings.Split(string(text), "/")
	if len(text) > maxRevision || len(parts) != 3 || parts[0] == "" || parts[1] == "" || !isNonce(parts[2]) {
		return revision{}, false
	}
	return revision{parts[0], parts[1], parts[2]}, true
}

// isNonce reports whether a save can have made it.
func isNonce(text string) bool {
	const length = 26 // of rand.Text
	return len(text) == length && strings.Trim(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") == ""
}

// isSame reports whether both are of one save.
func (r *secret) isSame(other *secret) bool {
	nonce := r.Metadata.Annotations[nonceAnnotation]
	return nonce != "" && nonce == other.Metadata.Annotations[nonceAnnotation]
}

// segment returns what the label says of the key's first segment: that, or if it can be no label a hash of it.
func segment(key string) string {
	first, _, _ := strings.Cut(key, "/")
	if isLabel(first) {
		return first
	}
	sum := sha256.Sum256([]byte(first))
	return "sha256-" + hex.EncodeToString(sum[:16])
}

// isLabel reports whether a text of lower case can be the value of a label.
func isLabel(text string) bool {
	const maxLabel = 63
	for i := range len(text) {
		c := text[i]
		inner := i > 0 && i < len(text)-1 && (c == '-' || c == '.' || c == '_')
		if !isAlphanumeric(c) && !inner {
			return false
		}
	}
	return text != "" && len(text) <= maxLabel
}

// isNamespace reports whether the text can be the name of a namespace (RFC 1123): one label of a domain name.
func isNamespace(text string) bool { return isLabel(text) && !strings.ContainsAny(text, "._") }

// isSubdomain reports whether the text can be the name of a Secret (RFC 1123).
func isSubdomain(text string) bool {
	const maxName = 253
	for part := range strings.SplitSeq(text, ".") {
		if !isNamespace(part) {
			return false
		}
	}
	return len(text) <= maxName
}

func isAlphanumeric(c byte) bool { return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' }
