package certmanager

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager/internal/index"
	"github.com/everseal/everseal/certmanager/internal/schedule"
	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/storage"
)

// Bounds of the work under way at once.
const (
	atWork  = 32 // certificates being obtained in the background
	loading = 16 // workers that read the storage
)

// A Manager obtains, serves and renews certificates. Make one with New: the methods of the zero value
// return an error. They are safe for concurrent use.
type Manager struct {
	config      Config
	store       storage.Store
	logger      *slog.Logger
	announcer   announcer // of events
	issuers     []Issuer
	tlsALPN01   *solver.TLSALPN01
	http01      *solver.HTTP01
	overTLS     *answering    // tlsALPN01, as used
	overHTTP    *answering    // http01, as used
	httpMounted atomic.Bool   // HTTPHandler was called
	solvers     []acme.Solver // in the order of preference
	defaultName string

	intermediates intermediates // of all certificates

	tickets tickets                       // of the configurations handed out
	index   index.Index[*tls.Certificate] // by name; nil: managed, no certificate yet
	queue   schedule.Queue[*managed]      // what is due when
	demands chan *demand                  // from handshakes to Run
	more    chan struct{}                 // full while there is something in added

	mu      sync.Mutex          // guards what follows; not held over storage or network
	byName  map[string]*managed // every name of every certificate under management
	demand  map[string]*demand  // names being obtained for handshakes that wait
	waiting int                 // handshakes that wait for any of them
	refused refusals            // names that handshakes need not ask for again soon
	added   []*managed          // by Manage since Run last looked
	stopped chan struct{}       // closed when Run takes up no more work; nil: not running
}

// New checks the configuration and returns a manager, which starts no work before Run or Serve.
func New(config Config) (*Manager, error) {
	if err := config.check(); err != nil {
		return nil, err
	}
	if config.KeyType != "" {
		if err := config.KeyType.check(); err != nil {
			return nil, err
		}
	}
	subjects, err := config.subjects()
	if err != nil {
		return nil, err
	}
	store, err := config.store()
	if err != nil {
		return nil, err
	}
	m := &Manager{
		config:  config,
		store:   store,
		logger:  config.Logger,
		issuers: config.issuers(),
		demands: make(chan *demand, mostDemands),
		more:    make(chan struct{}, 1),
		byName:  make(map[string]*managed),
		demand:  make(map[string]*demand),
	}
	if m.logger == nil {
		m.logger = slog.Default()
	}
	m.announcer.onEvent, m.announcer.logger = config.OnEvent, m.logger
	if config.DefaultName != "" {
		id, err := acme.ParseIdentifier(config.DefaultName)
		if err != nil {
			return nil, fmt.Errorf("certmanager: Config.DefaultName: %w", err)
		}
		m.defaultName = id.Value
	}
	m.useSolvers()
	if _, err := m.add(subjects); err != nil {
		return nil, err
	}
	return m, nil
}

// Manage adds certificates to those of the Config. They are loaded from the storage or obtained in the
// background. It fails, and adds none, where a name is malformed or belongs to another certificate;
// what is managed already is no error.
func (m *Manager) Manage(subjects ...Subject) error {
	if m.store == nil {
		return errNotMade
	}
	normal, err := m.config.normalize(subjects)
	if err != nil {
		return err
	}
	added, err := m.add(normal)
	if err != nil || len(added) == 0 {
		return err
	}
	m.mu.Lock()
	m.added = append(m.added, added...)
	m.mu.Unlock()
	select {
	case m.more <- struct{}{}:
	default: // Run will look already
	}
	return nil
}

// add puts the subjects that are new under management, all or none.
func (m *Manager) add(subjects []subject) ([]*managed, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	names := make(map[string]*managed, len(subjects))
	var added, configured []*managed
	for _, s := range subjects {
		known, err := m.known(&s, names)
		if err != nil {
			return nil, err
		}
		if known != nil {
			configured = append(configured, known)
			continue
		}
		c := newManaged(s)
		added = append(added, c)
		for _, id := range s.identifiers {
			names[id.Value] = c
		}
	}
	for _, c := range configured {
		c.configure()
	}
	m.index.PutAll(func(yield func(string, *tls.Certificate) bool) {
		for name := range names {
			// A certificate obtained on demand is served until the configured one comes.
			if m.byName[name] == nil && !yield(name, nil) {
				return
			}
		}
	})
	for name, c := range names {
		if old := m.byName[name]; old != nil {
			m.queue.Remove(old)
		}
		m.byName[name] = c
	}
	return added, nil
}

// known returns what is managed for the subject already, or nil. A name may be in one certificate only,
// but one that a client wanted on demand gives way to one that is configured. The caller holds m.mu.
func (m *Manager) known(s *subject, added map[string]*managed) (*managed, error) {
	for _, id := range s.identifiers {
		name := id.Value
		other := added[name]
		if other == nil {
			other = m.byName[name]
		}
		switch {
		case other == nil:
		case other.key() == s.key():
			return other, nil
		case !other.onDemand():
			return nil, fmt.Errorf("certmanager: %s is a name of two certificates, that of %v and that of %v: name it once", name, other, s)
		}
	}
	return nil, nil
}

// Run is the manager at work: it loads certificates from the storage, obtains those that are missing
// and renews them, until ctx ends. Then it returns nil, with no goroutine left; certificates in memory
// go on being served. It returns an error at once where the storage cannot be written, or where it
// runs already.
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
	m.stopped, m.added = make(chan struct{}), nil
	return nil
}

// run is the manager at work after begin.
func (m *Manager) run(ctx context.Context) error {
	defer m.announcer.finish()
	defer m.end()
	if err := m.probeStorage(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("certmanager: the storage can't be used, and what can't be kept would be lost: set Config.Storage to one that can: %w", err)
	}
	m.logStorageWarnings(ctx)
	m.work(ctx)
	return nil
}

// stop tells those who wait for the manager's work that it takes up no more.
func (m *Manager) stop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped == nil {
		return
	}
	select {
	case <-m.stopped:
	default:
		close(m.stopped)
	}
}

// end makes the manager one that does not run, and fails the handshakes that wait.
func (m *Manager) end() {
	m.stop()
	m.mu.Lock()
	m.stopped = nil
	m.mu.Unlock()
	m.endDemands()
	for _, issuer := range m.issuers {
		if a, ok := issuer.(*account); ok {
			a.rest()
		}
	}
}

// work runs the manager's loops until ctx ends and all they started has ended.
func (m *Manager) work(ctx context.Context) {
	m.mu.Lock()
	all := slices.Collect(maps.Values(m.byName))
	m.mu.Unlock()
	slices.SortFunc(all, compareManaged)
	all = slices.Compact(all) // one may have several names
	var tasks sync.WaitGroup
	defer tasks.Wait()
	tasks.Go(func() { m.renewals(ctx, &tasks) })
	tasks.Go(func() { m.serveDemands(ctx, &tasks) })
	tasks.Go(func() { m.load(ctx, all) })
	for {
		select {
		case <-m.more:
			m.mu.Lock()
			added := m.added
			m.added = nil
			m.mu.Unlock()
			tasks.Go(func() { m.load(ctx, added) })
		case <-ctx.Done():
			m.stop() // before the tasks have ended: they may be waiting for the manager themselves
			return
		}
	}
}

// renewals starts the work that is due: obtaining and renewing alike.
func (m *Manager) renewals(ctx context.Context, tasks *sync.WaitGroup) {
	slots := make(chan struct{}, atWork)
	for {
		c, _, err := m.queue.Next(ctx)
		if err != nil {
			return
		}
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		tasks.Go(func() {
			defer func() { <-slots }()
			_ = m.attempt(ctx, c) // emitted, kept in c and followed by another attempt
		})
	}
}

// Renew replaces the certificate that covers name now, whatever its age, and returns when that is
// done: nil, or why it failed. It counts against the CA's rate limits.
func (m *Manager) Renew(ctx context.Context, name string) error {
	if m.store == nil {
		return errNotMade
	}
	id, err := acme.ParseIdentifier(name)
	if err != nil {
		return fmt.Errorf("certmanager: %w", err)
	}
	m.mu.Lock()
	c, stopped := m.covering(id.Value), m.stopped
	m.mu.Unlock()
	if c == nil {
		return fmt.Errorf("certmanager: %s is not managed", id.Value)
	}
	if stopped == nil {
		return fmt.Errorf("certmanager: %s: %w", id.Value, errNotRunning)
	}
	done := c.force()
	m.queue.Set(c, time.Now())
	select {
	case err := <-done:
		return err
	case <-stopped:
		return fmt.Errorf("certmanager: %s: %w", id.Value, errNotRunning)
	case <-ctx.Done():
		return ctx.Err()
	}
}

var (
	errNotMade    = errors.New("certmanager: this Manager was not made by New")
	errNotRunning = errors.New("the manager isn't running: call Run or Serve")
)
