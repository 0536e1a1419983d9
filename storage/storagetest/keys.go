package storagetest

import (
	"errors"
	"strings"
	"testing"

	"github.com/everseal/everseal/storage"
)

func keyCases() []testCase {
	return []testCase{
		{"OddKeys", "Keys hold domain names of up to 253 bytes, wildcards, IPv6 addresses and long hashes, and a medium that maps " +
			"two of them to one name hands out another name's private key.", testOddKeys},
		{"EveryByte", "Bytes that an engine gives a meaning (_ in patterns, * and : in names, + in addresses) are in domain names, IP " +
			"addresses and hashes.", testEveryByte},
		{"HostileKeys", "Parts of keys come from the network. What leads out of the medium's folder or table must be refused by " +
			"every method, before anything else is done with it.", testHostileKeys},
	}
}

// oddKeys are pairwise different and must all be possible side by side.
func oddKeys() []string {
	label := strings.Repeat("l", 63)
	domain := strings.Join([]string{label, label, label, label[:61]}, ".")
	longest := strings.Repeat("k", storage.MaxKey)
	keys := []string{
		"a", "a/a", "a.", ".a", "..a", "a..", "...", "-", "_", "=", "~", "*", "*.example.com", "a/*.example.com/b",
		"2001:db8::1", "::1", "::ffff:192.0.2.1", "user+tag@example.com", "a,b,c", "a=b", "~a", "a~b", "xn--bcher-kva.example",
		"con", "con.a", "nul", "nul/nul", "aux.example.com", "prn", "com1", "com1.example", "lpt9", "conn", "com",
		"a.item", "a.item/b", ".item", "a.item.item", "a.tmp", ".locks", ".locks/a", ".temp/a", ".owners", "lock", "index", "%2a"[1:],
		domain, "a/" + domain, domain + "/" + domain,
		strings.TrimSuffix(strings.Repeat("a/", storage.MaxKey/2), "/"),
		longest, longest[1:] + "j", longest[:255], longest[:255] + "/" + longest[:256], longest[:255] + "/" + longest[:255],
		strings.Repeat("*", storage.MaxKey), strings.Repeat("*", 100) + "/" + strings.Repeat(":", 411),
	}
	return keys
}

func testOddKeys(t *testing.T, s, other storage.Store) {
	keys := oddKeys()
	revisions := make(map[string]storage.Revision)
	for _, key := range keys {
		if err := storage.CheckKey(key); err != nil {
			t.Fatalf("CheckKey: %v", err)
		}
		revisions[key] = on(t, s).save(key, "value of "+key, "")
	}
	for _, key := range keys {
		on(t, other).wantStored(key, "value of "+key, revisions[key])
	}
	on(t, other).wantListed("", keys...)
	longest := strings.Repeat("k", storage.MaxKey)
	on(t, other).wantListed(longest[:255], longest[:255], longest[:255]+"/"+longest[:256], longest[:255]+"/"+longest[:255])
	for _, key := range keys {
		if err := s.Delete(t.Context(), key, revisions[key]); err != nil {
			t.Errorf("Delete(%q): %v", key, err)
		}
	}
	on(t, other).wantListed("")
}

// keyBytes are all bytes that segments of keys have.
const keyBytes = "abcdefghijklmnopqrstuvwxyz0123456789-._*:+=@~,"

func testEveryByte(t *testing.T, s, other storage.Store) {
	revisions := make(map[string]storage.Revision)
	for i := range len(keyBytes) {
		b := keyBytes[i : i+1]
		for _, key := range []string{"p" + b + "q/" + b + b + b, "q" + b} {
			revisions[key] = on(t, s).save(key, key, "")
		}
	}
	for key, revision := range revisions {
		on(t, other).wantStored(key, key, revision)
	}
	for i := range len(keyBytes) {
		b := keyBytes[i : i+1]
		on(t, other).wantListed("p"+b+"q", "p"+b+"q/"+b+b+b)
		on(t, other).wantListed("q"+b, "q"+b)
	}
}

func testHostileKeys(t *testing.T, s, _ storage.Store) {
	ctx := t.Context()
	want := func(method, key string, err error) {
		t.Helper()
		if !errors.Is(err, storage.ErrInvalidKey) {
			t.Errorf("%s(%.40q): %v, want ErrInvalidKey", method, key, err)
		}
	}
	for _, key := range []string{
		"", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/..", "a/../b", "a/./b", "./a", "/etc/passwd", "..\\a", "a\\b", "c:\\a",
		"A", "a/B", "a b", "a\x00b", "a\nb", "a%2fb", "%2e%2e/a", "a?b", "a#b", "a'b", "a\"b", "a;b", "a|b", "a<b", "a$b", "a{b", "ä", "\xff",
		"a\u202eb", strings.Repeat("k", storage.MaxKey+1), strings.Repeat("a/", storage.MaxKey) + "a",
	} {
		_, err := s.Load(ctx, key)
		want("Load", key, err)
		_, err = s.Save(ctx, key, []byte("x"), "")
		want("Save", key, err)
		want("Delete", key, s.Delete(ctx, key, "x"))
		_, err = storage.Update(ctx, s, key, func([]byte) ([]byte, error) { return []byte("x"), nil })
		want("Update", key, err)
		if key == "" {
			continue // all keys, for List
		}
		err = nil
		for _, listErr := range s.List(ctx, key) {
			err = listErr
		}
		want("List", key, err)
	}
	on(t, s).wantListed("")
}
