package storage

import (
	"path"
	"strings"
	"testing"
)

func TestFileName(t *testing.T) {
	for key, want := range map[string]string{
		"a":                   "a.item",
		"a/b.example.com":     "a/b.example.com.item",
		"*.example.com":       "%2a.example.com.item",
		"2001:db8::1/x":       "2001%3adb8%3a%3a1/x.item",
		".a/b.":               "%2ea/b%2e.item",
		"...":                 "%2e.%2e.item",
		"a.item/b":            "a%2eitem/b.item",
		"a.item":              "a.item.item",
		".item/a":             "%2eitem/a.item",
		"con":                 "%63on.item",
		"nul/aux.example.com": "%6eul/%61ux.example.com.item",
		"com1":                "%63om1.item",
		"com10":               "com10.item",
		"console":             "console.item",
		"~":                   "%7e.item",
	} {
		if got := fileName(key); got != want {
			t.Errorf("fileName(%q) = %q, want %q", key, got, want)
		}
	}
}

func TestFileNameShortened(t *testing.T) {
	long := strings.Repeat("a", 300)
	name := fileName(long + "/" + long + "b")
	folder, file, _ := strings.Cut(name, "/")
	for _, part := range []string{folder, strings.TrimSuffix(file, itemSuffix)} {
		if start, digest, found := strings.Cut(part, shortMark); !found || start != long[:100] || len(digest) != 64 {
			t.Errorf("a segment of 300 bytes is shortened to %q", part)
		}
	}
	if folder+itemSuffix == file {
		t.Errorf("two segments with the same beginning share the name %q", folder)
	}
	if got, want := encodeSegment(long[:200]), long[:200]; got != want {
		t.Errorf("a segment of 200 bytes becomes %q", got)
	}
}

func TestDecodeFileName(t *testing.T) {
	for _, name := range []string{
		"", ".item", "a", "a.txt", "A.item", "a%2A.item", "%41.item", "%61.item", "a%2.item", "a%.item", "a%zz.item", "a%2fb.item", "a//b.item",
		".a.item", "a/.b/c.item", "../a.item", "a.item/b.item", "a~b.item", "con.item", "a b.item", "%00.item", "a\\b.item",
		strings.Repeat("a", 201) + ".item",
	} {
		if key, ok := decodeFileName(name); ok {
			t.Errorf("decodeFileName(%q) = %q, want no key", name, key)
		}
	}
}

// FuzzFileName shows that names are safe on every file system and that no two keys share one.
func FuzzFileName(f *testing.F) {
	f.Add("a", "a/a")
	f.Add("a.item/b", "a")
	f.Add("con", "nul/aux")
	f.Add(".locks/3f", "..a/a..")
	f.Add(strings.Repeat("*", 250)+"a", strings.Repeat("*", 250)+"b")
	f.Fuzz(func(t *testing.T, key, other string) {
		if CheckKey(key) != nil || CheckKey(other) != nil {
			t.Skip()
		}
		checkSafe(t, key)
		if decoded, ok := decodeFileName(fileName(key)); ok && decoded != key ||
			!ok && !strings.Contains(fileName(key), shortMark) {
			t.Errorf("fileName(%q) = %q is decoded to %q, %t", key, fileName(key), decoded, ok)
		}
		if key == other {
			return
		}
		name, otherName := fileName(key), fileName(other)
		if strings.EqualFold(name, otherName) || folderName(key) == folderName(other) {
			t.Errorf("%q and %q share the name %q", key, other, name)
		}
		if strings.EqualFold(name, folderName(other)) {
			t.Errorf("the file of %q is the folder of %q: %q", key, other, name)
		}
	})
}

func checkSafe(t *testing.T, key string) {
	t.Helper()
	name := fileName(key)
	if path.Clean(name) != name || path.IsAbs(name) || !strings.HasSuffix(name, itemSuffix) {
		t.Errorf("fileName(%q) = %q is no clean path to an item", key, name)
	}
	if strings.Count(name, "/") != strings.Count(key, "/") {
		t.Errorf("fileName(%q) = %q has other separators than the key", key, name)
	}
	for part := range strings.SplitSeq(name, "/") {
		if len(part) > maxName+len(itemSuffix) {
			t.Errorf("fileName(%q): a name of %d bytes", key, len(part))
		}
		if strings.HasPrefix(part, ".") || strings.HasSuffix(part, ".") || isDevice(part) {
			t.Errorf("fileName(%q): some system keeps the name %q for itself", key, part)
		}
		if i := strings.IndexFunc(part, func(r rune) bool {
			return r > 127 || !isPlain(byte(r)) && r != '%' && r != '~'
		}); i >= 0 {
			t.Errorf("fileName(%q) = %q has the byte %q", key, name, part[i])
		}
	}
}

// FuzzDecodeFileName shows that whatever lies in the folder is decoded to a key only if it is that key's file.
func FuzzDecodeFileName(f *testing.F) {
	f.Add("a.item")
	f.Add("%2a.example.com.item")
	f.Add("a%2fb.item")
	f.Add("a/%2e%2e/b.item")
	f.Fuzz(func(t *testing.T, name string) {
		key, ok := decodeFileName(name)
		if ok && (CheckKey(key) != nil || fileName(key) != name) {
			t.Errorf("decodeFileName(%q) = %q, whose file is %q", name, key, fileName(key))
		}
	})
}
