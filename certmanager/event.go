package certmanager

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/everseal/everseal/solver/diagnose"
)

// An EventKind says what happened.
type EventKind string

// The kinds of event.
const (
	EventLoaded EventKind = "loaded" // a certificate was found in the storage and is served
	// A local copy of the certificate is served, as it was at Since, while the storage can't be read: see storage.Cached.
	EventCopied    EventKind = "copied"
	EventObtaining EventKind = "obtaining" // work on a new certificate begins, or is resumed
	EventObtained  EventKind = "obtained"  // a new certificate was stored and is served
	EventFailed    EventKind = "failed"    // an attempt failed, maybe before a restart; Next says when the next one is due
	EventDeleted   EventKind = "deleted"   // another process has deleted the certificate: it is not served or renewed here, until it is managed anew
	EventRevoked   EventKind = "revoked"   // the issuer has revoked the certificate, as Manager.Revoke wanted
	// The issuer wants the certificate renewed far earlier than planned, or explains when it does (RFC 9773).
	EventRescheduled EventKind = "rescheduled"
	EventExpiring    EventKind = "expiring" // the end of a certificate comes near, and its renewal fails
	// An issuer can't be asked for any name, such as for want of an account or because it is down; or it can again.
	// These two are of no certificate: Names is empty.
	EventUnavailable EventKind = "unavailable"
	EventAvailable   EventKind = "available"
	EventCorrupt     EventKind = "corrupt" // a stored record can't be used, and was copied aside, or is gone; it is replaced
	EventWarning     EventKind = "warning" // something wants attention, work continues
)

// An Event is something that happened to a certificate.
type Event struct {
	Kind     EventKind `json:"kind"`
	Time     time.Time `json:"time"`
	Names    []string  `json:"names,omitempty"`    // of the certificate; empty if it concerns an issuer
	Issuer   string    `json:"issuer,omitempty"`   // ID of the issuer concerned; may be empty
	Renewal  bool      `json:"renewal,omitempty"`  // with obtaining, obtained and failed: a certificate for the names was there before
	Serial   string    `json:"serial,omitempty"`   // serial number in hexadecimal, with loaded, copied, obtained and rescheduled
	NotAfter time.Time `json:"notAfter,omitzero"`  // with loaded, copied, obtained and rescheduled; with failed and expiring, that of the certificate there is; UTC
	Next     time.Time `json:"next,omitzero"`      // when the next attempt or renewal is due
	Attempts int       `json:"attempts,omitempty"` // with failed and expiring: failures in a row
	Since    time.Time `json:"since,omitzero"`     // with failed and expiring: when the first of them was, with expiring and none when the renewal was due; with available: since when it was not; with copied: when the copy was made; UTC
	Err      error     `json:"-"`                  // with copied, failed, expiring, unavailable, corrupt and warning

	ExplanationURL string `json:"explanationURL,omitempty"` // with rescheduled: the issuer's page on the reason; empty: it names none

	// Diagnoses say, with failed and warning, what this process saw of the failed validations, or of those
	// that it expects to fail. Their causes and cures stand in Err's text, too.
	Diagnoses []*diagnose.Report `json:"diagnoses,omitempty"`

	// Missed is how many events before this one were dropped, because Config.OnEvent has not returned in time. The
	// log has them.
	Missed int `json:"missed,omitempty"`

	quiet   bool // the log shows it at DEBUG alone: the like was told lately
	loud    bool // the log shows a failure as an error: the end of the certificate is near
	similar int  // the like of other certificates that the log showed at DEBUG alone
}

// A shownEvent is an Event as JSON has it.
type shownEvent struct {
	eventFields
	Error string `json:"error,omitempty"`
}

// eventFields are those of an Event without its methods, for JSON not to call them again.
type eventFields Event

// MarshalJSON shows the error's text as "error".
func (e Event) MarshalJSON() ([]byte, error) {
	shown := shownEvent{eventFields: eventFields(e)}
	if e.Err != nil {
		shown.Error = e.Err.Error()
	}
	return json.Marshal(shown)
}

// UnmarshalJSON reads what MarshalJSON gave. Of the error only the text is left.
func (e *Event) UnmarshalJSON(data []byte) error {
	var shown shownEvent
	if err := json.Unmarshal(data, &shown); err != nil {
		return err
	}
	*e = Event(shown.eventFields)
	if shown.Error != "" {
		e.Err = errors.New(shown.Error)
	}
	return nil
}

// LogValue shows the event in a log. What Diagnoses have beyond causes and cures, which stand in the error, is left out.
func (e Event) LogValue() slog.Value {
	attrs := e.attrs()
	if e.Err != nil {
		attrs = append(attrs, slog.String("error", e.Err.Error()))
	}
	return slog.GroupValue(attrs...)
}

// attrs are what the log has beside the message.
func (e *Event) attrs() []slog.Attr {
	var attrs []slog.Attr
	if len(e.Names) > 0 {
		attrs = append(attrs, slog.Any("names", e.Names))
	}
	if e.Issuer != "" {
		attrs = append(attrs, slog.String("issuer", e.Issuer))
	}
	if e.Renewal {
		attrs = append(attrs, slog.Bool("renewal", true))
	}
	if e.Serial != "" {
		attrs = append(attrs, slog.String("serial", e.Serial))
	}
	if !e.NotAfter.IsZero() {
		attrs = append(attrs, slog.Time("notAfter", e.NotAfter))
	}
	if e.Attempts > 0 {
		attrs = append(attrs, slog.Int("attempts", e.Attempts))
	}
	if !e.Since.IsZero() {
		attrs = append(attrs, slog.Time("since", e.Since))
	}
	if !e.Next.IsZero() {
		attrs = append(attrs, slog.Time("next", e.Next))
	}
	if e.ExplanationURL != "" {
		attrs = append(attrs, slog.String("explanationURL", e.ExplanationURL))
	}
	if e.similar > 0 {
		attrs = append(attrs, slog.Int("similar", e.similar))
	}
	return attrs
}

// message returns what a log says of the event: of a failure, why.
func (e *Event) message() string {
	cause := "for no known reason"
	if e.Err != nil {
		cause = strings.TrimPrefix(e.Err.Error(), "certmanager: ")
	}
	switch e.Kind {
	case EventLoaded:
		return "certificate loaded"
	case EventCopied:
		return "a copy of the certificate is served, for the storage can't be read: " + cause
	case EventObtaining:
		return "obtaining a certificate"
	case EventObtained:
		return "certificate obtained"
	case EventRevoked:
		return "certificate revoked"
	case EventDeleted:
		return "another process has deleted the certificate: it is not served any longer"
	case EventFailed:
		return "no certificate obtained: " + cause
	case EventRescheduled:
		return "the issuer says when the certificate is to be renewed, for a reason of its own"
	case EventUnavailable:
		return "the issuer can't be asked, and all names wait: " + cause
	case EventAvailable:
		return "the issuer answers again"
	case EventExpiring:
		if !e.NotAfter.After(time.Now()) {
			return "the certificate has expired, and none is obtained: " + cause
		}
		return "the certificate is not renewed, and its end comes near: " + cause
	}
	return cause
}

// level returns how loudly a log says it.
func (e *Event) level() slog.Level {
	switch {
	case e.quiet:
		return slog.LevelDebug
	case e.Kind == EventExpiring, e.Kind == EventFailed && e.loud:
		return slog.LevelError
	case e.Err != nil:
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

// emit logs the event and has the configuration's function told of it.
func (m *Manager) emit(ctx context.Context, e Event) {
	if e.Kind == EventLoaded && e.quiet && m.config.OnEvent == nil && !m.logger.Enabled(ctx, slog.LevelDebug) {
		return // of which there may be a million at a start
	}
	m.counters.attempts.count(&e)
	e.Diagnoses = diagnosesOf(e.Err)
	m.logger.LogAttrs(ctx, e.level(), e.message(), slog.Attr{Key: "certificate", Value: slog.GroupValue(e.attrs()...)})
	for _, diagnosis := range e.Diagnoses {
		m.logger.LogAttrs(ctx, slog.LevelDebug, "what was seen of the cause", slog.Any("names", e.Names), slog.Any("diagnosis", diagnosis))
	}
	if e.Kind == EventWarning {
		logPanic(ctx, m.logger, e.Err) // of a solver's CleanUp; those that an attempt fails for are logged where they come up
	}
	m.announcer.tell(e)
}
