package index

import (
	"fmt"
	"hash/maphash"
	"math"
	"testing"
)

// TestEqualHashes has names whose hashes are the same, and choose the last slot: each is found all the same, from the first slot on,
// and one that the shard does not hold is not found. So it is when one of them has gone, or all have been spread over more shards.
func TestEqualHashes(t *testing.T) {
	const hash = math.MaxUint64
	var added []slot[int]
	for i := range 10 {
		added = append(added, slot[int]{hash, fmt.Sprint(i, ".example.com"), i})
	}
	s := empty[int](0, 0).with(added)
	check := func(s *shard[int], gone map[string]bool) {
		t.Helper()
		if s.names != len(added)-len(gone) {
			t.Errorf("%d names", s.names)
		}
		for _, want := range added {
			if at := s.find(hash, want.name); (at.mark == 0) != gone[want.name] || !gone[want.name] && *at != want {
				t.Errorf("%s: found %+v", want.name, *at)
			}
		}
		if at := s.find(hash, "other.example.com"); at.mark != 0 {
			t.Errorf("found %+v for a name that is not there", *at)
		}
	}
	check(s, nil)
	check(s.with(added[3:5]), nil) // in place of themselves
	gone := map[string]bool{added[0].name: true, added[7].name: true}
	check(s.without(gone), gone)
	parts := s.split(nil, 2)
	check(parts[hash&3], nil)
	for i, part := range parts[:hash&3] {
		if part.names != 0 {
			t.Errorf("part %d has %d names", i, part.names)
		}
	}
}

// TestVacancy adds names one by one and some at a time: of the slots, enough stay vacant for searches to end soon, and no more than half and one.
func TestVacancy(t *testing.T) {
	seed := maphash.MakeSeed()
	s := empty[int](0, 0)
	grown := 0
	for i := range 1_000 {
		var added []slot[int]
		for j := range 1 + i%7*(i%2) {
			name := fmt.Sprint(i, ".", j, ".example.com")
			added = append(added, slot[int]{markOf(seed, name), name, i})
		}
		before := len(s.slots)
		s = s.with(added)
		if len(s.slots) != before {
			grown++
		}
		if full := float64(s.names) / float64(len(s.slots)); full > 9./16 || len(s.slots) > 2*s.names+1 {
			t.Fatalf("%d names in %d slots", s.names, len(s.slots))
		}
	}
	if grown == 0 || grown > 200 {
		t.Errorf("the slots were made anew %d times for 1,000 additions", grown)
	}
}

// TestMark has the hash of a name never look like a vacant slot.
func TestMark(t *testing.T) {
	seed := maphash.MakeSeed()
	for i := range 64 {
		if mark := markOf(seed, fmt.Sprint(i)); mark&(1<<32) == 0 {
			t.Errorf("%x", mark)
		}
	}
}
