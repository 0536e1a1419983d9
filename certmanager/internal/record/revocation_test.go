package record_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/everseal/everseal/certmanager/internal/record"
)

func TestRevocationRefused(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"nothing":            {"", "not JSON"},
		"garbage":            {"\x00", "not JSON"},
		"no version":         {`{}`, "version"},
		"of another kind":    {`{"version":2}`, "version"},
		"no certificate":     {`{"version":1}`, "no certificate"},
		"of the wrong type":  {`{"version":1,"certificate":7}`, "wrong type"},
		"with a broken key":  {`{"version":1,"certificate":"AA==","key":"SECRET"}`, "private key"},
		"with key and place": {`{"version":1,"certificate":"AA==","key":"SECRET","keyReference":"x"}`, "both"},
	} {
		_, err := record.DecodeRevocation([]byte(test.text))
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%s: error %v, want %q", name, err, test.want)
		}
	}
	_, err := record.DecodeRevocation([]byte(`{"version":2}`))
	if !errors.As(err, new(*record.VersionError)) {
		t.Errorf("error %v", err)
	}
	if key := record.RevocationKey("ca", "0abc"); key != "revocations/ca/0abc" {
		t.Errorf("the key is %q", key)
	}
}
