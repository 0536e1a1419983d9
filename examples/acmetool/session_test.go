package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/acme/acmetest"
)

// A session is a folder of the tool's and a CA to use it with.
type session struct {
	t      *testing.T
	ca     *acmetest.Server
	folder string
}

// newSession starts a CA, which set may prepare.
func newSession(t *testing.T, set func(*acmetest.Server)) *session {
	t.Helper()
	ca := acmetest.NewUnstartedServer()
	if set != nil {
		set(ca)
	}
	ca.Start()
	t.Cleanup(ca.Close)
	return &session{t: t, ca: ca, folder: filepath.Join(t.TempDir(), "acmetool")}
}

// registered starts a CA that has an account for the tool.
func registered(t *testing.T, set func(*acmetest.Server)) *session {
	t.Helper()
	s := newSession(t, set)
	s.mustRun(t.Context(), s.person(), "-agree", "register")
	return s
}

// run calls the tool with the person at its terminal, and returns all that the terminal has shown.
func (s *session) run(ctx context.Context, p *person, args ...string) (string, error) {
	client := &http.Client{Transport: s.ca.Client().Transport}
	program := &tool{stdin: bufio.NewReader(p), stdout: p, client: acme.Client{HTTPClient: client}}
	err := program.run(ctx, append([]string{"-ca", s.ca.URL, "-dir", s.folder}, args...))
	return p.shown(), err
}

func (s *session) mustRun(ctx context.Context, p *person, args ...string) string {
	s.t.Helper()
	shown, err := s.run(ctx, p, args...)
	if err != nil {
		s.t.Fatalf("%q: %v\n%s", args, err, shown)
	}
	return shown
}

// mustRunOnWeb runs the tool with an address for http-01, to which all names lead.
func (s *session) mustRunOnWeb(args ...string) {
	s.t.Helper()
	const tries = 5 // somebody else may take the address before the tool does
	for try := range tries {
		free, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			s.t.Fatal(err)
		}
		address := free.Addr().String()
		s.ca.SetHost("*", address)
		s.ca.SetHost("127.0.0.1", address)
		if err := free.Close(); err != nil {
			s.t.Fatal(err)
		}
		_, err = s.run(s.t.Context(), s.person(), append([]string{"-http", address}, args...)...)
		if err == nil {
			return
		}
		if !errors.Is(err, syscall.EADDRINUSE) || try == tries-1 {
			s.t.Fatalf("%q at %s: %v", args, address, err)
		}
	}
}

// certificate returns what servers are to read, checked as they check it.
func (s *session) certificate(file string) tls.Certificate {
	s.t.Helper()
	certificate, err := tls.LoadX509KeyPair(filepath.Join(s.folder, file), filepath.Join(s.folder, file))
	if err != nil {
		s.t.Fatal(err)
	}
	return certificate
}

// read returns the content of a file.
func (s *session) read(file string) string {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.folder, file))
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}

// files returns the names of the files in the folder, and checks that they are for their owner only.
func (s *session) files() string {
	s.t.Helper()
	entries, err := os.ReadDir(s.folder)
	if err != nil {
		s.t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil {
			s.t.Fatal(err)
		}
		if info.Mode().Perm()&0o077 != 0 {
			s.t.Errorf("%s can be read by others: %v", entry.Name(), info.Mode())
		}
		names = append(names, entry.Name())
	}
	return strings.Join(names, " ")
}

// A person reads what the tool shows and does what it asks for: sets the records that it shows and presses
// Enter. Instead of that a person may have something else to do.
type person struct {
	ca      *acmetest.Server
	instead func() // of doing as asked; nil: does so
	enter   chan struct{}
	leave   func() // for good; the terminal is closed then

	mu      sync.Mutex // guards what follows
	screen  bytes.Buffer
	records map[string][]string // values by name
}

func (s *session) person() *person {
	p := &person{ca: s.ca, enter: make(chan struct{}, 100), records: make(map[string][]string)}
	p.leave = sync.OnceFunc(func() { close(p.enter) })
	s.t.Cleanup(p.leave) // ends a read that is under way
	return p
}

var recordLine = regexp.MustCompile(`(?m)^(\S+)\. TXT "(\S+)"$`)

func (p *person) Write(text []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.screen.Write(text)
	match := recordLine.FindSubmatch(text)
	switch {
	case match == nil:
	case p.instead != nil:
		p.instead()
	default:
		name := string(match[1])
		p.records[name] = append(p.records[name], string(match[2]))
		p.ca.SetTXT(name, p.records[name]...)
		p.enter <- struct{}{}
	}
	return len(text), nil
}

func (p *person) Read(b []byte) (int, error) {
	if _, ok := <-p.enter; !ok {
		return 0, io.EOF
	}
	return copy(b, "\n"), nil
}

func (p *person) shown() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.screen.String()
}
