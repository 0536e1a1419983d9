package deploy_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/everseal/everseal/certmanager/deploy"
)

// TestResultAsJSON has what a Result says in JSON, and has it read again.
func TestResultAsJSON(t *testing.T) {
	for want, result := range map[string]deploy.Result{
		`{}`: {},
		`{"names":["example.com"],"paths":["/srv/example.com"]}`: {Names: []string{"example.com"}, Paths: []string{"/srv/example.com"}},
		`{"attempts":2,"next":"2000-01-02T03:04:05Z","error":"deploy: Dir: the disk is full"}`: {
			Attempts: 2, Next: time.Date(2000, 1, 2, 3, 4, 5, 0, time.UTC), Err: errors.New("deploy: Dir: the disk is full"),
		},
	} {
		var again deploy.Result
		encoded, err := json.Marshal(result)
		if err != nil || string(encoded) != want {
			t.Errorf("it is shown as %s, want %s: %v", encoded, want, err)
		}
		if err := json.Unmarshal(encoded, &again); err != nil || !reflect.DeepEqual(again, result) {
			t.Errorf("%s is read as %+v: %v", encoded, again, err)
		}
	}
	if err := json.Unmarshal([]byte(`{"attempts":"many"}`), new(deploy.Result)); err == nil {
		t.Error("what is no result is read")
	}
}
