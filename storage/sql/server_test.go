package sql

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long tests wait for what has to come.
const patience = time.Minute

// errMissing is of a program that is not installed.
var errMissing = errors.New("install it to run this test")

// A server is a database server in a process of its own, with its data in a temporary folder.
type server struct {
	folder string
	port   string
	user   string // under which it runs, if the tests run as root
	output bytes.Buffer

	program   string
	arguments []string
	ready     func(ctx context.Context) error

	command *exec.Cmd
	ended   chan struct{}
}

// newServer returns one that does not run yet, with a folder that belongs to its user.
func newServer(account string) (*server, error) {
	folder, err := os.MkdirTemp("", "everseal-sql-")
	if err != nil {
		return nil, err
	}
	s := &server{folder: folder, user: account}
	if s.port, err = freePort(); err != nil {
		return nil, err
	}
	return s, s.own(folder)
}

// freePort returns a port below those that systems give to clients: none of them takes it until the server does, or while
// it is started again.
func freePort() (string, error) {
	const first, count = 12_000, 18_000
	var err error
	for range 100 {
		var listener net.Listener
		port := strconv.Itoa(first + rand.IntN(count))
		if listener, err = net.Listen("tcp", net.JoinHostPort("127.0.0.1", port)); err == nil {
			return port, listener.Close()
		}
	}
	return "", err
}

// own gives a file to the server's user.
func (s *server) own(name string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	account, err := user.Lookup(s.user)
	if err != nil {
		return err
	}
	uid, _ := strconv.Atoi(account.Uid)
	gid, _ := strconv.Atoi(account.Gid)
	return os.Chown(name, uid, gid)
}

// write makes a file in the server's folder.
func (s *server) write(name string, data []byte) (string, error) {
	path := filepath.Join(s.folder, name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return "", err
	}
	return path, s.own(path)
}

// as returns the command as the server's user runs it.
func (s *server) as(program string, arguments ...string) *exec.Cmd {
	if os.Geteuid() == 0 {
		arguments = append([]string{"--reuid", s.user, "--regid", s.user, "--clear-groups", program}, arguments...)
		program = "setpriv"
	}
	command := exec.Command(program, arguments...)
	command.Dir = s.folder
	return command
}

func (s *server) run(program string, arguments ...string) error {
	if output, err := s.as(program, arguments...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", program, err, output)
	}
	return nil
}

// start returns when the server answers.
func (s *server) start() error {
	s.command = s.as(s.program, s.arguments...)
	s.command.Stdout, s.command.Stderr = &s.output, &s.output
	if err := s.command.Start(); err != nil {
		return err
	}
	s.ended = make(chan struct{})
	go func(command *exec.Cmd, ended chan struct{}) {
		defer close(ended)
		_ = command.Wait()
	}(s.command, s.ended)
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	defer cancel()
	for {
		err := s.ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-s.ended:
			return fmt.Errorf("%s has ended: %v\n%s", s.program, s.command.ProcessState, s.output.Bytes())
		case <-ctx.Done():
			s.end(syscall.SIGKILL)
			return fmt.Errorf("%s does not answer: %w\n%s", s.program, err, s.output.Bytes())
		default:
			runtime.Gosched()
		}
	}
}

// end sends the signal and waits for the server's end.
func (s *server) end(signal os.Signal) {
	_ = s.command.Process.Signal(signal)
	<-s.ended
}

// remove ends the server and deletes what it had.
func (s *server) remove() {
	if s.command != nil {
		s.end(syscall.SIGKILL)
	}
	_ = os.RemoveAll(s.folder)
}

// find returns where a program is, in PATH or where Debian has it.
func find(program string) (string, error) {
	if path, err := exec.LookPath(program); err == nil {
		return path, nil
	}
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin/", "/usr/sbin/"} {
		if found, _ := filepath.Glob(pattern + program); len(found) > 0 {
			return found[len(found)-1], nil
		}
	}
	return "", fmt.Errorf("%s: %w", program, errMissing)
}

// skipWithout skips the test if a program is missing, but not in CI, which installs it.
func skipWithout(t testing.TB, err error) {
	t.Helper()
	if err == nil {
		return
	}
	if errors.Is(err, errMissing) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	t.Fatal(err)
}

// Shared are the servers that all tests use, started when the first test needs them.
type sharedServers struct {
	postgres, mariadb func() (*server, error)

	mu      sync.Mutex
	started []*server // guarded by mu
}

var shared = newSharedServers()

func newSharedServers() *sharedServers {
	s := new(sharedServers)
	once := func(start func() (*server, error)) func() (*server, error) {
		return sync.OnceValues(func() (*server, error) {
			started, err := start()
			if started != nil {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.started = append(s.started, started)
			}
			return started, err
		})
	}
	s.postgres = once(func() (*server, error) { return startPostgres("-c", "fsync=off") })
	s.mariadb = once(func() (*server, error) { return startMariaDB("--innodb-flush-log-at-trx-commit=0") })
	return s
}

func (s *sharedServers) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, server := range s.started {
		server.remove()
	}
}

// lines returns what a configuration file of these lines has.
func lines(all ...string) []byte { return []byte(strings.Join(all, "\n") + "\n") }
