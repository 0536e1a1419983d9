package certmanager

import (
	"bytes"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// numbered returns events whose serial numbers tell them apart.
func numbered(from, to int) []Event {
	var events []Event
	for i := from; i < to; i++ {
		events = append(events, Event{Serial: strconv.Itoa(i)})
	}
	return events
}

func numberOf(e Event) int {
	n, err := strconv.Atoi(e.Serial)
	if err != nil {
		panic(err) // it is none of numbered
	}
	return n
}

func TestAnnouncerDropsTheOldest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const more = 100
		release := make(chan struct{})
		var told []Event
		a := &announcer{onEvent: func(e Event) {
			<-release
			told = append(told, e)
		}}
		a.tell(numbered(0, 1)[0])
		synctest.Wait() // it is under way, and waits no more
		for _, e := range numbered(1, 1+maxEvents+more) {
			a.tell(e)
		}
		close(release)
		a.finish()
		if len(told) != 1+maxEvents {
			t.Fatalf("%d events were told, want the first and the last %d", len(told), maxEvents)
		}
		for i, e := range told {
			number, missed := i, 0
			if i > 0 {
				number += more
			}
			if i == 1 {
				missed = more
			}
			if numberOf(e) != number || e.Missed != missed {
				t.Errorf("event %d is number %d and tells of %d that were missed, want number %d and %d", i, numberOf(e), e.Missed, number, missed)
			}
			if i > 0 && e.Time.Before(told[i-1].Time) {
				t.Errorf("event %d has an earlier time than the one before", i)
			}
		}
	})
}

// An event that is told while another is delivered is delivered after it, and not at the same time.
func TestAnnouncerTellsOneAfterAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a announcer
		var told []int
		calls := 0
		waiting := make(chan struct{}) // closed when the first ones do
		a.onEvent = func(e Event) {
			<-waiting
			if calls++; calls > 1 {
				t.Error("two calls at once")
			}
			if numberOf(e) < 3 {
				a.tell(numbered(numberOf(e)+10, numberOf(e)+11)[0])
			}
			time.Sleep(time.Second)
			told = append(told, numberOf(e))
			calls--
		}
		for _, e := range numbered(0, 3) {
			a.tell(e)
		}
		close(waiting)
		a.finish()
		want := []int{0, 1, 2, 10, 11, 12}
		if len(told) != len(want) {
			t.Fatalf("told %v, want %v", told, want)
		}
		for i := range want {
			if told[i] != want[i] {
				t.Fatalf("told %v, want %v", told, want)
			}
		}
		a.finish() // nothing waits
	})
}

func TestAnnouncerPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		var told []int
		a := &announcer{logger: slog.New(slog.NewTextHandler(&log, nil)), onEvent: func(e Event) {
			if numberOf(e) == 0 {
				panic("no disk")
			}
			told = append(told, numberOf(e))
		}}
		for _, e := range numbered(0, 2) {
			a.tell(e)
		}
		a.finish()
		if len(told) != 1 || told[0] != 1 {
			t.Errorf("after the panic %v was told, want the second event", told)
		}
		for _, word := range []string{"level=ERROR", "Config.OnEvent panicked", "no disk", "TestAnnouncerPanics"} {
			if !strings.Contains(log.String(), word) {
				t.Errorf("the log lacks %q: %s", word, log.String())
			}
		}
	})
}

// A call that blocks is left behind, and what waited is not delivered when it returns at last.
func TestAnnouncerLeavesBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var told []Event
		a := &announcer{onEvent: func(e Event) {
			<-release
			told = append(told, e)
		}}
		for _, e := range numbered(0, 3) {
			a.tell(e)
		}
		synctest.Wait()
		begun := time.Now()
		a.finish()
		if waited := time.Since(begun); waited != farewellTimeout {
			t.Errorf("it was waited for %v, want %v", waited, farewellTimeout)
		}
		close(release)
		synctest.Wait()
		a.tell(numbered(3, 4)[0])
		a.finish()
		if len(told) != 2 || numberOf(told[1]) != 3 || told[1].Missed != 2 {
			t.Errorf("told %v; want the first and the last event, which tells that two were missed", told)
		}
	})
}
