package storagetest_test

import (
	"context"
	"errors"
	"iter"
	"strings"

	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/storagetest"
)

// flawedSeams is a Memory whose Scan, List under way, or Watch have one flaw.
type flawedSeams struct {
	storagetest.Faulty
	flaw string
}

// isSeam reports whether the flaw is one of flawedSeams.
func isSeam(flaw string) bool {
	return strings.HasPrefix(flaw, "scan ") || strings.HasPrefix(flaw, "listing ends when") || strings.HasPrefix(flaw, "watch ")
}

func (f *flawedSeams) Scan(ctx context.Context, prefix, cursor string) iter.Seq2[storage.Record, error] {
	plain := struct{ storage.Store }{f.Unwrap()} // no Scanner: List and Load
	return func(yield func(storage.Record, error) bool) {
		if f.flaw == "scan ignores the prefix" && prefix != "../a" {
			prefix = ""
		}
		passed := false
		for record, err := range storage.Scan(ctx, plain, prefix, cursor) {
			switch {
			case f.flaw == "scan loses what is below" && strings.Count(record.Key, "/") > 1,
				f.flaw == "scan passes over one after the cursor" && cursor != "" && !passed:
				passed = true
				continue
			case f.flaw == "scan ends when others write" && passed:
				if f.changed(ctx) {
					return
				}
			}
			passed = true
			if !yield(record, err) {
				return
			}
		}
	}
}

// changed reports whether any record below still/busy is not as it was.
func (f *flawedSeams) changed(ctx context.Context) bool {
	n := 0
	for key := range f.List(ctx, "still/busy") {
		if item, err := f.Load(ctx, key); err == nil && string(item.Value) == "x" {
			n++
		}
	}
	return n > 0 && n < 30
}

func (f *flawedSeams) List(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		n := 0
		for key, err := range f.Faulty.List(ctx, prefix) {
			if n++; f.flaw == "listing ends when others write" && n > 1 && f.changedBeside(ctx) {
				return
			}
			if !yield(key, err) {
				return
			}
		}
	}
}

// changedBeside reports whether the first record below still/busy is not as it was.
func (f *flawedSeams) changedBeside(ctx context.Context) bool {
	item, err := f.Load(ctx, "still/busy/0")
	return err == nil && string(item.Value) == "y"
}

func (f *flawedSeams) Watch(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		within := prefix
		if f.flaw == "watch ignores the prefix" && prefix != "../a" {
			within = ""
		}
		for key, err := range f.Faulty.Watch(ctx, within) {
			switch {
			case f.flaw == "watch does not say that it listens" && key == "" && err == nil:
				continue
			case f.flaw == "watch is deaf to deletions" && err == nil && key != "":
				if _, err := f.Load(ctx, key); err != nil {
					continue
				}
			case f.flaw == "watch ends in silence" && err != nil,
				f.flaw == "watch ends in silence after a cut" && errors.Is(err, storagetest.ErrFault):
				return
			case f.flaw == "watch is deaf after a cut" && errors.Is(err, storagetest.ErrFault):
				<-ctx.Done()
				err = ctx.Err()
			}
			if !yield(key, err) {
				return
			}
		}
	}
}
