package storage_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/everseal/everseal/storage"
)

func TestCheckKey(t *testing.T) {
	for _, key := range []string{
		"a", "a/b", "...", "a..b", ".a", "*.example.com", "2001:db8::1", "u+x@example.com", "~a,=_-", "0",
		strings.Repeat("a", storage.MaxKey), strings.Repeat("a/", storage.MaxKey/2-1) + "bb",
	} {
		if err := storage.CheckKey(key); err != nil {
			t.Errorf("CheckKey(%q): %v", key, err)
		}
	}
	for _, test := range []struct{ key, reason string }{
		{"", "empty"},
		{strings.Repeat("a", storage.MaxKey+1), "513 bytes, 512 are allowed"},
		{"a//b", "empty segment"},
		{"/a", "empty segment"},
		{"a/", "empty segment"},
		{".", `segment "."`},
		{"a/../b", `segment ".."`},
		{"Example.com", `byte "E"`},
		{"a b", `byte " "`},
		{"a\\b", `byte "\\"`},
		{"a%41", `byte "%"`},
		{"ä", `byte "\xc3"`},
		{"a\x00", `byte "\x00"`},
	} {
		err := storage.CheckKey(test.key)
		if !errors.Is(err, storage.ErrInvalidKey) || !strings.Contains(err.Error(), test.reason) {
			t.Errorf("CheckKey(%.20q): %v, want ErrInvalidKey and %s", test.key, err, test.reason)
		}
	}
	if err := storage.CheckKey(strings.Repeat("\x00", 1<<20)); len(err.Error()) > 500 {
		t.Errorf("the error about a megabyte has %d bytes", len(err.Error()))
	}
}
