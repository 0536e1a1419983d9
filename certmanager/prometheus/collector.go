package prometheus

import (
	"errors"
	"sync"
	"time"

	prom "github.com/prometheus/client_golang/prometheus"

	"github.com/everseal/everseal/certmanager"
)

const (
	defaultSeries   = 1000
	surveyInterval  = 5 * time.Second // between two walks through all certificates
	budgetsInterval = time.Minute     // between two readings of the budgets
)

// A Collector has the figures of one manager, for a registry of client_golang. Several managers in one process need a
// label each: see [prom.WrapRegistererWith]. Its fields are not changed after the first scrape.
type Collector struct {
	Manager *certmanager.Manager // the only required field
	// MaxSeries bounds the certificates, and the budgets, that have series of their own: those that most need it, by the
	// share of lifetime, or of budget, that is left. Aggregates are of all. Zero: 1,000. Negative: none has.
	MaxSeries int

	surveying sync.Mutex // held by the one who walks; guards the next two
	surveyed  time.Time
	survey    survey

	mu      sync.Mutex // guards what follows; not held over the storage
	asked   time.Time  // when the budgets were asked for last
	reading bool
	budgets []certmanager.Budget // as read last
	failed  int                  // readings
}

// Describe tells the registry of all metrics.
func (c *Collector) Describe(ch chan<- *prom.Desc) {
	for _, d := range allDescs() {
		ch <- d
	}
}

// Collect sends the figures as they are. It walks through the certificates every five seconds at most, whoever scrapes how
// often, and waits for no storage: budgets are read beside it, once a minute at most, and sent as they were read last.
func (c *Collector) Collect(ch chan<- prom.Metric) {
	if c.Manager == nil {
		ch <- prom.NewInvalidMetric(descs.certificates, errors.New("certmanager/prometheus: Collector.Manager is nil: set it to the manager"))
		return
	}
	now := time.Now()
	c.current(now).send(ch)
	sendCounts(ch, c.Manager.Counts())
	c.askBudgets(now)
	c.sendBudgets(ch)
}

// current returns what was found when the certificates were walked through last, which was a moment ago.
func (c *Collector) current(now time.Time) *survey {
	c.surveying.Lock()
	defer c.surveying.Unlock()
	if age := now.Sub(c.surveyed); c.surveyed.IsZero() || age < 0 || age >= surveyInterval {
		c.survey = newSurvey(c.Manager, c.series(), now)
		c.surveyed = now
	}
	s := c.survey
	return &s
}

func (c *Collector) series() int {
	if c.MaxSeries == 0 {
		return defaultSeries
	}
	return max(c.MaxSeries, 0)
}
