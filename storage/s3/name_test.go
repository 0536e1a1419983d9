package s3

import (
	"strings"
	"testing"

	"github.com/everseal/everseal/storage"
)

// The encoding is the format of what is stored.
func TestNames(t *testing.T) {
	s := &Store{prefix: "p/"}
	long := strings.Repeat("k", storage.MaxKey)
	for key, want := range map[string]string{
		"a":                           "p/a!",
		"a/b":                         "p/a/b!",
		"certificates/*.a.com:1":      "p/certificates/*.a.com:1!",
		long[:200]:                    "p/" + long[:200] + "!",
		long[:201]:                    "p/" + long[:200] + "!/k!",
		long:                          "p/" + long[:200] + "!/" + long[:200] + "!/" + long[:112] + "!",
		long[:255] + "/" + long[:200]: "p/" + long[:200] + "!/" + long[:55] + "/" + long[:200] + "!",
	} {
		got := s.name(key)
		if got != want || s.key(got) != key {
			t.Errorf("the name of %q is %q, want %q; its key is %q", key, got, want, s.key(got))
		}
	}
	for _, name := range []string{
		"", "p/", "p/!", "p/a", "a!", "q/a!", "p/A!", "p/a!!", "p/!a!", "p/a!b!", "p/a!/b!", "p/a//b!", "p/../a!", "p/" + markName,
		"p/" + long[:201] + "!", "p/" + long[:200] + "!/!",
	} {
		if key := s.key(name); key != "" {
			t.Errorf("%q is taken for the record %q", name, key)
		}
	}
}

func TestParse(t *testing.T) {
	const nonce = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	for body, want := range map[string]struct {
		object
		err error
	}{
		"everseal/1 " + nonce + "\n":       {object: object{nonce: nonce, live: true}},
		"everseal/1 " + nonce + "\na\nb":   {object: object{nonce: nonce, live: true, value: []byte("a\nb")}},
		"deleted/1 " + nonce:               {object: object{nonce: nonce}},
		"":                                 {err: errForeign},
		"<Error><Code>x</Code></Error>":    {err: errForeign},
		"everseal/1 " + nonce:              {err: errVersion},
		"everseal/1 short\n":               {err: errVersion},
		"deleted/1 " + nonce + "\n":        {err: errVersion},
		"everseal/2 " + nonce + "\nabc":    {err: errVersion},
		"deleted/2 x":                      {err: errVersion},
		"everseal 1 " + nonce + "\n value": {err: errForeign},
	} {
		got, err := parse([]byte(body))
		if err != want.err || got.nonce != want.nonce || got.live != want.live || string(got.value) != string(want.value) {
			t.Errorf("%q: %+v, %v; want %+v", body, got, err, want)
		}
	}
	record, nonceOf := newRecord(nil)
	tombstone, _ := newTombstone()
	if len(record) != recordHeader || len(tombstone) != tombstoneSize || tombstoneSize >= recordHeader {
		t.Errorf("the shortest record has %d bytes, a tombstone %d: a listing can't tell them apart", len(record), len(tombstone))
	}
	if got, err := parse(record); err != nil || got.nonce != nonceOf {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestRevisions(t *testing.T) {
	for etag, want := range map[string]bool{
		`"d41d8cd98f00b204e9800998ecf8427e"`: true, "abc": true, `"abc-2"`: true, `"CRC64NVME-a+b/c=="`: true,
		"": false, `""`: false, `W/"abc"`: false, "*": false, `"*"`: false, `"a", "b"`: false, "a\r\nb": false, `"` + strings.Repeat("a", 300) + `"`: false,
	} {
		if _, err := revisionOf(&etag); (err == nil) != want {
			t.Errorf("the ETag %q: %v", etag, err)
		}
	}
	if _, err := revisionOf(nil); err == nil {
		t.Error("no ETag is taken for one")
	}
}
