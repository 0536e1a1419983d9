package record_test

import (
	"bytes"
	"crypto"
	"fmt"
	"strings"
	"testing"

	"github.com/everseal/everseal/certmanager/internal/record"
)

func TestAccountRoundTrip(t *testing.T) {
	here, there := record.Key{Signer: newKey(t)}, record.Key{Reference: "kms://<7>"}
	for _, key := range []record.Key{here, there, {Signer: newRSAKey(t)}} {
		for _, next := range []record.Key{{}, here, there} {
			for _, url := range []string{"", "https://ca.example.com/account?a=1&b=2"} {
				a := record.Account{Directory: "https://ca.example.com/directory?a&b", Key: key, URL: url, NextKey: next}
				again, err := record.DecodeAccount(encode(t, &a))
				if err != nil || shown(again) != shown(a) {
					t.Errorf("%s is read as (%v) %s", shown(a), err, shown(again))
				}
			}
		}
	}
}

// Of a key that is kept elsewhere the reference is stored alone, though the key is at hand.
func TestReferenceAlone(t *testing.T) {
	there := record.Key{Reference: "kms://7"}
	opened := record.Key{Signer: newKey(t), Reference: there.Reference}
	journal := func(k record.Key) *record.Work {
		return &record.Work{Journals: map[string]*record.Journal{"ca": {Key: k}}}
	}
	if got, want := encode(t, &record.Account{Key: opened, NextKey: opened}), encode(t, &record.Account{Key: there, NextKey: there}); !bytes.Equal(got, want) {
		t.Errorf("the account is written as %s", got)
	}
	if got, want := encode(t, journal(opened)), encode(t, journal(there)); !bytes.Equal(got, want) {
		t.Errorf("the work is written as %s", got)
	}
}

func TestAccountRefused(t *testing.T) {
	secret := []byte("c2VjcmV0")
	damaged, sound := fmt.Sprintf("%q", block("PRIVATE KEY", secret)), fmt.Sprintf("%q", encodedKey(t))
	for value, want := range map[string]string{
		"":              "not JSON with a version",
		"none":          "not JSON with a version",
		`{"version":3}`: `version "3" is not known`,
		`{"version":1,"key":` + sound + `,"url":7}`:                                            "not the JSON of an account",
		`{"version":1,"directory":"https://ca.example.com"}`:                                   "no private key",
		`{"version":1,"keyReference":"7"}`:                                                     "no private key",
		`{"version":2,"key":` + sound + `}`:                                                    "no reference to one",
		`{"version":2}`:                                                                        "no reference to one",
		`{"version":1,"key":` + damaged + `}`:                                                  "not PKCS #8",
		`{"version":1,"key":` + sound + `,"nextKey":` + damaged + `}`:                          "the key that it is changed to: its private key is not PKCS #8",
		`{"version":1,"key":` + sound + `,"nextKey":` + sound + `,"nextKeyReference":"7"}`:     "the key that it is changed to: it has both",
		`{"version":1,"key":"` + strings.Repeat("x", 5000) + `"}`:                              "its private key: a block of PEM does not begin",
		`{"version":1,"key":` + strings.Replace(sound, "PRIVATE KEY", "CERTIFICATE", -1) + `}`: "there is no private key in PEM",
	} {
		a, err := record.DecodeAccount([]byte(value))
		wantRefusal(t, err, want, secret)
		if !a.Key.IsZero() || a.Directory != "" {
			t.Errorf("%.100s is refused and read as %+v", value, a)
		}
	}
	foreign := record.Key{Signer: struct{ crypto.Signer }{newKey(t)}}
	for want, a := range map[string]record.Account{
		"no private key": {}, "can't be stored": {Key: foreign}, "a private key of type": {Key: record.Key{Reference: "7"}, NextKey: foreign},
	} {
		_, err := a.Encode()
		wantRefusal(t, err, want)
	}
	w := record.Work{Journals: map[string]*record.Journal{"ca": {Key: foreign}}}
	_, err := w.Encode()
	wantRefusal(t, err, "can't be stored")
}
