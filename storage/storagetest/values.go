package storagetest

import (
	"bytes"
	"errors"
	"io/fs"
	"testing"

	"github.com/everseal/everseal/storage"
)

func valueCases() []testCase {
	return []testCase{
		{"Values", "Records are sealed bytes or text with any line ends; a medium that trims, converts or takes an empty value for " +
			"an absent one damages them.", testValues},
		{"LargestValue", "Callers rely on the limit: what is at most that long fits into every store, and what is longer is refused by " +
			"every store, not only by the one in production.", testLargestValue},
		{"Aliasing", "A caller reuses its buffers. A store that kept one, or handed out its own, would change records " +
			"without a save.", testAliasing},
	}
}

func testValues(t *testing.T, s, other storage.Store) {
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	revision, err := s.Save(t.Context(), "nil", nil, "")
	if err != nil {
		t.Fatalf("Save of a nil value: %v", err)
	}
	on(t, other).wantStored("nil", "", revision)
	for name, value := range map[string]string{
		"empty": "", "space": " ", "newline": "\n", "crlf": "a\r\nb\r\n", "nul": "\x00", "bytes": string(every), "json": `{"a": 1 }`,
		"invalid": "\xff\xfe", "header": "everseal-item/1 x y 0 header\n",
	} {
		revision := on(t, s).save(name, value, "")
		on(t, other).wantStored(name, value, revision)
		revision = on(t, other).save(name, value+value, revision)
		on(t, s).wantStored(name, value+value, revision)
		revision = on(t, s).save(name, "", revision)
		on(t, other).wantStored(name, "", revision)
	}
}

func testLargestValue(t *testing.T, s, other storage.Store) {
	ctx := t.Context()
	large := bytes.Repeat([]byte("\x00\xff\n"), storage.MaxValue/3+1)
	revision := on(t, s).save("a", string(large[:storage.MaxValue]), "")
	on(t, other).wantStored("a", string(large[:storage.MaxValue]), revision)
	if _, err := s.Save(ctx, "a", large[:storage.MaxValue+1], revision); !errors.Is(err, storage.ErrTooLarge) {
		t.Errorf("Save of MaxValue+1 bytes: %v, want ErrTooLarge", err)
	}
	on(t, other).wantStored("a", string(large[:storage.MaxValue]), revision)
	if _, err := s.Save(ctx, "b", large[:storage.MaxValue+1], ""); !errors.Is(err, storage.ErrTooLarge) {
		t.Errorf("Save of MaxValue+1 bytes under a new key: %v, want ErrTooLarge", err)
	}
	if _, err := s.Load(ctx, "b"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Load after a refused Save: %v, want an error that wraps fs.ErrNotExist", err)
	}
	if _, ok := storage.As[*storage.Sealed](s); ok {
		return // what it adds has room in the store below it, not in its own
	}
	// What a storage.Sealed around the store adds to the largest value has room.
	sealed := &storage.Sealed{Store: s, Keys: sealingKeys(t)}
	revision = on(t, sealed).save("c", string(large[:storage.MaxValue]), "")
	on(t, &storage.Sealed{Store: other, Keys: sealingKeys(t)}).wantStored("c", string(large[:storage.MaxValue]), revision)
	if _, err := sealed.Save(ctx, "c", large[:storage.MaxValue+1], revision); !errors.Is(err, storage.ErrTooLarge) {
		t.Errorf("Save of MaxValue+1 bytes through a Sealed: %v, want ErrTooLarge", err)
	}
}

// sealingKeys returns keys that are the same in all processes.
func sealingKeys(t *testing.T) storage.KeyFunc {
	t.Helper()
	keys, err := storage.SealingKeys(bytes.Repeat([]byte("k"), 32))
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func testAliasing(t *testing.T, s, other storage.Store) {
	value := []byte("value")
	revision, err := s.Save(t.Context(), "a", value, "")
	if err != nil {
		t.Fatalf("Save: %v", err)
	}
	copy(value, "XXXXX")
	on(t, s).wantStored("a", "value", revision)
	loaded := on(t, s).load("a").Value
	copy(loaded, "YYYYY")
	_ = append(loaded, "ZZZZZ"...)
	on(t, s).wantStored("a", "value", revision)
	on(t, other).wantStored("a", "value", revision)
}
