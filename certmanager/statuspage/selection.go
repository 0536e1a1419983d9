package statuspage

import (
	"math/rand/v2"
	"slices"

	"github.com/everseal/everseal/certmanager"
)

// A selection keeps the first of what it is given, by an order. It keeps not many more than it is to return, so that the
// first pages of a million cost little memory and time.
type selection struct {
	order order
	most  int
	kept  []*certmanager.Status // in no order
	worst *certmanager.Status   // of as many as there are to be; nil: there are fewer yet
}

func (s *selection) add(status *certmanager.Status) {
	if s.worst != nil && s.order(status, s.worst) >= 0 {
		return
	}
	kept := *status
	if s.kept = append(s.kept, &kept); len(s.kept) >= 2*s.most+1000 {
		s.cut()
		s.worst = slices.MaxFunc(s.kept, s.order)
	}
}

// cut drops what there is too much of.
func (s *selection) cut() {
	most := min(s.most, len(s.kept))
	s.order.divide(s.kept, most)
	clear(s.kept[most:])
	s.kept = s.kept[:most]
}

// after returns those that come after the first n, in order. Only they are sorted, which for the last of many pages takes much
// less time than to sort all.
func (s *selection) after(n int) []*certmanager.Status {
	s.cut()
	n = min(n, len(s.kept))
	s.order.divide(s.kept, n)
	page := s.kept[n:]
	slices.SortFunc(page, s.order)
	return page
}

// divide moves those to the first n places that come first, in no order. It is Hoare's quickselect.
func (o order) divide(all []*certmanager.Status, n int) {
	for 0 < n && n < len(all) {
		pivot, before, after := all[rand.IntN(len(all))], 0, len(all)
		for i := 0; i < after; {
			switch c := o(all[i], pivot); {
			case c < 0:
				all[before], all[i] = all[i], all[before]
				before++
				i++
			case c > 0:
				after--
				all[after], all[i] = all[i], all[after]
			default:
				i++
			}
		}
		switch {
		case n < before:
			all = all[:before]
		case n > after:
			all, n = all[after:], n-after
		default:
			return
		}
	}
}
