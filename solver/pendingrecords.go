package solver

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/everseal/everseal/solver/internal/dnsserver"
	"github.com/everseal/everseal/storage"
)

// scanTimeout is for a scan of the pending records. Resolvers ask again, or another member, sooner than that.
const scanTimeout = 3 * time.Second

// pendingRecords stand between what the network asks for and the storage. All names cost the same: a scan of what is pending,
// on behalf of all who ask before it begins. So nobody is told what was there before he asked, and a flood of names, made up
// or not, costs no more than a few.
//
// The zero value is ready for use.
type pendingRecords struct {
	mu      sync.Mutex // guards what follows; not held while the storage is asked
	scans   allowance
	current *sharedScan     // under way
	next    *sharedScan     // which has not begun
	known   []pendingRecord // by the last scan that succeeded
	own     []ownRecord     // that this process has stored since that began
	failing bool            // the last scan has failed
}

// An ownRecord is one that this process has stored.
type ownRecord struct {
	pendingRecord
	stored time.Time // it was by then
}

// A sharedScan is one on behalf of all who asked before it began.
type sharedScan struct {
	after   *sharedScan   // that was under way
	done    chan struct{} // closed when there are results
	records *dnsserver.Records
	err     error
}

// add notes that this process has stored a record.
func (p *pendingRecords) add(r pendingRecord) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.own = append(p.own, ownRecord{r, time.Now()})
}

// remove notes that this process has deleted a record.
func (p *pendingRecords) remove(r pendingRecord) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.own = slices.DeleteFunc(p.own, func(o ownRecord) bool { return o.isAs(r) })
	p.known = slices.DeleteFunc(slices.Clone(p.known), r.isAs)
}

// read returns the records that the store has at some time after the call; with an error, those that were known.
func (p *pendingRecords) read(ctx context.Context, s storage.Store, logger *slog.Logger) (*dnsserver.Records, error) {
	p.mu.Lock()
	scan := p.next
	leads := scan == nil
	if leads {
		scan = &sharedScan{after: p.current, done: make(chan struct{})}
		p.next = scan
	}
	p.mu.Unlock()
	if leads {
		p.perform(context.WithoutCancel(ctx), s, scan) // for the others, too
		p.tell(ctx, scan.err, logger)
	}
	select {
	case <-scan.done:
		return scan.records, scan.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// perform makes the scan, when its turn has come.
func (p *pendingRecords) perform(ctx context.Context, s storage.Store, scan *sharedScan) {
	if scan.after != nil {
		<-scan.after.done
	}
	for wait := p.begin(scan); wait > 0; wait = p.begin(scan) {
		_ = pause(ctx, wait)
	}
	ctx, cancel := context.WithTimeout(ctx, scanTimeout)
	defer cancel()
	begun := time.Now()
	var found []pendingRecord
	err := errors.New("the scan of the pending records did not end") // if it panics
	defer func() { p.performed(scan, begun, found, err) }()
	found, err = scanPending(ctx, s)
}

// begin has the scan begin, or returns how long it must wait. Who asks from then on wants the next one.
func (p *pendingRecords) begin(scan *sharedScan) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	wait := p.scans.take(time.Now())
	if wait <= 0 {
		p.current, p.next = scan, nil
	}
	return wait
}

func (p *pendingRecords) performed(scan *sharedScan, begun time.Time, found []pendingRecord, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		p.known = found
		p.own = slices.DeleteFunc(p.own, func(o ownRecord) bool { return o.stored.Before(begun) }) // it was found, or others have deleted it
		scan.records = answersOf(found)
	} else {
		scan.records = answersOf(p.known, p.ownRecords())
	}
	scan.err = err
	p.current = nil
	close(scan.done)
}

func (p *pendingRecords) ownRecords() (records []pendingRecord) {
	for _, o := range p.own {
		records = append(records, o.pendingRecord)
	}
	return records
}

// tell logs the first of several failures, and that they are over.
func (p *pendingRecords) tell(ctx context.Context, err error, logger *slog.Logger) {
	p.mu.Lock()
	told := p.failing == (err != nil)
	p.failing = err != nil
	p.mu.Unlock()
	switch {
	case told:
	case err != nil:
		logger.LogAttrs(ctx, slog.LevelWarn, "the records of DNS challenges can't be read from the storage: questions for those that are not known yet fail",
			slog.String("error", err.Error()))
	default:
		logger.LogAttrs(ctx, slog.LevelInfo, "the records of DNS challenges can be read from the storage again")
	}
}
