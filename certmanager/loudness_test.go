package certmanager_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme/acmetest"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/certmanager/internal/record"
	"github.com/everseal/everseal/storage/storagetest"
)

// A logged line is what a handler of JSON has of it.
type logged struct {
	Level       slog.Level
	Msg         string
	Certificate struct {
		Names           []string
		Attempts        int
		Since, NotAfter time.Time
	}
	text string
}

// A book keeps what is logged at INFO and above.
type book struct {
	mu    sync.Mutex
	lines []logged
}

func (b *book) logger() *slog.Logger { return slog.New(slog.NewJSONHandler(b, nil)) }

func (b *book) Write(p []byte) (int, error) {
	line := logged{text: string(p)}
	if err := json.Unmarshal(p, &line); err != nil {
		return 0, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lines = append(b.lines, line)
	return len(p), nil
}

func (b *book) read() []logged {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.lines)
}

// about returns the lines that name the name, and how many name nobody.
func (b *book) about(name string) (lines []logged, shared int) {
	for _, l := range b.read() {
		switch {
		case slices.Contains(l.Certificate.Names, name) || strings.Contains(l.text, `"`+name+`"`):
			lines = append(lines, l)
		case len(l.Certificate.Names) == 0:
			shared++
		}
	}
	return lines, shared
}

// TestLongOutage has certificates of 45 days, and then 39 days in which none can be renewed: each is told of in at most a
// hundred lines, the louder the nearer the end is.
func TestLongOutage(t *testing.T) {
	busy := func(r *http.Request) (*http.Response, error) { // for an hour: a probe each minute would cost a minute here
		response := reply(r, http.StatusServiceUnavailable, "text/plain", "busy")
		response.Header.Set("Retry-After", "3600")
		return response, nil
	}
	for _, test := range []struct {
		name  string
		names int
		begin func(w *world, f *front, s *storagetest.Faulty, names []string)
	}{
		{"503", 1, func(_ *world, f *front, _ *storagetest.Faulty, _ []string) { f.answerWith(busy) }},
		{"503 for a hundred", 100, func(_ *world, f *front, _ *storagetest.Faulty, _ []string) { f.answerWith(busy) }},
		{"storage", 1, func(_ *world, _ *front, s *storagetest.Faulty, _ []string) {
			s.SetFaults(storagetest.Fault{Err: errDisk})
		}},
		{"storage for ten", 10, func(_ *world, _ *front, s *storagetest.Faulty, _ []string) {
			s.SetFaults(storagetest.Fault{Err: errDisk})
		}},
		{"full storage", 1, func(_ *world, _ *front, s *storagetest.Faulty, _ []string) {
			s.SetFaults(storagetest.Fault{On: storagetest.Writes, Err: errDisk})
		}},
		{"refused name", 1, func(w *world, _ *front, _ *storagetest.Faulty, names []string) { w.ca.Refuse(names[0]) }},
		{"lost orders", 1, func(w *world, _ *front, _ *storagetest.Faulty, _ []string) {
			w.ca.SetFaults(w.ca.FailIssuance("serverInternal", "the HSM is down"))
		}},
	} {
		if raceDetector && (test.names > 1 || test.name == "lost orders") {
			continue // the same for one name, and as a refused name but for a hundred times as many orders
		}
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, func(ca *acmetest.Server) { ca.Lifetime = 45 * 24 * time.Hour })
				f, names := w.front(), siteNames(test.names)
				s := &storagetest.Faulty{Store: w.store}
				config, log := w.config(names...), new(book)
				acmeOf(config).HTTPClient, config.Storage, config.Logger = f.client(), s, log.logger()
				_, stop := w.serving(config)
				defer stop()
				time.Sleep(25 * 24 * time.Hour)
				begun := len(log.read())
				test.begin(w, f, s, names)
				time.Sleep(39 * 24 * time.Hour)
				if total := len(log.read()) - begun; total > 100*test.names || test.names > 10 && total > 10*test.names {
					t.Errorf("%d lines in all", total)
				}
				checkSentences(t, log.read()[begun:])
				for _, name := range names {
					lines, shared := log.about(name)
					if n := len(lines); n > 100 || shared > 100 || n < 5 {
						t.Errorf("%s: %d lines, and %d about all; want 5 to 100, at most 100", name, n, shared)
					}
					w.checkStages(name, lines)
				}
			})
		})
	}
}

// checkSentences checks that no line says a sentence twice, and none which package says it.
func checkSentences(t *testing.T, lines []logged) {
	t.Helper()
	for _, l := range lines {
		parts := strings.Split(l.Msg, ": ")
		slices.Sort(parts)
		if len(slices.Compact(parts)) < strings.Count(l.Msg, ": ")+1 || strings.Contains(l.Msg, "certmanager: ") {
			t.Errorf("said twice: %s", l.Msg)
		}
	}
}

// TestLongOutageWithAProbeEachMinute is TestLongOutage with 56,000 attempts.
func TestLongOutageWithAProbeEachMinute(t *testing.T) {
	if raceDetector {
		t.Skip("a simulation that runs without the race detector; TestLongOutage runs with it")
	}
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, ca := newWorld(t), newLocalCA(t, "local")
		ca.lifetime = 45 * 24 * time.Hour
		config, log := w.issuedBy([]certmanager.Issuer{ca}, "example.com"), new(book)
		config.Logger = log.logger()
		m, stop := w.serving(config)
		defer stop()
		time.Sleep(25 * 24 * time.Hour)
		ca.change(func(ca *localCA) { ca.err = &certmanager.UnavailableError{Err: errClosed} })
		time.Sleep(39 * 24 * time.Hour)
		lines, shared := log.about("example.com")
		if n := len(lines); n > 100 || shared > 100 || n < 5 {
			t.Errorf("%d lines, and %d about all", n, shared)
		}
		late := slices.DeleteFunc(slices.Clone(lines), func(l logged) bool {
			return l.Level != slog.LevelError || strings.Contains(l.Msg, "its end comes near") || strings.Contains(l.Msg, "has expired")
		})
		if len(late) < 20 {
			t.Errorf("%d failures were told of as errors when a tenth was left, want two a day", len(late))
		}
		if n := statusOf(t, m, "example.com").Attempts; n < 33*24*60 {
			t.Errorf("%d attempts: not the outage that was meant", n)
		}
		w.checkStages("example.com", lines)
	})
}

// checkStages checks that the end of the name's certificate was told of in three steps, as events and as errors.
func (w *world) checkStages(name string, lines []logged) {
	w.t.Helper()
	var lefts []time.Duration
	w.mu.Lock()
	for _, e := range w.events {
		if e.Kind == certmanager.EventExpiring && slices.Contains(e.Names, name) {
			lefts = append(lefts, e.NotAfter.Sub(e.Time))
			if e.Err == nil || e.NotAfter.IsZero() || e.Since.IsZero() || !e.Since.Before(e.Time) {
				w.t.Errorf("event %+v", e)
			}
		}
	}
	w.mu.Unlock()
	third, tenth := 15*24*time.Hour, 45*24*time.Hour/10
	const late = 31 * time.Hour // the longest pause after a refusal, and a little
	if len(lefts) != 3 || lefts[0] > third || lefts[0] < third-48*time.Hour || lefts[1] > tenth || lefts[1] < tenth-late || lefts[2] > 0 || lefts[2] < -late {
		w.t.Errorf("%s: EventExpiring came with %v left, want a third, a tenth and nothing of 45 days", name, lefts)
	}
	told := 0
	for _, l := range lines {
		if l.Level != slog.LevelError {
			continue
		}
		if told++; l.Certificate.NotAfter.IsZero() || l.Certificate.Since.IsZero() {
			w.t.Errorf("an error says not whose end and since when: %s", l.text)
		}
	}
	if told < 3 {
		w.t.Errorf("%s: %d errors, want 3 at least", name, told)
	}
}

// TestOneFailureIsNoError has renewals fail once when they are due, some with less than a third of the lifetime left: that
// is a warning, and no more.
func TestOneFailureIsNoError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ca, names := newWorld(t), newLocalCA(t, "local"), siteNames(20)
		asked := make(map[string]int)
		var mu sync.Mutex
		ca.work = func(r certmanager.Request) error {
			mu.Lock()
			defer mu.Unlock()
			name := r.Identifiers[0].Value
			if asked[name]++; asked[name] == 2 {
				return errClosed
			}
			return nil
		}
		config, log := w.issuedBy([]certmanager.Issuer{ca}, names...), new(book)
		config.Logger = log.logger()
		_, stop := w.serving(config)
		defer stop()
		for _, name := range names {
			w.await(certmanager.EventObtained, name, 2)
		}
		levels := make(map[slog.Level]int)
		for _, l := range log.read() {
			levels[l.Level]++
		}
		if n := w.count(certmanager.EventExpiring); n != 0 || levels[slog.LevelError] != 0 || levels[slog.LevelWarn] != len(names) {
			t.Errorf("%d events of an end near, lines %v", n, levels)
		}
	})
}

// TestBriefOutageIsNoError has the storage fail for six seconds when a renewal is due, some with less than a third of the lifetime left:
// nothing says that an end comes near.
func TestBriefOutageIsNoError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ca, names := newWorld(t), newLocalCA(t, "local"), siteNames(20)
		ca.lifetime = 45 * 24 * time.Hour
		s := &storagetest.Faulty{Store: w.store}
		config, log := w.issuedBy([]certmanager.Issuer{ca}, names...), new(book)
		config.Storage, config.Logger = s, log.logger()
		m, stop := w.serving(config)
		defer stop()
		due := make([]time.Time, len(names))
		for i, name := range names {
			w.await(certmanager.EventObtained, name, 1)
			due[i] = statusOf(t, m, name).Next
		}
		slices.SortFunc(due, time.Time.Compare)
		failed := 0
		for _, at := range due {
			time.Sleep(time.Until(at.Add(-time.Millisecond)))
			s.SetFaults(storagetest.Fault{Err: errDisk})
			time.Sleep(6 * time.Second)
			for status := range m.All() {
				if status.Attempts > 3 {
					failed++
				}
			}
			s.SetFaults()
		}
		for _, name := range names {
			w.await(certmanager.EventObtained, name, 2)
		}
		if failed == 0 {
			t.Error("no renewal has failed more than three times: it is not the outage that was meant")
		}
		if n := w.count(certmanager.EventExpiring); n != 0 {
			t.Errorf("%d events of an end near", n)
		}
		for _, l := range log.read() {
			if l.Level == slog.LevelError {
				t.Errorf("an error: %s", l.text)
			}
		}
	})
}

// TestPolicyIsToldOfAtABoundedRate has clients ask for names that are denied, or that the policy does not answer for.
func TestPolicyIsToldOfAtABoundedRate(t *testing.T) {
	t.Parallel()
	days := 39
	if raceDetector {
		days = 20
	}
	for _, test := range []struct {
		err  error
		want slog.Level
	}{
		{certmanager.ErrDenied, slog.LevelInfo},
		{errors.New("the database is down"), slog.LevelWarn},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			config, log := w.config("example.com"), new(book)
			config.Logger = log.logger()
			config.OnDemand = func(context.Context, certmanager.Question) error { return test.err }
			m, stop := w.serving(config)
			defer stop()
			begun := len(log.read())
			for hour := range days * 24 {
				for i := range 3 {
					if certificate, _ := ask(t, m, fmt.Sprintf("n%d-%d.example.net", hour, i)); certificate != nil {
						t.Fatal("a certificate was had")
					}
				}
				time.Sleep(time.Hour)
			}
			lines := log.read()[begun:]
			if n := len(lines); n < 10 || n > 100 {
				t.Errorf("%d lines, want 10 to 100", n)
			}
			others := 0
			for _, l := range lines {
				var count struct{ Others int }
				if err := json.Unmarshal([]byte(l.text), &count); err != nil {
					t.Fatal(err)
				}
				others += count.Others
				if l.Level != test.want || !strings.Contains(l.Msg, test.err.Error()) {
					t.Errorf("line %s", l.text)
				}
			}
			if others += len(lines); others < 3*(days-1)*24 {
				t.Errorf("the lines tell of %d names", others)
			}
		})
	}
}

// TestPolicyFailsForLong has the policy fail for as long as a certificate on demand is served, and longer.
func TestPolicyFailsForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(ca *acmetest.Server) { ca.Lifetime = 45 * 24 * time.Hour })
		config, log := w.config(), new(book)
		config.Logger = log.logger()
		var down bool
		var mu sync.Mutex
		config.OnDemand = func(context.Context, certmanager.Question) error {
			mu.Lock()
			defer mu.Unlock()
			if down {
				return errors.New("the database is down")
			}
			return nil
		}
		_, stop := w.start(config)
		defer stop()
		if _, err := w.handshakeWithin("example.com", time.Minute); err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		down = true
		mu.Unlock()
		time.Sleep(67 * 24 * time.Hour)
		lines, shared := log.about("example.com")
		if n := len(lines); n < 5 || n > 100 || shared > 100 {
			t.Errorf("%d lines, and %d about all", n, shared)
		}
		w.checkStages("example.com", lines)
	})
}

// TestWaitForALeaseIsTold has another process hold the lease of a renewal through the end of the certificate: the log says once that
// it is waited for, and whose lease it is, and then that the end comes near.
func TestWaitForALeaseIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ca := newWorld(t), newLocalCA(t, "local")
		ca.lifetime = 45 * 24 * time.Hour
		config, log := w.issuedBy([]certmanager.Issuer{ca}, "example.com"), new(book)
		config.Logger = log.logger()
		_, stop := w.serving(config)
		defer stop()
		time.Sleep(25 * 24 * time.Hour)
		begun, key := len(log.read()), record.WorkKey("local", "example.com", string(certmanager.ECDSAP256))
		hold(t, w.store, key)
		time.Sleep(21 * 24 * time.Hour)
		waits := 0
		lines := log.read()[begun:]
		for _, l := range lines {
			if l.Msg == "waiting for another process that is at work on the certificate, or was killed at it" && l.Level == slog.LevelInfo &&
				strings.Contains(l.text, key) && strings.Contains(l.text, `["example.com"]`) {
				waits++
			}
		}
		if waits != 1 || len(lines) > 10 {
			t.Errorf("%d lines say that the lease is waited for, of %d", waits, len(lines))
		}
		about, _ := log.about("example.com")
		w.checkStages("example.com", about)
	})
}
