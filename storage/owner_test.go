package storage

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestOwnerWithinOneProcess(t *testing.T) {
	d := Dir(t.TempDir())
	owner, unmark, err := d.MarkOwner(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	other, unmarkOther, err := (d + "/").MarkOwner(t.Context())
	if err != nil || owner == other {
		t.Fatalf("two owners are %q and %q (%v)", owner, other, err)
	}
	want := func(dead bool, owner string) {
		t.Helper()
		if got, err := d.OwnerDead(t.Context(), owner); got != dead || err != nil {
			t.Errorf("OwnerDead(%q) = %t, %v, want %t", owner, got, err, dead)
		}
	}
	want(false, owner)
	want(false, other)
	d.ForgetOwner("none of ours")
	want(false, owner)
	unmark()
	want(true, owner)
	want(false, other)
	unmarkOther()
	want(true, other)
}

func TestOwnerUnknown(t *testing.T) {
	d := Dir(t.TempDir())
	foreign := strings.Repeat("0", 16) + "-" + strings.Repeat("a", 26)
	kernel, err := kernelID()
	if err != nil {
		t.Fatal(err)
	}
	for _, owner := range []string{
		"", "x", foreign, "../lease", kernel, kernel + "-", kernel + "-../" + strings.Repeat("a", 23), kernel + "-" + strings.Repeat("A", 26),
		kernel + "-" + strings.Repeat("a", 1000), strings.Repeat("a", 26),
	} {
		if dead, err := d.OwnerDead(t.Context(), owner); dead || err != nil {
			t.Errorf("OwnerDead(%.60q) = %t, %v, want false: it may live elsewhere", owner, dead, err)
		}
	}
}

// TestForgetOwner shows which files go: those of the dead under this kernel, and that of the one who has lost its lease.
func TestForgetOwner(t *testing.T) {
	d := Dir(t.TempDir())
	living, unmark, err := d.MarkOwner(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer unmark()
	kernel, _, _ := strings.Cut(living, "-")
	dead := kernel + "-" + strings.Repeat("a", 26)
	foreign := strings.Repeat("0", 16) + "-" + strings.Repeat("a", 26)
	foreignLoser := strings.Repeat("0", 16) + "-" + strings.Repeat("b", 26)
	for _, name := range []string{dead, foreign, foreignLoser, "notes.txt"} {
		if err := os.WriteFile(filepath.Join(string(d), ownerFolder, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d.ForgetOwner(foreignLoser)
	for name, stays := range map[string]bool{living: true, dead: false, foreign: true, foreignLoser: false, "notes.txt": true} {
		_, err := os.Lstat(filepath.Join(string(d), ownerFolder, name))
		if stays != (err == nil) {
			t.Errorf("%s: %v, want it to stay: %t", name, err, stays)
		}
	}
}

// TestOwnerBesideSweep marks owners while others remove the files of dead ones: none may lose its file.
func TestOwnerBesideSweep(t *testing.T) {
	d := Dir(t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	var sweepers sync.WaitGroup
	for range 2 {
		sweepers.Go(func() {
			for ctx.Err() == nil {
				d.ForgetOwner("")
			}
		})
	}
	for range 300 {
		owner, unmark, err := d.MarkOwner(t.Context())
		if err != nil {
			t.Error(err)
			break
		}
		// A sweeper may have the file open and be about to find out that it is locked; it is there all the same.
		if _, err := os.Lstat(filepath.Join(string(d), ownerFolder, owner)); err != nil {
			t.Errorf("a living owner's file is gone: %v", err)
		}
		if dead, err := d.OwnerDead(t.Context(), owner); dead || err != nil {
			t.Errorf("a living owner is taken for dead: %t, %v", dead, err)
		}
		unmark()
	}
	cancel()
	sweepers.Wait()
}

func TestReleaseWaitsForRenewal(t *testing.T) {
	var s Memory
	for range 100 {
		lease, err := Acquire(t.Context(), &s, "lease", time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		if err := lease.Release(t.Context()); err != nil {
			t.Error(err)
		}
		select {
		case <-lease.stopped:
		default:
			t.Fatal("the renewal goes on after the release")
		}
	}
}

// TestDirLostLeaseIsFree shows that a holder which has noticed its loss does not keep others waiting.
func TestDirLostLeaseIsFree(t *testing.T) {
	d := Dir(t.TempDir())
	lost, err := Acquire(t.Context(), d, "lease", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	lost.mu.Lock()
	lost.deadline = time.Now()
	lost.mu.Unlock()
	lost.expire()
	if cause := context.Cause(lost.Context()); !errors.Is(cause, ErrLost) {
		t.Fatalf("not lost: %v", cause)
	}
	lease, err := Acquire(t.Context(), d, "lease", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range []*Lease{lost, lease} {
		if err := l.Release(t.Context()); err != nil {
			t.Error(err)
		}
	}
}
