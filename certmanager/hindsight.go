package certmanager

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"time"

	"github.com/everseal/everseal/storage"
)

// Ages from which on nobody is taken to need what is stored.
const (
	endedAge = 30 * 24 * time.Hour // of the end of a certificate that nobody manages
	quietAge = 60 * 24 * time.Hour // of the last that was done for a certificate, and of an answer to a challenge
	copyAge  = 90 * 24 * time.Hour // of a copy of what could not be read, since it was seen first
	probeAge = time.Hour           // of what was written to see whether it can be, since it was seen first
)

const (
	// maxLead is how far the time of a sweep may be ahead of the newest certificate that was seen. It is at most the age of
	// an end: whatever the clock says, a certificate that is valid does not seem to have ended so long ago.
	maxLead = endedAge
	// maxSightings bounds the records whose age is found out at one time. Beyond it one is forgotten that was not seen lately, as a
	// lease that somebody held at the moment.
	maxSightings = 500
)

// A hindsight tells how old things are: by the clock, as far as that agrees with what public CAs have signed, for a clock
// that is ahead by years must not let everything seem old.
type hindsight struct {
	Newest time.Time `json:"newest,omitzero"` // when the newest certificate that was seen begins

	// Seen are the records that tell nothing of their age, at their revision: when they were seen first and last.
	Seen map[string]sighting `json:"seen,omitempty"`

	lately time.Duration // in which all records are seen that are still there
}

// A sighting is the first and the last hour of those since 1970 in which something was seen.
type sighting [2]int64

// see notes when a certificate begins.
func (h *hindsight) see(begin time.Time) {
	if begin.After(h.Newest) && !begin.After(time.Now()) {
		h.Newest = begin.UTC()
	}
}

// now is the time by which is judged. Zero: no certificate was seen, and nothing is old.
func (h *hindsight) now() time.Time {
	if h.Newest.IsZero() || h.Newest.After(time.Now()) {
		return time.Time{}
	}
	return earlier(time.Now(), h.Newest.Add(maxLead))
}

// isOld reports whether a time is so long ago.
func (h *hindsight) isOld(t time.Time, age time.Duration) bool {
	return !t.IsZero() && t.Add(age).Before(h.now())
}

// hasStood reports whether a record has been seen unchanged for so long, and notes that it is seen.
func (h *hindsight) hasStood(r storage.Record, age time.Duration) bool {
	now := h.now()
	if now.IsZero() {
		return false
	}
	sum := sha256.Sum256([]byte(r.Key + "\n" + string(r.Revision)))
	id, hour := hex.EncodeToString(sum[:8]), hoursOf(now)
	seen, known := h.Seen[id]
	switch {
	case !known && len(h.Seen) >= maxSightings && !h.makeRoom(hour):
		return false // its turn comes
	case !known:
		seen[0] = hour
	}
	if h.Seen == nil {
		h.Seen = make(map[string]sighting)
	}
	h.Seen[id] = sighting{seen[0], hour}
	return time.Duration(hour-seen[0])*time.Hour >= age
}

// makeRoom forgets what was last seen before all others, if that was not lately by the hour it is, and reports whether there was any.
func (h *hindsight) makeRoom(hour int64) bool {
	oldest, last := "", hour-int64(h.lately/time.Hour)
	for id, s := range h.Seen {
		if s[1] < last {
			oldest, last = id, s[1]
		}
	}
	delete(h.Seen, oldest)
	return oldest != ""
}

// fade forgets what was not seen for long.
func (h *hindsight) fade() {
	last := hoursOf(h.now().Add(-copyAge))
	maps.DeleteFunc(h.Seen, func(_ string, s sighting) bool { return s[1] < last })
}

func hoursOf(t time.Time) int64 { return t.Unix() / int64(time.Hour/time.Second) }
