package record_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/everseal/everseal/certmanager/internal/record"
)

func TestTicketKeysRefused(t *testing.T) {
	secret := base64.StdEncoding.EncodeToString(make([]byte, 32))
	key := func(secret, from string) string {
		return `{"key":"` + secret + `","from":"2026-01-0` + from + `T00:00:00Z"}`
	}
	for name, test := range map[string]struct{ text, want string }{
		"no JSON":          {"x", "not JSON"},
		"a later version":  {`{"version":3,"keys":[]}`, "version"},
		"another version":  {`{"version":2,"keys":[]}`, "version"},
		"a short key":      {`{"version":1,"keys":[` + key("AAAA", "1") + `]}`, "has 3 bytes"},
		"a long key":       {`{"version":1,"keys":[` + key("AAAA"+secret, "1") + `]}`, "has 35 bytes"},
		"the wrong order":  {`{"version":1,"keys":[` + key(secret, "2") + "," + key(secret, "1") + `]}`, "order"},
		"the same time":    {`{"version":1,"keys":[` + key(secret, "2") + "," + key(secret, "2") + `]}`, "order"},
		"too many":         {`{"version":1,"keys":[` + strings.Repeat("{},", 100) + "{}]}", "more than 100"},
		"keys of no bytes": {`{"version":1,"keys":[{"key":7}]}`, "wrong type"},
	} {
		keys, err := record.DecodeTicketKeys([]byte(test.text))
		if err == nil || !strings.Contains(err.Error(), test.want) || keys != nil {
			t.Errorf("%s: %v, want an error with %q", name, err, test.want)
		}
		if strings.Contains(name, "version") != (errors.As(err, new(*record.VersionError))) {
			t.Errorf("%s: %v is a VersionError: %t", name, err, !strings.Contains(name, "version"))
		}
	}
	if keys, err := record.DecodeTicketKeys([]byte(`{"version":1,"keys":[` + key(secret, "1") + `],"more":true}`)); err != nil || len(keys) != 1 {
		t.Errorf("with a member of a later release: %v", err)
	}
}

// TestTicketKeysAreNotShown prints, logs and marshals a key in all ways.
func TestTicketKeysAreNotShown(t *testing.T) {
	key := record.NewTicketKey(time.Now())
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("a key", "key", key, "keys", record.TicketKeys{key})
	asJSON, err := json.Marshal(record.TicketKeys{key})
	if err != nil {
		t.Fatal(err)
	}
	keys := record.TicketKeys{key}
	shown := log.String() + string(asJSON) + fmt.Sprintf("%v %+v %#v %x %s %d %v %x", key, key, key, key, key, key, &key, keys)
	for _, secret := range []string{fmt.Sprint(key.Secret[:]), fmt.Sprintf("%x", key.Secret), base64.StdEncoding.EncodeToString(key.Secret[:]), fmt.Sprintf("%#v", key.Secret)} {
		if strings.Contains(shown, secret) {
			t.Errorf("the key is shown: %s", shown)
		}
	}
	if record.NewTicketKey(key.From).Secret == key.Secret {
		t.Error("two keys are the same")
	}
}

// TestRemainsOfWork reads what tells whether a record of work is needed.
func TestRemainsOfWork(t *testing.T) {
	for text, want := range map[string]bool{
		"": true, `{"version":2}`: true, `{"version":1,"key":"","notes":null,"refusals":0}`: true, `{"version":2,"journals":{},"plan":[]}`: true,
		`{"version":2,"attempts":1}`: false, `{"version":2,"plan":7}`: false, `{"version":3}`: false, "x": false, `{"version":2,"absence":{"checks":1}}`: false,
	} {
		if got := record.SaysNothing([]byte(text)); got != want {
			t.Errorf("%q says nothing: %t, want %t", text, got, want)
		}
	}
	later := begin.Add(time.Hour)
	for text, want := range map[string]time.Time{
		"": {}, "x": {}, `{"version":2}`: {}, `{"error":"at ` + later.Format(time.RFC3339) + `"}`: {},
		`{"a":"` + begin.Format(time.RFC3339) + `","b":{"c":[1,"` + later.Format(time.RFC3339) + `"]}}`: later,
	} {
		if got := record.LatestTime([]byte(text)); !got.Equal(want) {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}
