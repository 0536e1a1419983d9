package record_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"github.com/everseal/everseal/certmanager/internal/record"
)

// addGolden adds the stored values whose path has the word to the corpus.
func addGolden(f *testing.F, word string) {
	f.Helper()
	n := 0
	for _, folder := range []string{version1, current} {
		err := filepath.WalkDir(folder, func(path string, entry os.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.Contains(path, word) {
				return err
			}
			n++
			f.Add(golden(f, "", path))
			return nil
		})
		if err != nil {
			f.Fatal(err)
		}
	}
	if n < 2 {
		f.Fatalf("%d values with %q are stored", n, word)
	}
}

// checkError fails the test if the error is not fit for a log, or shows a line of what could not be read.
func checkError(t *testing.T, data []byte, err error) {
	t.Helper()
	text := err.Error()
	if len(text) > 1000 || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		t.Errorf("the error is %q", text)
	}
	const revealing = 40
	if _, body, ok := bytes.Cut(data, []byte("PRIVATE KEY-----")); ok && len(body) > revealing && strings.Contains(text, string(body[:revealing])) {
		t.Errorf("the error shows a key: %q", text)
	}
}

// Whatever is stored, reading it is an error, or it can be written and read again.
func FuzzDecodeCertificate(f *testing.F) {
	addGolden(f, "certificate")
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := record.DecodeCertificate(data, nil, new(record.Intermediates))
		if err != nil {
			checkError(t, data, err)
			return
		}
		encoded := encode(t, c)
		again, err := record.DecodeCertificate(encoded, nil, new(record.Intermediates))
		if err != nil || shown(again) != shown(c) || !bytes.Equal(encode(t, again), encoded) {
			t.Errorf("%s\nis written as\n%s\nand read as (%v)\n%s", shown(c), encoded, err, shown(again))
		}
	})
}

func FuzzDecodeWork(f *testing.F) {
	addGolden(f, "work")
	f.Fuzz(func(t *testing.T, data []byte) {
		w, err := record.DecodeWork(data, "first")
		if err != nil {
			checkError(t, data, err)
		} else {
			encoded := encode(t, &w)
			again, err := record.DecodeWork(encoded, "other")
			if err != nil || shown(again) != shown(w) || !bytes.Equal(encode(t, &again), encoded) {
				t.Errorf("%s\nis written as\n%s\nand read as (%v)\n%s", shown(w), encoded, err, shown(again))
			}
		}
		var adopting record.Work
		found, err := adopting.Adopt("second", data)
		if err != nil {
			checkError(t, data, err)
		}
		if !found && len(adopting.Journals) > 0 || err != nil && found {
			t.Errorf("%q is refused and adopted", data)
		}
	})
}

func FuzzDecodeAccount(f *testing.F) {
	addGolden(f, "account")
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := record.DecodeAccount(data)
		if err != nil {
			checkError(t, data, err)
			return
		}
		encoded := encode(t, &a)
		again, err := record.DecodeAccount(encoded)
		if err != nil || shown(again) != shown(a) || !bytes.Equal(encode(t, &again), encoded) {
			t.Errorf("%s\nis written as\n%s\nand read as (%v)\n%s", shown(a), encoded, err, shown(again))
		}
	})
}

func FuzzParseCertificateKey(f *testing.F) {
	f.Add(record.CertificateKey("ca", "example.com", "ecdsa-p256"))
	f.Fuzz(func(t *testing.T, key string) {
		if issuer, subject, keyType, ok := record.ParseCertificateKey(key); ok && record.CertificateKey(issuer, subject, keyType) != key {
			t.Errorf("%q is read as %q, %q, %q", key, issuer, subject, keyType)
		}
	})
}
