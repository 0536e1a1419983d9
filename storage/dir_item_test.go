package storage

import (
	"bytes"
	"crypto/rand"
	"strings"
	"testing"
)

func TestDecodeItemDamaged(t *testing.T) {
	revision := Revision(rand.Text())
	whole := string(encodeItem("a/b", []byte("the value\n"), revision))
	if item := decodeItem("a/b", []byte(whole)); item.Revision != revision || string(item.Value) != "the value\n" {
		t.Fatalf("an undamaged file is read as %q", item)
	}
	seen := map[Revision]string{revision: whole}
	for name, test := range map[string]struct{ content, value string }{
		"empty":           {"", ""},
		"no header":       {"hello\nworld", "hello\nworld"},
		"no line end":     {"everseal-item/1", "everseal-item/1"},
		"header alone":    {whole[:strings.Index(whole, "\n")+1], ""},
		"cut":             {whole[:len(whole)-1], "the value"},
		"longer":          {whole + "x", "the value\nx"},
		"edited value":    {strings.Replace(whole, "the value", "thy value", 1), "thy value\n"},
		"edited key":      {strings.Replace(whole, " a/b\n", " a/c\n", 1), "the value\n"},
		"edited revision": {strings.Replace(whole, string(revision), "short", 1), "the value\n"},
		"later format":    {strings.Replace(whole, "item/1", "item/2", 1), "the value\n"},
		"line ends":       {strings.ReplaceAll(whole, "\n", "\r\n"), "the value\r\n"},
	} {
		item := decodeItem("a/b", []byte(test.content))
		if string(item.Value) != test.value {
			t.Errorf("%s: read as %q, want %q", name, item.Value, test.value)
		}
		if before, again := seen[item.Revision]; again || item.Revision == "" {
			t.Errorf("%s: the revision %q is that of %q", name, item.Revision, before)
		}
		seen[item.Revision] = test.content
	}
}

func FuzzDecodeItem(f *testing.F) {
	f.Add([]byte(""), []byte("everseal-item/1 \n"))
	f.Add([]byte("value"), encodeItem("a/b", []byte("value"), Revision(rand.Text())))
	f.Fuzz(func(t *testing.T, value, content []byte) {
		revision := Revision(rand.Text())
		item := decodeItem("a/b", encodeItem("a/b", value, revision))
		if !bytes.Equal(item.Value, value) || item.Revision != revision {
			t.Errorf("%q is read back as %q", value, item)
		}
		item = decodeItem("a/b", content)
		if item.Revision == "" || !bytes.HasSuffix(content, item.Value) {
			t.Errorf("%q is read as %q", content, item)
		}
	})
}

func FuzzDecodeLease(f *testing.F) {
	f.Add([]byte(`{"version":1,"owner":"a","fence":7,"term":"30s","beat":"X"}` + "\nvalue"))
	f.Add([]byte(`{"version":2}`))
	f.Add([]byte("null\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		record, err := decodeLease(data)
		if err != nil {
			return
		}
		encoded, err := record.encode()
		if err != nil {
			t.Fatalf("%q can't be encoded again: %v", data, err)
		}
		again, err := decodeLease(encoded)
		if err != nil || again.term != record.term || again.Owner != record.Owner || !bytes.Equal(again.value, record.value) {
			t.Errorf("%q is encoded as %q and read as %+v, %v", data, encoded, again, err)
		}
		if record.term <= 0 {
			t.Errorf("%q has the term %v", data, record.term)
		}
	})
}
