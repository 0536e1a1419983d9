package certmanager

import "sync"

// Findings are what the checks of one issuance have shown so far.
type findings struct {
	mu      sync.Mutex
	pending map[exemption]bool // whose checks are under way; guarded by mu
	faults  map[exemption]bool // that were seen, or (true) did not show in time; guarded by mu
}

func newFindings() findings {
	return findings{pending: make(map[exemption]bool), faults: make(map[exemption]bool)}
}

// begin notes that a check is under way.
func (f *findings) begin(spot exemption) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pending[spot] = true
}

// done notes what a check has shown, and reports whether it did so in time.
func (f *findings) done(spot exemption, fault bool) (inTime bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.pending, spot)
	inTime = !f.faults[spot]
	if fault {
		f.faults[spot] = false
	}
	return inTime
}

// noteSlow notes that the answers whose checks are under way have not shown in time.
func (f *findings) noteSlow() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for spot := range f.pending {
		f.faults[spot] = true
	}
}

// isSlow reports whether several other names of the order have not shown in time. The next ones would not either.
func (f *findings) isSlow(challengeType string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	names := 0
	for spot, slow := range f.faults {
		if slow && spot.challengeType == challengeType {
			names++
		}
	}
	return names >= maxSlowNames
}
