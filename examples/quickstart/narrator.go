package main

import (
	"fmt"
	"io"
	"log"
	"strings"
	"sync"
	"time"

	"github.com/everseal/everseal/certmanager"
)

// A narrator tells a newcomer what happens, as it happens.
type narrator struct {
	curl string // the command that gets the page

	mu      sync.Mutex // guards what follows
	out     io.Writer
	invited bool
}

func (n *narrator) print(format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	fmt.Fprintf(n.out, format+"\n", args...)
}

// say prints a sentence with the time before it.
func (n *narrator) say(format string, args ...any) {
	n.print(clock(time.Now())+"  "+format, args...)
}

func (n *narrator) complain(err error) { n.say("%v", err) }

// errorLog returns a log for the server, whose lines look like all others.
func (n *narrator) errorLog() *log.Logger { return log.New(logWriter{n}, "", 0) }

type logWriter struct{ n *narrator }

func (w logWriter) Write(line []byte) (int, error) {
	w.n.say("The server says: %s", strings.TrimSpace(string(line)))
	return len(line), nil
}

// onEvent is the manager's Config.OnEvent.
func (n *narrator) onEvent(e certmanager.Event) {
	names := strings.Join(e.Names, ", ")
	switch e.Kind {
	case certmanager.EventLoaded:
		if !e.Time.Before(e.Next) {
			n.say("The storage has a certificate for %s, serial number %s, which is due for renewal.", names, e.Serial)
			return
		}
		n.say("The storage has a certificate for %s: nothing is ordered.", names)
		n.served(e)
	case certmanager.EventObtaining:
		if e.Renewal {
			n.say("A new certificate for %s is ordered from the CA.", names)
		} else {
			n.say("A certificate for %s is ordered from the CA.", names)
		}
	case certmanager.EventObtained:
		n.say("The certificate for %s has come.", names)
		n.served(e)
	case certmanager.EventFailed:
		n.say("No certificate: %v. The next attempt is due at %s.", e.Err, clock(e.Next))
	default:
		n.say("%v", e.Err)
	}
}

// served tells of the certificate that is served from now on.
func (n *narrator) served(e certmanager.Event) {
	n.say("It is served now: serial number %s, valid until %s, to be renewed at %s.", e.Serial, clock(e.NotAfter), clock(e.Next))
	n.invite()
}

// invite prints, once, how to get the page.
func (n *narrator) invite() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.invited {
		return
	}
	n.invited = true
	fmt.Fprintf(n.out, "\nTry this, before and after a renewal (Ctrl-C stops the server):\n\n%s\n\n", n.curl)
}

// clock returns the time as a wall clock shows it, with the date if that is not today.
func clock(t time.Time) string {
	t = t.Local()
	if now := time.Now(); t.YearDay() != now.YearDay() || t.Year() != now.Year() {
		return t.Format("2006-01-02 15:04:05")
	}
	return t.Format(time.TimeOnly)
}
