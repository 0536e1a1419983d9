package storage_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/storagetest"
)

// secret returns 32 bytes for a key of tests.
func secret(n byte) []byte { return bytes.Repeat([]byte{n}, 32) }

func sealedBy(t *testing.T, s storage.Store, secrets ...[]byte) *storage.Sealed {
	t.Helper()
	keys, err := storage.SealingKeys(secrets...)
	if err != nil {
		t.Fatal(err)
	}
	return &storage.Sealed{Store: s, Keys: keys}
}

func TestSealedKeepsTheContract(t *testing.T) {
	t.Run("Memory", func(t *testing.T) {
		storagetest.Run(t, func(t *testing.T) storage.Store { return sealedBy(t, new(storage.Memory), secret(1)) })
	})
	t.Run("Dir", func(t *testing.T) {
		storagetest.Suite{
			Open: func(t *testing.T) storage.Store { return sealedBy(t, storage.Dir(t.TempDir()), secret(1)) },
			Reopen: func(t *testing.T, s storage.Store) storage.Store {
				return sealedBy(t, s.(*storage.Sealed).Store, secret(1))
			},
		}.Run(t)
	})
}

// A golden record is one that every later version has to open. Its recipe: AES-256-GCM under 32 bytes of 1; the nonce
// is 12 bytes of 2; the associated data are the first line with its end, then the record's key; the key's ID is the
// hexadecimal form of the first 8 bytes of the SHA-256 of "everseal sealing key", a line end, and the key.
const (
	goldenKey    = "certificates/example.com"
	goldenValue  = "the value\n"
	goldenSealed = "everseal-sealed 1 169d11c3505d1ab7\nAgICAgICAgICAgICc76saTw2rYi2xr+9OxaPY6TLUiAH1J2LmJc="
)

func TestSealedGolden(t *testing.T) {
	text, sealed, _ := strings.Cut(goldenSealed, "\n")
	raw, err := base64.StdEncoding.DecodeString(sealed)
	if err != nil {
		t.Fatal(err)
	}
	var m storage.Memory
	if _, err := m.Save(t.Context(), goldenKey, append([]byte(text+"\n"), raw...), ""); err != nil {
		t.Fatal(err)
	}
	item, err := sealedBy(t, &m, secret(9), secret(1)).Load(t.Context(), goldenKey)
	if err != nil || string(item.Value) != goldenValue {
		t.Errorf("%q, %v, want %q", item.Value, err, goldenValue)
	}
}

// What was done to a record by hand, or by who has the storage alone, is found.
func TestSealedRefuses(t *testing.T) {
	ctx := t.Context()
	var m storage.Memory
	s := sealedBy(t, &m, secret(1))
	revision, err := s.Save(ctx, "a", []byte("-----BEGIN PRIVATE KEY-----"), "")
	if err != nil {
		t.Fatal(err)
	}
	good, err := m.Load(ctx, "a")
	if err != nil || bytes.Contains(good.Value, []byte("PRIVATE")) || good.Revision != revision {
		t.Fatalf("stored %q, %v", good.Value, err)
	}
	again, err := s.Save(ctx, "again", []byte("-----BEGIN PRIVATE KEY-----"), "")
	if other, _ := m.Load(ctx, "again"); err != nil || again == "" || bytes.HasSuffix(other.Value, good.Value[len(good.Value)-16:]) {
		t.Errorf("equal values are sealed alike: %v", err)
	}
	changed := func(i int) []byte {
		value := bytes.Clone(good.Value)
		value[(i+len(value))%len(value)] ^= 1
		return value
	}
	for name, test := range map[string]struct {
		key   string
		value []byte
		s     *storage.Sealed
		says  string
	}{
		"moved":           {"b", good.Value, s, "moved"},
		"changed":         {"a", changed(-1), s, "changed"},
		"nonce changed":   {"a", changed(bytes.IndexByte(good.Value, '\n') + 1), s, "changed"},
		"cut":             {"a", good.Value[:len(good.Value)-1], s, "changed"},
		"cut to the line": {"a", good.Value[:bytes.IndexByte(good.Value, '\n')+3], s, "damaged"},
		"empty":           {"a", nil, s, "Rekey"},
		"never sealed":    {"a", []byte("plain"), s, "Rekey"},
		"a newer form":    {"a", bytes.Replace(good.Value, []byte(" 1 "), []byte(" 2 "), 1), s, "newer version"},
		"a hostile key":   {"a", []byte("everseal-sealed 1 \x1b[31m\nxxxxxxxxxxxxxxxxxx"), s, "damaged"},
		"another key":     {"a", good.Value, sealedBy(t, &m, secret(2)), "none of the 1 keys"},
		"no store":        {"a", good.Value, &storage.Sealed{Keys: s.Keys}, "Sealed.Store"},
		"no keys":         {"a", good.Value, &storage.Sealed{Store: &m}, "Sealed.Keys"},
		"a key of 16 bytes": {"a", good.Value, &storage.Sealed{Store: &m, Keys: func(_ context.Context, id string) (storage.SealingKey, error) {
			return storage.SealingKey{ID: id, Secret: []byte("geheimnisgeheimn")}, nil
		}}, "16 bytes"},
		"a wrong secret": {"a", good.Value, &storage.Sealed{Store: &m, Keys: func(_ context.Context, id string) (storage.SealingKey, error) {
			return storage.SealingKey{ID: id, Secret: secret(3)}, nil
		}}, "another one"},
		"a KMS that fails": {"a", good.Value, &storage.Sealed{Store: &m, Keys: func(context.Context, string) (storage.SealingKey, error) {
			return storage.SealingKey{}, errors.New("KMS: access denied")
		}}, "access denied"},
	} {
		replace(t, &m, test.key, test.value)
		item, err := test.s.Load(ctx, test.key)
		if err == nil || !strings.Contains(err.Error(), test.says) || item.Value != nil {
			t.Errorf("%s: %q, %v, want an error with %q", name, item.Value, err, test.says)
			continue
		}
		if isOpening := !strings.HasPrefix(name, "no "); errors.Is(err, storage.ErrSealed) != isOpening || strings.ContainsAny(err.Error(), "\x1b\n") || strings.Contains(err.Error(), "geheim") {
			t.Errorf("%s: error %q", name, err)
		}
	}
}

// replace stores the value whatever is there.
func replace(t *testing.T, s storage.Store, key string, value []byte) {
	t.Helper()
	if _, err := storage.Update(t.Context(), s, key, func([]byte) ([]byte, error) { return value, nil }); err != nil {
		t.Fatal(err)
	}
}

func TestSealingKeys(t *testing.T) {
	for _, secrets := range [][][]byte{nil, {[]byte("geheim")}, {secret(1), nil}, {bytes.Repeat([]byte("x"), 33)}} {
		if keys, err := storage.SealingKeys(secrets...); err == nil || keys != nil || strings.Contains(err.Error(), "geheim") {
			t.Errorf("%d secrets: %v", len(secrets), err)
		}
	}
	given := secret(1)
	keys, err := storage.SealingKeys(given)
	if err != nil {
		t.Fatal(err)
	}
	clear(given) // the caller may do so
	key, err := keys(t.Context(), "")
	if err != nil || !bytes.Equal(key.Secret, secret(1)) {
		t.Fatalf("%v, %v", key, err)
	}
	key.Secret = []byte("geheimnis")
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "key", key)
	for _, shown := range []string{fmt.Sprint(key), fmt.Sprintf("%+v %#v", key, key), log.String()} {
		if strings.Contains(shown, "geheimnis") || strings.Contains(shown, fmt.Sprint([]byte("geheimnis"))) || !strings.Contains(shown, key.ID) {
			t.Errorf("shown as %s", shown)
		}
	}
	if written, err := json.Marshal(key); err == nil {
		t.Errorf("written as %s", written)
	}
}

// Rekey seals what an older key sealed, and what was never sealed, beside writers and though it is broken off.
func TestRekey(t *testing.T) {
	ctx := t.Context()
	var m faulty
	old := sealedBy(t, &m, secret(1))
	const records = 60
	for i := range records {
		to := storage.Store(old)
		if i%3 == 0 {
			to = &m
		}
		if _, err := to.Save(ctx, fmt.Sprintf("records/%02d", i), fmt.Appendf(nil, "value %d", i), ""); err != nil {
			t.Fatal(err)
		}
	}
	s := sealedBy(t, &m, secret(2), secret(1))
	beside, conflicts := sealedBy(t, m.Unwrap(), secret(2), secret(1)), 0
	m.SetFaults(storagetest.Fault{On: storagetest.Save, Share: 0.15, Err: errDown}, storagetest.Fault{
		Kind: storagetest.Slow, On: storagetest.Save, Share: 0.2, Hit: func(key string) { // another writer comes first
			conflicts++
			item, err := m.Unwrap().Load(ctx, key)
			if err == nil {
				_, err = beside.Save(ctx, key, []byte("written meanwhile"), item.Revision)
			}
			if err != nil {
				t.Error(err)
			}
		},
	})
	cursor, calls := "", 0
	for {
		next, err := s.Rekey(ctx, cursor)
		if calls++; err == nil {
			break
		}
		if !errors.Is(err, errDown) && !errors.Is(err, storage.ErrConflict) || next < cursor || calls > records {
			t.Fatalf("after %q: %q, %v", cursor, next, err)
		}
		cursor = next
	}
	if conflicts == 0 || calls < 3 {
		t.Errorf("%d conflicts, %d calls: nothing came between", conflicts, calls)
	}
	m.SetFaults()
	only := sealedBy(t, &m, secret(2))
	for i := range records {
		key := fmt.Sprintf("records/%02d", i)
		item, err := only.Load(ctx, key)
		if want := fmt.Sprintf("value %d", i); err != nil || string(item.Value) != want && string(item.Value) != "written meanwhile" {
			t.Errorf("%s: %q, %v", key, item.Value, err)
		}
	}
	saves := m.Calls(storagetest.Save)
	if next, err := s.Rekey(ctx, ""); next != "" || err != nil || m.Calls(storagetest.Save) != saves {
		t.Errorf("again: %q, %v; %d saves", next, err, m.Calls(storagetest.Save)-saves)
	}

	replace(t, &m, "records/30", []byte("everseal-sealed 1 gone\nxxxxxxxxxxxxxxxxxxxxxxxxxxxx"))
	next, err := s.Rekey(ctx, "")
	if !errors.Is(err, storage.ErrSealed) || next != "records/30" {
		t.Errorf("what can't be opened: %q, %v", next, err)
	}
	if next, err := s.Rekey(ctx, next); next != "" || err != nil {
		t.Errorf("after it: %q, %v", next, err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := s.Rekey(ended, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("under a cancelled context: %v", err)
	}
}

// A record that can't be opened does not keep the others from being scanned.
func TestSealedScanGoesOn(t *testing.T) {
	var m storage.Memory
	s := sealedBy(t, &m, secret(1))
	for _, key := range []string{"a", "b", "c"} {
		replace(t, s, key, []byte(key))
	}
	replace(t, &m, "b", []byte("plain"))
	var seen []string
	for record, err := range storage.Scan(t.Context(), s, "", "") {
		if (err != nil) != (record.Key == "b") || err != nil && !errors.Is(err, storage.ErrSealed) || record.Cursor == "" {
			t.Errorf("%+v, %v", record, err)
		}
		seen = append(seen, record.Key+"="+string(record.Value))
	}
	if got := strings.Join(seen, " "); got != "a=a b= c=c" {
		t.Errorf("scanned %s", got)
	}
}
