package statuspage

import (
	"fmt"
	"strings"
	"time"

	"github.com/everseal/everseal/certmanager"
)

// A picture is a chart of columns, one a day. It is drawn in a square of 100 by 100, which the page stretches.
type picture struct {
	ID          string
	Name        string
	Description string // what it shows, for those who don't see it
	Base        float64
	Bars        []bar
	Top         int      // what the highest column counts
	Bottom      int      // what the lowest one counts, below the base
	Labels      []string // along its bottom, evenly spaced
	Series      []series
	Days        []day // those with anything in them, as a table
}

// A series is what columns of one colour count.
type series struct{ Name, Class string }

// A bar is the part of a column that is of one series.
type bar struct {
	X, Y, Width, Height float64
	Class, Title        string
}

// A day has what each series counts.
type day struct {
	Date   string
	Counts []int
}

// A stack is one day's numbers: those above the base, from it upwards, and that below it.
type stack struct {
	date  time.Time
	above []int
	below int
}

// draw makes the bars of the columns, and the table.
func (p *picture) draw(columns []stack) {
	for _, c := range columns {
		p.Top, p.Bottom = max(p.Top, sum(c.above)), max(p.Bottom, c.below)
	}
	scale := 100 / float64(max(p.Top+p.Bottom, 1))
	p.Base = float64(p.Top) * scale
	if p.Top+p.Bottom == 0 {
		p.Base = 100
	}
	width := 100 / float64(max(len(columns), 1))
	for i, c := range columns {
		counts := c.above
		if len(p.Series) > len(c.above) {
			counts = append(counts[:len(counts):len(counts)], c.below)
		}
		if sum(counts) == 0 {
			continue
		}
		at := day{c.date.Format("2 January"), counts}
		p.Days = append(p.Days, at)
		title, y := p.title(at), p.Base
		add := func(n, of int, height float64) {
			p.Bars = append(p.Bars, bar{float64(i)*width + width*0.14, y, width * 0.72, height, p.Series[of].Class, title})
		}
		for of, n := range c.above {
			if n > 0 {
				height := float64(n) * scale
				y = max(y-height, 0)
				add(n, of, height)
			}
		}
		if c.below > 0 {
			y = p.Base
			add(c.below, len(c.above), float64(c.below)*scale)
		}
	}
}

// title says what one column shows.
func (p *picture) title(d day) string {
	var parts []string
	for i, n := range d.Counts {
		if n > 0 {
			parts = append(parts, grouped(n)+" "+p.Series[i].Name)
		}
	}
	return d.Date + ": " + strings.Join(parts, ", ")
}

func sum(counts []int) (total int) {
	for _, n := range counts {
		total += n
	}
	return total
}

// pictureOfExpiries shows how many certificates end on each of the next days.
func pictureOfExpiries(days []expiries) *picture {
	p := &picture{ID: "expiries", Name: "Expiries in the next 90 days", Series: []series{{"end", "calm"}, {"end and fail to be renewed", "bad"}},
		Labels: []string{"today", "30 days", "60 days", "90 days"}}
	columns, total, soon, failed := make([]stack, len(days)), 0, 0, 0
	for i, d := range days {
		columns[i] = stack{d.Date, []int{d.Count - d.Failing, d.Failing}, 0}
		total, failed = total+d.Count, failed+d.Failing
		if i < 7 {
			soon += d.Count
		}
	}
	p.draw(columns)
	p.Description = fmt.Sprintf("%s %s within 90 days, %s within 7.", counted(total, "certificate"), be(total, "ends", "end"), grouped(soon))
	if failed > 0 {
		p.Description += fmt.Sprintf(" The renewal of %s fails.", grouped(failed))
	}
	return p
}

// pictureOfDays shows what was obtained and renewed, and below the base what failed.
func pictureOfDays(c *certmanager.Counts) *picture {
	days := c.Days
	p := &picture{ID: "work", Name: "Renewals and failures of the last 30 days",
		Series: []series{{"renewed", "calm"}, {"obtained first", "new"}, {"failed", "bad"}},
		Labels: []string{"30 days ago", "20", "10", "today"}}
	columns := make([]stack, len(days))
	var renewed, obtained, failed int
	for i, d := range days {
		columns[i] = stack{d.Date, []int{d.Renewed, d.Obtained}, d.Failed}
		renewed, obtained, failed = renewed+d.Renewed, obtained+d.Obtained, failed+d.Failed
	}
	p.draw(columns)
	if len(days) > 0 && c.Since.After(days[0].Date) {
		p.Name += ", counted since " + c.Since.UTC().Format("2 January")
	}
	p.Description = fmt.Sprintf("%s renewed, %s obtained for the first time; %s failed.", counted(renewed, "certificate"), grouped(obtained), counted(failed, "attempt"))
	return p
}
