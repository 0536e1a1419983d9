package dnsserver

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// A Server answers questions about its zones. It may serve several sockets, for which its bounds hold together.
type Server struct {
	Zones *Zones

	// Records returns the records that there are at some time after the call; with an error, those that were known, of which
	// one that is asked for is answered still. Several calls may be made at once.
	Records func(ctx context.Context) (*Records, error)

	rate        rateLimit
	waiting     atomic.Int64 // questions over UDP that wait for records
	connections connections
}

// Serve answers what comes on both, each of which may be nil, until ctx ends. It closes them. If one fails, it returns why;
// otherwise nil. No goroutine is left then.
func (s *Server) Serve(ctx context.Context, packets net.PacketConn, listener net.Listener) error {
	group, serving := errgroup.WithContext(ctx)
	if packets != nil {
		defer context.AfterFunc(serving, func() { packets.Close() })()
		group.Go(func() error { return s.servePackets(serving, newDatagrams(packets)) })
	}
	if listener != nil {
		defer context.AfterFunc(serving, func() { listener.Close() })()
		group.Go(func() error { return s.serveConnections(serving, listener) })
	}
	err := group.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// A socket's errors may be somebody else's, such as that there are too many open files, or that an answer was not taken.
const (
	maxErrors  = 100 // one after the other
	errorPause = 50 * time.Millisecond
)

// isPassing waits a moment after an error of a socket, and reports whether it is worth while to try again.
func isPassing(ctx context.Context, err error, failures int) bool {
	if errors.Is(err, net.ErrClosed) || failures >= maxErrors {
		return false
	}
	select {
	case <-time.After(errorPause):
		return true
	case <-ctx.Done():
		return false
	}
}

// answer returns the reply to a question, with what records it needs.
func (s *Server) answer(ctx context.Context, a *answerer) *reply {
	records := new(Records)
	if a.needsRecords() {
		var err error
		if records, err = s.Records(ctx); err != nil && (records == nil || len(records.Texts(a.name)) == 0) {
			return a.failure()
		}
	}
	return a.reply(records)
}
