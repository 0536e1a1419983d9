package kubernetes

import (
	"errors"
	"io/fs"
	"net/http"
	"strings"
	"testing"

	"github.com/everseal/everseal/storage"
)

// What doc.go says of the layout is what other programs and later versions find.
func TestLayout(t *testing.T) {
	s := newStoreOf(t)
	revision, err := s.Save(t.Context(), "certificates/ca/*.example.com", []byte("value"), "")
	if err != nil {
		t.Fatal(err)
	}
	var found secret
	// printf %s 'certificates/ca/*.example.com' | sha256sum
	name := s.name + "-1fc060b478f97fc5240d6009c1b2fe5376230dac28ca5c15df57f722bd8c5dec"
	change(t, apiServer(t), request{method: http.MethodGet, name: name}, &found)
	m := found.Metadata
	if found.Type != "everseal.github.io/record-v1" || string(found.Data["value"]) != "value" || len(found.Data) != 1 ||
		m.Labels["app.kubernetes.io/managed-by"] != "everseal" || m.Labels["everseal.github.io/store"] != s.name ||
		m.Labels["everseal.github.io/first-segment"] != "certificates" || len(m.Labels) != 3 ||
		m.Annotations["everseal.github.io/key"] != "certificates/ca/*.example.com" || len(m.Annotations["everseal.github.io/nonce"]) != 26 || len(m.Annotations) != 2 {
		t.Errorf("the Secret is %+v", found)
	}
	if want := m.ResourceVersion + "/" + m.UID + "/" + m.Annotations["everseal.github.io/nonce"]; string(revision) != want {
		t.Errorf("the revision is %q, want %q", revision, want)
	}
}

func TestSegment(t *testing.T) {
	long := strings.Repeat("a", 64)
	for key, want := range map[string]string{
		"certificates/a": "certificates", "a": "a", "a.b-c_d/e": "a.b-c_d", long[:63] + "/a": long[:63],
		"-a/b": "", "a-/b": "", "*.a": "", "a:b": "", long: "",
	} {
		got := segment(key)
		if hashed := strings.HasPrefix(got, "sha256-") && len(got) == 39; got != want && (want != "" || !hashed) {
			t.Errorf("the label of %q is %q, want %q", key, got, want)
		}
		if !isLabel(got) {
			t.Errorf("%q can be no label", got)
		}
	}
}

// What was another program's, or of another version, is refused before anything is overwritten.
func TestForeignSecrets(t *testing.T) {
	s, admin := newStoreOf(t), apiServer(t)
	for _, test := range []struct {
		key, want string
		made      secret
	}{
		{"typed", "has the type", newSecret("Opaque", metadata{}, map[string][]byte{"value": nil})},
		{"later", "another version of this library", newSecret("everseal.github.io/record-v2", metadata{}, nil)},
		{"other-key", "was changed by another program", newSecret(recordType, metadata{Labels: map[string]string{storeLabel: s.name}, Annotations: map[string]string{keyAnnotation: "b"}}, map[string][]byte{"value": nil})},
		{"other-store", "was changed by another program", newSecret(recordType, metadata{Labels: map[string]string{storeLabel: "b"}, Annotations: map[string]string{keyAnnotation: "other-store"}}, map[string][]byte{"value": nil})},
		{"no-value", "was changed by another program", newSecret(recordType, metadata{Labels: map[string]string{storeLabel: s.name}, Annotations: map[string]string{keyAnnotation: "no-value"}}, nil)},
	} {
		test.made.Metadata.Name = s.secretName(test.key)
		change(t, admin, request{method: http.MethodPost, body: &test.made}, new(secret))
		_, err := s.Load(t.Context(), test.key)
		if err == nil || !strings.Contains(err.Error(), test.want) || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Load(%q): %v", test.key, err)
		}
		_, err = s.Save(t.Context(), test.key, []byte("x"), "")
		if err == nil || !strings.Contains(err.Error(), test.want) || errors.Is(err, storage.ErrConflict) {
			t.Errorf("Save(%q): %v", test.key, err)
		}
	}
}

// A copy of a record that somebody has made under another name is none.
func TestCopiedSecret(t *testing.T) {
	s := newStoreOf(t)
	if _, err := s.Save(t.Context(), "a", []byte("x"), ""); err != nil {
		t.Fatal(err)
	}
	admin := apiServer(t)
	var found secret
	change(t, admin, request{method: http.MethodGet, name: s.secretName("a")}, &found)
	found.Metadata = metadata{Name: s.name + "-copy", Labels: found.Metadata.Labels, Annotations: found.Metadata.Annotations}
	change(t, admin, request{method: http.MethodPost, body: &found}, new(secret))
	n := 0
	for key, err := range s.List(t.Context(), "") {
		if n++; key != "a" || err != nil {
			t.Errorf("List yields %q, %v", key, err)
		}
	}
	for record, err := range s.Scan(t.Context(), "", "") {
		if n++; record.Key != "a" || err != nil {
			t.Errorf("Scan yields %q, %v", record.Key, err)
		}
	}
	if n != 2 {
		t.Errorf("%d were listed and scanned, want 2", n)
	}
}

// A change by another program, of a label say, is a change: who has not seen it does not overwrite it.
func TestChangedByOthers(t *testing.T) {
	s, admin := newStoreOf(t), apiServer(t)
	old, err := s.Save(t.Context(), "a", []byte("x"), "")
	if err != nil {
		t.Fatal(err)
	}
	var found secret
	change(t, admin, request{method: http.MethodGet, name: s.secretName("a")}, &found)
	found.Metadata.Labels["theirs"] = "yes"
	change(t, admin, request{method: http.MethodPut, name: found.Metadata.Name, body: &found}, new(secret))
	if _, err := s.Save(t.Context(), "a", []byte("y"), old); !errors.Is(err, storage.ErrConflict) {
		t.Errorf("Save over a change by another: %v", err)
	}
	if err := s.Delete(t.Context(), "a", old); !errors.Is(err, storage.ErrConflict) {
		t.Errorf("Delete of what another has changed: %v", err)
	}
	item, err := s.Load(t.Context(), "a")
	if err != nil || item.Revision == old {
		t.Fatalf("Load: %+v, %v", item, err)
	}
	// A finalizer of another's keeps what was deleted: that is said.
	change(t, admin, request{method: http.MethodGet, name: s.secretName("a")}, &found)
	found.Metadata.Finalizers = []string{"example.com/keep"}
	change(t, admin, request{method: http.MethodPut, name: found.Metadata.Name, body: &found}, &found)
	err = s.Delete(t.Context(), "a", revisionOf(&found.Metadata))
	if err == nil || !strings.Contains(err.Error(), "finalizers") {
		t.Errorf("Delete of what has a finalizer: %v", err)
	}
	change(t, admin, request{method: http.MethodGet, name: s.secretName("a")}, &found)
	found.Metadata.Finalizers = nil
	change(t, admin, request{method: http.MethodPut, name: found.Metadata.Name, body: &found}, new(secret))
}

// Deleting and making anew gives another uid: what is known of the one before changes nothing, whatever its number.
func TestDeletedAndMadeAnew(t *testing.T) {
	s := newStoreOf(t)
	first, err := s.Save(t.Context(), "a", []byte("x"), "")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(t.Context(), "a", first); err != nil {
		t.Fatal(err)
	}
	second, err := s.Save(t.Context(), "a", []byte("x"), "")
	if err != nil {
		t.Fatal(err)
	}
	before, _ := parseRevision(first)
	now, _ := parseRevision(second)
	// As if etcd had been restored from a backup and counted from there again.
	for _, mixed := range []revision{{now.version, before.uid, now.nonce}, {before.version, now.uid, now.nonce}, before} {
		old := storage.Revision(mixed.version + "/" + mixed.uid + "/" + mixed.nonce)
		if _, err := s.Save(t.Context(), "a", []byte("y"), old); !errors.Is(err, storage.ErrConflict) {
			t.Errorf("Save with the revision %q: %v", old, err)
		}
		if err := s.Delete(t.Context(), "a", old); !errors.Is(err, storage.ErrConflict) {
			t.Errorf("Delete with the revision %q: %v", old, err)
		}
	}
	for _, old := range []storage.Revision{"1", "/", "a/b", "/uid/nonce", "1//ABCDEFGHIJKLMNOPQRSTUVWXYZ", second + "A", storage.Revision(strings.Repeat("1", 400)) + "/a/b"} {
		if _, err := s.Save(t.Context(), "a", []byte("y"), old); !errors.Is(err, storage.ErrConflict) {
			t.Errorf("Save with the revision %.20q: %v", old, err)
		}
	}
	if item, err := s.Load(t.Context(), "a"); err != nil || item.Revision != second {
		t.Errorf("Load: %+v, %v", item, err)
	}
}
