package certmanager

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"sync"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager/internal/dispatch"
	"github.com/everseal/everseal/certmanager/internal/lifecycle"
	"github.com/everseal/everseal/storage"
)

// A Manager obtains, serves and renews certificates. Make one with New: the methods of the zero value return an error.
// They are safe for concurrent use.
//
// Locks are taken in this order: the manager's, the catalogue's, the dispatcher's or the residents', an entry's. Besides, under the
// catalogue's that of its index is, under an issuer's its gate's and the announcer's, and under a budget's its ledger's. All
// others are taken alone. None is held over storage or network.
type Manager struct {
	config      Config
	store       storage.Store
	logger      *slog.Logger
	announcer   announcer // of events
	issuers     []*gatedIssuer
	proving     proving
	defaultName string

	catalogue  catalogue
	dispatcher dispatch.Dispatcher[*entry]
	obtainer   obtainer
	admission  admission
	recalls    recalls
	demands    demands
	waiting    waiting
	handshakes handshakes
	fallback   fallback
	tickets    tickets // of the configurations handed out
	pursuits   pursuits
	importer   importer
	sweeper    sweeper

	counters counters

	mu      sync.Mutex    // guards what follows
	begun   chan struct{} // closed when Run begins; replaced when it has ended
	stopped chan struct{} // closed when Run takes up no more work; nil: not running
	ended   bool          // Run has ended, once or more
	loaded  time.Time     // when Load filled the memory from the storage
	filled  bool          // memory has, or had, what the storage may have no longer
}

// New checks the configuration and returns a manager, which starts no work before Run or Serve. The error says all that is
// wrong, or that there is no folder for the default storage.
func New(config Config) (*Manager, error) {
	var wrong misconfiguration
	subjects := config.check(&wrong)
	store, err := config.store()
	wrong.add(err, config.checkTickets(store))
	if store == nil {
		return nil, wrong.err()
	}
	m := &Manager{config: config, logger: config.Logger, begun: make(chan struct{})}
	if m.logger == nil {
		m.logger = slog.Default()
	}
	m.counters.since = time.Now().UTC()
	store = counted(store, &m.counters.calls)
	m.store = store
	services := Services{Storage: store, Keys: config.Keys, Logger: m.logger, Email: config.Email, AgreeToTerms: config.AgreeToTerms, Preflight: config.Preflight, Vantage: config.Vantage, requests: &m.counters.requests}
	m.issuers = bind(config.issuers(), services, m.emit, &wrong)
	checkSupported(m.issuers, subjects, &wrong)
	if err := wrong.err(); err != nil {
		return nil, err
	}
	m.announcer.onEvent, m.announcer.logger = config.OnEvent, m.logger
	if id, err := acme.ParseIdentifier(config.DefaultName); err == nil { // there may be none
		m.defaultName = id.Value
	}
	keys := newKeyring(config.Keys, m.logger, max(1, runtime.GOMAXPROCS(0)/2))
	m.proving.prepare(&config, store, m.logger)
	m.proving.overTLS.served = m.isServed
	m.admission = newAdmission(config.MaxNewNames)
	m.recalls = newRecalls(loader{&m.obtainer}, &m.admission, m.running)
	m.demands = demands{&m.obtainer, &m.admission, m.normalized}
	m.waiting = waiting{&m.catalogue, m.awaitRun}
	m.fallback.config = config.Fallback
	m.handshakes = handshakes{obtainer: &m.obtainer, admission: &m.admission, recalls: &m.recalls, fallback: &m.fallback, running: m.running, defaultName: m.defaultName}
	m.obtainer = obtainer{
		store: store, issuers: m.issuers, archive: archive{store: store, issuers: m.issuers, keyring: keys, emit: m.emit, readOnly: config.Role == RoleServe},
		catalogue: &m.catalogue, lines: lines{m.dispatcher.Update}, reporter: reporter{logger: m.logger, emit: m.emit},
		solvers: m.proving.solversFor, rules: rules{role: config.Role, policy: policy{config.OnDemand, m.logger}, failover: max(config.Failover, 1), pollInterval: config.RenewalInfoInterval},
	}
	m.pursuits = newPursuits(&m.obtainer)
	m.importer = importer{&m.obtainer, m.normalized, m.fill}
	m.sweeper = sweeper{archive: &m.obtainer.archive, catalogue: &m.catalogue, writable: &m.obtainer.writable, logger: m.logger, interval: cmp.Or(config.SweepInterval, defaultSweepInterval)}
	m.obtainer.presence.issuers, m.obtainer.presence.solvers = m.issuers, m.proving.solversFor
	m.obtainer.presence.preflight, m.obtainer.presence.vantage, m.obtainer.presence.logger = config.Preflight, config.Vantage, m.logger
	m.obtainer.residents.most = config.MaxLoaded
	if config.Role == RoleRenew {
		m.obtainer.residents.most = cmp.Or(config.MaxLoaded, maxRenewing)
	}
	m.dispatcher.Workers = cmp.Or(config.Workers, defaultWorkers)
	m.obtainer.pollRoom = min(max(m.dispatcher.Workers/8, 2), besidePolls)
	m.dispatcher.Do, m.dispatcher.Urgent = lapses{&m.obtainer, &m.admission}.do, dispatch.Urgency(lifecycle.Loading)
	if _, err := m.catalogue.add(subjects); err != nil {
		return nil, err
	}
	return m, nil
}

// Manage adds certificates to those of the Config. They are loaded from the storage or obtained in the
// background. It fails, and adds none, if a name is malformed or belongs to another certificate;
// what is managed already is no error.
func (m *Manager) Manage(subjects ...Subject) error {
	if m.store == nil {
		return errNotMade
	}
	normal, err := m.normalized(subjects...)
	if err != nil {
		return err
	}
	added, err := m.catalogue.add(normal)
	if err != nil {
		return err
	}
	rand.Shuffle(len(added), func(i, j int) { added[i], added[j] = added[j], added[i] }) // as the index has those of the Config
	m.dispatcher.Update(added...)
	return nil
}

// Run is the manager at work: it loads certificates from the storage, unless [Manager.Load] has just done so, obtains
// those that are missing and renews them, until ctx ends. Then it returns nil, with no goroutine left; certificates in memory
// go on being served, and Run can be called once more. It returns an error at once if it runs already, or if the storage can't
// be written and has nothing to serve: what is stored is served, though nothing is ordered until the storage can be written.
func (m *Manager) Run(ctx context.Context) error {
	if err := m.begin(); err != nil {
		return err
	}
	return m.run(ctx)
}

// begin makes the manager one that runs: from then on handshakes wait for what run will do.
func (m *Manager) begin() error {
	if m.store == nil {
		return errNotMade
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped != nil {
		return errors.New("certmanager: Run was called while the manager runs")
	}
	if m.filled && !m.isWarm() {
		filling{loader{&m.obtainer}}.unload() // before callers who wait for Run take what memory has of before for what is stored
	}
	m.stopped = make(chan struct{})
	close(m.begun)
	return nil
}

// running returns a channel that is closed when Run takes up no more work; nil if the manager does not run.
func (m *Manager) running() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.stopped
}

// awaitRun is running for callers who may have just called Run beside, be it once more: it waits a while for it to begin.
func (m *Manager) awaitRun(ctx context.Context) (stopped <-chan struct{}, err error) {
	patience := time.NewTimer(beginPatience)
	defer patience.Stop()
	for {
		m.mu.Lock()
		begun, stopped, notRunning := m.begun, m.stopped, errNotRunning
		if m.ended {
			notRunning = errEnded
		}
		m.mu.Unlock()
		if stopped != nil {
			return stopped, nil
		}
		select {
		case <-begun:
		case <-patience.C:
			return nil, notRunning
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", notRunning, ctx.Err())
		}
	}
}

// run is the manager at work after begin.
func (m *Manager) run(ctx context.Context) error {
	defer m.announcer.finish()
	defer m.end()
	ctx, cancel := context.WithCancel(ctx)
	var tasks sync.WaitGroup
	defer tasks.Wait()
	defer cancel()
	m.tellStart(ctx)
	m.obtainer.writable.begin()
	m.obtainer.loading.begin(m.catalogue.index.Len())
	tasks.Go(func() { m.dispatcher.Run(ctx) })
	tasks.Go(func() { m.demands.run(ctx, &tasks) })
	tasks.Go(func() { m.recalls.run(ctx, &tasks) })
	tasks.Go(func() { filling{loader{&m.obtainer}}.start(ctx) })
	tasks.Go(func() { follower{&m.obtainer, m.config.FollowInterval}.run(ctx) })
	if m.config.SharedTickets {
		k := &ticketKeeper{store: m.store, tickets: &m.tickets, emit: m.emit, logger: m.logger, readOnly: m.config.Role == RoleServe}
		tasks.Go(func() { k.run(ctx) })
	}
	if m.config.Role != RoleServe {
		tasks.Go(func() { m.pursuits.serve(ctx, &tasks) })
		if m.config.SweepInterval >= 0 {
			tasks.Go(func() { m.sweeper.run(ctx) })
		}
	}
	if m.config.OnDemand != nil {
		tasks.Go(func() { m.demands.probePolicy(ctx) })
		if m.config.Role != RoleServe {
			tasks.Go(func() { surveyor{&m.obtainer, m.normalized}.run(ctx) })
		}
	}
	err := probe{&m.obtainer}.run(ctx)
	if err == nil {
		<-ctx.Done()
	}
	m.stop() // before the tasks have ended: they may be waiting for the manager themselves
	return err
}

// fill notes that memory has what the storage may have no longer when Run begins.
func (m *Manager) fill() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.filled = true
}

// stop tells those who wait for the manager's work that it takes up no more.
func (m *Manager) stop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	close(m.stopped)
}

// end makes the manager one that does not run, and fails the handshakes that wait.
func (m *Manager) end() {
	m.mu.Lock()
	m.stopped, m.begun, m.ended, m.filled, m.loaded = nil, make(chan struct{}), true, true, time.Time{}
	m.mu.Unlock()
	m.admission.end()
	m.recalls.end()
	for _, issuer := range m.issuers {
		issuer.closeIdle()
	}
}

var (
	errNotMade    = errors.New("certmanager: this Manager was not made by New")
	errNotRunning = errors.New("the manager isn't running: call Run or Serve")
	errEnded      = errors.New("the manager isn't running any more: Run has ended")
)
