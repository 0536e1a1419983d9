package record_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/everseal/everseal/certmanager/internal/record"
)

func TestDeletionRefused(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"nothing":           {"", "not JSON"},
		"no version":        {`{}`, "version"},
		"of another kind":   {`{"version":2}`, "version"},
		"of nothing":        {`{"version":1}`, "which certificate"},
		"of the wrong type": {`{"version":1,"obtained":7}`, "wrong type"},
	} {
		if _, err := record.DecodeDeletion([]byte(test.text)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want %q", name, err, test.want)
		}
	}
	_, err := record.DecodeDeletion([]byte(`{"version":2}`))
	if !errors.As(err, new(*record.VersionError)) {
		t.Errorf("error %v", err)
	}
}

func TestDeletionConcerns(t *testing.T) {
	d := record.Deletion{Deleted: begin.Add(time.Hour), Obtained: begin}
	for obtained, want := range map[time.Time]bool{begin.Add(-time.Hour): true, begin: true, begin.Add(1): false} {
		if got := d.Concerns(obtained); got != want {
			t.Errorf("what was obtained at %v is concerned: %t", obtained, got)
		}
	}
	if key := record.DeletionKey(record.CertificateKey("ca", "example.com", "ecdsa-p256")); key != "deletions/ca/example.com/ecdsa-p256" {
		t.Errorf("the key is %q", key)
	}
}
