package certmanager

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager/internal/record"
)

// notes are what an ACME issuer records of an order under way.
type notes struct {
	OrderURL string       `json:"orderURL,omitempty"`
	Proofs   []acme.Proof `json:"proofs,omitempty"` // presented, perhaps not yet cleaned up
	// FinalizedAt is when the CA was asked for the certificate last (see acme.Request). Of an order that was left
	// without a word of it, it is when it was first resumed, at the latest.
	FinalizedAt time.Time `json:"finalizedAt,omitzero"`
	// DryRun are those of the dry run that is under way.
	DryRun json.RawMessage `json:"dryRun,omitempty"`
}

// read reads a journal. If it is unreadable, what it tells of costs an unused order at most.
func (n *notes) read(journal []byte) {
	if json.Unmarshal(journal, n) != nil {
		*n = notes{}
	}
	if record.IsAhead(n.FinalizedAt, time.Now()) {
		n.FinalizedAt = time.Time{} // noted by a wrong clock: the order would be processed for ever
	}
}

// restart forgets the order, and keeps what has to be cleaned up.
func (n *notes) restart() { *n = notes{Proofs: n.Proofs} }

// order notes the order that is worked on, and reports whether anything has changed.
func (n *notes) order(url string, now time.Time) bool {
	switch {
	case url != n.OrderURL:
		n.OrderURL = url
	case n.FinalizedAt.IsZero():
		// Whoever left the order may have been killed while the CA processed it.
		n.FinalizedAt = now.UTC()
	default:
		return false
	}
	return true
}

func (n *notes) add(proofs []acme.Proof) {
	for _, p := range proofs {
		if !slices.ContainsFunc(n.Proofs, func(q acme.Proof) bool { return q.URL == p.URL && q.KeyAuthorization == p.KeyAuthorization }) {
			n.Proofs = append(n.Proofs, p)
		}
	}
}

// tellProofs tells how control of the names was proved in this order, as far as answers were presented for it: of each
// name what was tried last.
func (n *notes) tellProofs(tell func(acme.Proof, time.Time)) {
	if tell == nil {
		return
	}
	for i, p := range n.Proofs {
		again := func(later acme.Proof) bool { return orderedName(later) == orderedName(p) }
		if !slices.ContainsFunc(n.Proofs[i+1:], again) {
			tell(p, n.FinalizedAt)
		}
	}
}

// finalize notes that the CA is about to be asked for the certificate, or was.
func (n *notes) finalize(before acme.Action, now time.Time) {
	if before == acme.ActionFinalize || n.FinalizedAt.IsZero() {
		n.FinalizedAt = now.UTC()
	}
}
