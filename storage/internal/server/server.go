package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/everseal/everseal/storage/internal/wait"
)

// Patience is how long tests wait for what has to come. A server has three times as long to answer after its start.
const Patience = time.Minute

const betweenLooks = 10 * time.Millisecond // whether a server answers, which has the processor to itself meanwhile

// A Server is a program that runs in a process of its own.
type Server struct {
	Folder    string // a temporary one, which belongs to the program's user
	Port      string // a free one, of 127.0.0.1
	Arguments []string
	Ready     func(ctx context.Context) error // whether it answers; by default whether it takes a connection

	program string
	account string
	output  output
	command *exec.Cmd
	ended   chan struct{}
}

// New returns a server that does not run yet. If the tests run as root, the program runs as the user of the account,
// unless that is empty. It returns an error for which [Skip] skips if the program is not installed.
func New(program, account string) (*Server, error) {
	path, err := Find(program)
	if err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp("", "everseal-server-")
	if err != nil {
		return nil, err
	}
	s := &Server{Folder: folder, program: path, account: account}
	if s.Port, err = FreePort(); err != nil {
		return nil, err
	}
	return s, s.own(folder)
}

// Address returns where the server listens.
func (s *Server) Address() string { return net.JoinHostPort("127.0.0.1", s.Port) }

// own gives a file to the server's user.
func (s *Server) own(name string) error {
	if !s.switches() {
		return nil
	}
	account, err := user.Lookup(s.account)
	if err != nil {
		return err
	}
	uid, _ := strconv.Atoi(account.Uid)
	gid, _ := strconv.Atoi(account.Gid)
	return os.Chown(name, uid, gid)
}

func (s *Server) switches() bool { return s.account != "" && os.Geteuid() == 0 }

// Write makes a file of these lines in the server's folder.
func (s *Server) Write(name string, lines ...string) (path string, err error) {
	path = filepath.Join(s.Folder, name)
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		return "", err
	}
	return path, s.own(path)
}

// as returns the command as the server's user runs it.
func (s *Server) as(program string, arguments ...string) *exec.Cmd {
	if s.switches() {
		arguments = append([]string{"--reuid", s.account, "--regid", s.account, "--clear-groups", program}, arguments...)
		program = "setpriv"
	}
	command := exec.Command(program, arguments...)
	command.Dir = s.Folder
	return command
}

// Run runs another program as the server's user, in its folder.
func (s *Server) Run(program string, arguments ...string) error {
	if output, err := s.as(program, arguments...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", program, err, output)
	}
	return nil
}

// Start starts the server, for the first time or again, and returns when it answers.
func (s *Server) Start(ctx context.Context) error {
	s.command = s.as(s.program, s.Arguments...)
	s.command.Stdout, s.command.Stderr = &s.output, &s.output
	if err := s.command.Start(); err != nil {
		s.command = nil
		return err
	}
	s.ended = make(chan struct{})
	go func(command *exec.Cmd, ended chan struct{}) {
		defer close(ended)
		_ = command.Wait()
	}(s.command, s.ended)
	ctx, cancel := context.WithTimeout(ctx, 3*Patience)
	defer cancel()
	ready := s.Ready
	if ready == nil {
		ready = s.accepts
	}
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-s.ended:
			return fmt.Errorf("%s has ended: %v\n%s", s.program, s.command.ProcessState, s.output.String())
		case <-ctx.Done():
			s.End(os.Kill)
			return fmt.Errorf("%s does not answer: %w\n%s", s.program, err, s.output.String())
		default:
			_ = wait.For(ctx, betweenLooks)
		}
	}
}

func (s *Server) accepts(ctx context.Context) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", s.Address())
	if err != nil {
		return err
	}
	return conn.Close()
}

// Signal sends the process a signal.
func (s *Server) Signal(signal os.Signal) error { return s.command.Process.Signal(signal) }

// End sends the signal and waits for the process's end.
func (s *Server) End(signal os.Signal) {
	_ = s.Signal(signal)
	<-s.ended
}

// Remove ends the server and deletes what it had.
func (s *Server) Remove() {
	if s.command != nil {
		s.End(os.Kill)
	}
	_ = os.RemoveAll(s.Folder)
}

// Output returns what the server has printed.
func (s *Server) Output() string { return s.output.String() }

// An output keeps what a process prints, whose start and end are read at any time.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// errMissing is of a program that is not installed or can't be built.
var errMissing = errors.New("install it to run this test")
