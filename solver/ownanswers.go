package solver

import (
	"time"

	"github.com/everseal/everseal/storage"
)

// answerTerm is for how long an answer is its presenter's alone: longer than the time from its
// presentation to the end of a CA's validation, which takes seconds. After that it counts as left
// behind if others wait for its place. Its presenter measures from before it was stored, the others
// from when they first saw it, each on its own clock: so none of them is early.
const answerTerm = 2 * time.Minute

// ownAnswers are the answers that this process has presented, by key. They are known without the
// storage as long as nobody else may have changed them. The zero value is empty.
type ownAnswers struct {
	answers map[string]ownAnswer
	limit   int // how many there may be before those that are over are dropped
}

type ownAnswer struct {
	answer
	since    time.Time        // it was stored after that
	revision storage.Revision // of its record
}

// add notes an answer.
func (o *ownAnswers) add(key string, own ownAnswer) {
	if o.answers == nil {
		o.answers = make(map[string]ownAnswer)
	}
	o.answers[key] = own
	if len(o.answers) <= o.limit {
		return
	}
	for key, own := range o.answers {
		if time.Since(own.since) >= answerTerm {
			delete(o.answers, key)
		}
	}
	o.limit = 2*len(o.answers) + 100
}

// remove forgets the answer under key if it is a, and returns the revision of its record; zero: it is not known.
func (o *ownAnswers) remove(key string, a answer) storage.Revision {
	own := o.answers[key]
	if own.KeyAuthorization != a.KeyAuthorization {
		return ""
	}
	delete(o.answers, key)
	return own.revision
}

// at returns the answer under key, if it is this process's.
func (o *ownAnswers) at(key string, now time.Time) (answer, bool) {
	own, ok := o.answers[key]
	return own.answer, ok && now.Sub(own.since) < answerTerm
}

// isYoung reports whether a was presented so lately that a validation which begins now will end within
// its term.
func (o *ownAnswers) isYoung(key string, a answer) bool {
	own := o.answers[key]
	return own.KeyAuthorization == a.KeyAuthorization && time.Since(own.since) < answerTerm/2
}
