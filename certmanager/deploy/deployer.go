package deploy

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"github.com/everseal/everseal/certmanager"
)

// A Deployer keeps files of the certificates that a manager serves, for programs beside this one. Set the fields, and call
// Run beside that of the manager; none is to be changed after that. Manager and Dir are the only required ones.
type Deployer struct {
	Manager *certmanager.Manager
	// Dir is the folder of the files, such as "/etc/everseal/live". It and those above it are made if they are missing, with mode 0755.
	Dir string

	// Names are those whose certificates get files, each by its own name. Zero: all certificates of the manager, by the
	// first name of each that is no wildcard. A name that leaves the manager keeps its files.
	Names []string

	// OneFile has one file for each name, NAME.pem, with key, certificate and chain, as HAProxy and Postfix take it. Zero: a folder
	// for each name with fullchain.pem, privkey.pem, cert.pem and chain.pem, as certbot has it.
	OneFile bool

	// Group is the group of the files, by its name or number, of which this process has to be a member, or root. Zero:
	// that of the process, or of the folder, as the system has it.
	Group string
	// KeyMode is the mode of files that hold a private key; it can't allow others anything. Zero: 0600, or 0640 if Group is
	// set. Those without a key have 0644.
	KeyMode fs.FileMode

	// Command is the program, with its arguments, that is run after the files of a name have changed, such as
	// {"nginx", "-s", "reload"}. It is run without a shell. Zero: none. The package's documentation has its environment.
	Command []string
	// Timeout is for one run of the command. Then it is killed together with the programs that it has started, as far as
	// the system can do that. Zero: two minutes.
	Timeout time.Duration
	// Together has one run of the command for all names that change within a few seconds. Zero: one for each.
	Together bool

	// Logger is told of each deployment and each failure. Nil: slog.Default().
	Logger *slog.Logger
	// OnResult, if set, is called with each of them too, one after the other. What is deployed next waits until it
	// returns.
	OnResult func(Result)

	mu      sync.Mutex    // guards what follows
	woken   chan struct{} // has an element if something has happened; nil: nobody has asked for it
	running bool
}

// OnEvent has Run see at once to what has happened, and returns at once itself. It is for certmanager.Config.OnEvent, or to
// be called from there. Without it, files are at most half a minute late.
func (d *Deployer) OnEvent(e certmanager.Event) {
	switch e.Kind {
	case certmanager.EventLoaded, certmanager.EventCopied, certmanager.EventObtained:
		select {
		case d.wakeups() <- struct{}{}:
		default:
		}
	}
}

// wakeups returns the channel that wakes Run.
func (d *Deployer) wakeups() chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.woken == nil {
		d.woken = make(chan struct{}, 1)
	}
	return d.woken
}

// Run keeps the files as the manager serves until ctx ends, and returns nil then; a command that runs at that moment is
// killed, and run again by the next Run. It returns an error at once if a field can't be as it is, or if it is called while
// it runs. All other failures are logged, go to OnResult, and are tried again.
func (d *Deployer) Run(ctx context.Context) error {
	k, err := d.keeper()
	if err != nil {
		return err
	}
	defer d.end()
	k.run(ctx, d.wakeups())
	return nil
}

// Deploy does once what Run keeps up, for a program that a timer starts: it has the files hold what the manager serves now, runs
// the command if it is due, waiting for nothing else that may change, and returns. Nothing is tried again: the error says all that
// failed, which the next call, or Run, does again. While another process is at work in Dir it waits, for a minute at most.
// After ctx has ended it returns its error; a command that runs at that moment is killed, and is due at the next call.
func (d *Deployer) Deploy(ctx context.Context) error {
	k, err := d.keeper()
	if err != nil {
		return err
	}
	defer d.end()
	return k.once(ctx)
}

// keeper returns what does the Deployer's work, which has begun with that.
func (d *Deployer) keeper() (*keeper, error) {
	s, err := d.settings()
	if err != nil {
		return nil, err
	}
	if err := d.begin(); err != nil {
		return nil, err
	}
	k := &keeper{settings: s, logger: d.Logger, onResult: d.OnResult, targets: make(map[string]*target), ended: make(chan outcome)}
	if k.logger == nil {
		k.logger = slog.Default()
	}
	return k, nil
}

func (d *Deployer) begin() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.running {
		return errors.New("deploy: Run or Deploy was called while it runs")
	}
	d.running = true
	return nil
}

func (d *Deployer) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.running = false
}
