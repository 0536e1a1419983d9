package record_test

import (
	"bytes"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/everseal/everseal/certmanager/internal/record"
)

func TestKeyEqual(t *testing.T) {
	a, b := newKey(t), newKey(t)
	copied := *a
	here, there := record.Key{Signer: a}, record.Key{Reference: "kms://7"}
	for _, test := range []struct {
		a, b record.Key
		want bool
	}{
		{here, here, true},
		{here, record.Key{Signer: &copied}, true},
		{here, record.Key{Signer: b}, false},
		{here, record.Key{}, false},
		{record.Key{}, here, false},
		{record.Key{}, record.Key{}, false},
		{there, there, true},
		{there, record.Key{Signer: a, Reference: "kms://7"}, true},
		{there, record.Key{Reference: "kms://8"}, false},
		{there, record.Key{}, false},
		{record.Key{}, there, false},
		{record.Key{Signer: a, Reference: "kms://7"}, here, false},
		{here, record.Key{Signer: a, Reference: "kms://7"}, false},
	} {
		if got := test.a.Equal(test.b); got != test.want {
			t.Errorf("%+v %q and %+v %q: %t", test.a, test.a.Reference, test.b, test.b.Reference, got)
		}
	}
	if here.IsZero() || there.IsZero() || !(record.Key{}).IsZero() {
		t.Error("IsZero is wrong")
	}
}

// A key that is logged, printed or marshalled, alone or within what holds it, shows nothing of itself; nor does where it is
// kept show, which may have a PIN in it.
func TestKeyIsNotShown(t *testing.T) {
	c := newTestCA(t).record(t, newKey(t), "example.com")
	scalar, err := newKey(t).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	text := string(encode(t, c))
	secrets := []string{strings.Split(text, "\n")[2][20:40], "D:", `"D"`, "pin-value", fmt.Sprint(scalar), base64.StdEncoding.EncodeToString(scalar)}
	elsewhere := record.Key{Signer: c.Key.Signer, Reference: "pkcs11:token=a?pin-value=1234"}
	for _, value := range []any{
		c.Key, &c.Key, elsewhere, *c, c, struct{ K record.Key }{c.Key}, []record.Key{elsewhere},
		record.Account{Key: c.Key, NextKey: elsewhere}, &record.Journal{Key: c.Key},
		record.Work{Journals: map[string]*record.Journal{"a": {Key: c.Key}}},
	} {
		var b bytes.Buffer
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x", "%T"} {
			fmt.Fprintf(&b, verb+"\n", value)
		}
		slog.New(slog.NewTextHandler(&b, nil)).Info("text", "value", value)
		slog.New(slog.NewJSONHandler(&b, nil)).Info("JSON", "value", value)
		if err := json.NewEncoder(&b).Encode(value); err != nil {
			t.Errorf("%T: %v", value, err)
		}
		for _, secret := range secrets {
			if strings.Contains(b.String(), secret) {
				t.Errorf("%T shows %q:\n%s", value, secret, &b)
			}
		}
	}
	for want, key := range map[string]record.Key{"(a private key)": c.Key, "(a private key that is kept elsewhere)": elsewhere, "(no private key)": {}} {
		if got := fmt.Sprintf("%v %v", key.String(), key.LogValue()); got != want+" "+want {
			t.Errorf("%s, want %s twice", got, want)
		}
	}
}

// A key can be given where a signer is wanted.
var _ crypto.Signer = record.Key{}
