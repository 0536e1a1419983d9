package certmanager_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/solver/diagnose"
)

// TestOnEventBlocks has a callback that does not return: certificates are obtained, served and renewed all the same.
func TestOnEventBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		names := siteNames(50)
		config := w.config(names...)
		release := make(chan struct{})
		config.OnEvent = func(e certmanager.Event) {
			<-release
			w.onEvent(e)
		}
		m, stop := w.start(config)
		defer stop()
		time.Sleep(time.Minute)
		for _, name := range names {
			if _, err := w.handshake(t.Context(), name); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if err := m.Renew(t.Context(), names[0]); err != nil {
			t.Errorf("Renew: %v", err)
		}
		begun := time.Now()
		stop()
		if waited := time.Since(begun); waited != 10*time.Second {
			t.Errorf("Run ended after %v, want ten seconds", waited)
		}
		close(release)
	})
}

// TestOnEventCallsBack has the callback call the manager whose work it is told of, and panic at last.
func TestOnEventCallsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		config := w.config("example.com")
		log := new(logs)
		config.Logger = log.logger()
		var m *certmanager.Manager
		config.OnEvent = func(e certmanager.Event) {
			defer w.onEvent(e)
			if e.Kind != certmanager.EventObtained || e.Renewal {
				return
			}
			if len(statuses(m)) == 0 {
				t.Error("Status is empty")
			}
			if e.Names[0] != "example.com" {
				return
			}
			if err := m.Manage(certmanager.Subject{Names: []string{"example.net"}}); err != nil {
				t.Errorf("Manage: %v", err)
			}
			if err := m.Renew(t.Context(), "example.com"); err != nil {
				t.Errorf("Renew: %v", err)
			}
			panic("the callback is broken")
		}
		var err error
		if m, err = certmanager.New(config); err != nil {
			t.Fatal(err)
		}
		stop := w.run(m)
		defer stop()
		w.await(certmanager.EventObtained, "example.com", 2)
		w.await(certmanager.EventObtained, "example.net", 1)
		if text := log.String(); !strings.Contains(text, "level=ERROR") || !strings.Contains(text, "the callback is broken") {
			t.Errorf("the panic is not in the log: %s", text)
		}
	})
}

// TestEventsAreDeliveredBeforeRunReturns ends Run while events wait for a slow callback.
func TestEventsAreDeliveredBeforeRunReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		names := siteNames(10)
		config := w.config(names...)
		config.OnEvent = func(e certmanager.Event) {
			time.Sleep(400 * time.Millisecond)
			w.onEvent(e)
		}
		m, stop := w.start(config)
		for {
			served := 0
			for _, s := range statuses(m) {
				if s.State == certmanager.StateValid {
					served++
				}
			}
			if served == len(names) {
				break
			}
			time.Sleep(time.Millisecond)
		}
		synctest.Wait()
		if n := w.count(certmanager.EventObtained); n == len(names) {
			t.Fatal("nothing waits when Run ends")
		}
		stop()
		if n := w.count(certmanager.EventObtained); n != len(names) {
			t.Errorf("%d certificates were told of when Run returned, want %d", n, len(names))
		}
	})
}

// TestEventAsJSON has an event that says all there is, and one that says nothing, come back from JSON.
func TestEventAsJSON(t *testing.T) {
	at := time.Date(2000, 1, 2, 3, 4, 5, 0, time.UTC)
	whole := certmanager.Event{
		Kind: certmanager.EventFailed, Time: at, Names: []string{"example.com"}, Issuer: "ca", Renewal: true, Serial: "0a", NotAfter: at.Add(1), Next: at.Add(2),
		Attempts: 3, Since: at.Add(4), Err: errors.New("the CA is down"), ExplanationURL: "https://ca.example.com/why",
		Diagnoses: []*diagnose.Report{{Cause: "dns", Cure: "add a record"}}, Missed: 5,
	}
	want := `{"kind":"failed","time":"2000-01-02T03:04:05Z","names":["example.com"],"issuer":"ca","renewal":true,"serial":"0a",` +
		`"notAfter":"2000-01-02T03:04:05.000000001Z","next":"2000-01-02T03:04:05.000000002Z","attempts":3,"since":"2000-01-02T03:04:05.000000004Z",` +
		`"explanationURL":"https://ca.example.com/why","diagnoses":[`
	for _, event := range []certmanager.Event{whole, {}} {
		encoded, err := json.Marshal(event)
		if err != nil {
			t.Fatal(err)
		}
		var again certmanager.Event
		if err := json.Unmarshal(encoded, &again); err != nil || !reflect.DeepEqual(again, event) {
			t.Errorf("%s is read as %+v: %v", encoded, again, err)
		}
		if event.Err != nil && (!strings.HasPrefix(string(encoded), want) || !strings.HasSuffix(string(encoded), `"missed":5,"error":"the CA is down"}`)) {
			t.Errorf("it is shown as %s", encoded)
		}
		if event.Err == nil && string(encoded) != `{"kind":"","time":"0001-01-01T00:00:00Z"}` {
			t.Errorf("an empty one is shown as %s", encoded)
		}
	}
	var none certmanager.Event
	if err := json.Unmarshal([]byte(`{"attempts":"many"}`), &none); err == nil {
		t.Error("what is no event is read")
	}
}
