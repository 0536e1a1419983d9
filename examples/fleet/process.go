package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"time"
)

// A process is that of a member.
type process struct {
	name              string
	address, internal string
	arguments         []string
	environment       []string

	mu    sync.Mutex    // guards what follows
	cmd   *exec.Cmd     // nil: it was never started
	ended chan struct{} // closed when it has ended
}

// start starts the member and returns when it takes connections.
func (p *process) start(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.runs() {
		return fmt.Errorf("%s runs already", p.name)
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(program, p.arguments...) // which outlives the request that has it started
	cmd.Env = append(os.Environ(), p.environment...)
	said, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.repeat(said)
		_ = cmd.Wait()
	}()
	p.cmd, p.ended = cmd, ended
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", p.address)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ended:
			return fmt.Errorf("%s has ended: %v", p.name, cmd.ProcessState)
		case <-ctx.Done():
			return fmt.Errorf("%s does not listen: %w", p.name, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// repeat shows what the member logs.
func (p *process) repeat(said io.Reader) {
	for lines := bufio.NewScanner(said); lines.Scan(); {
		fmt.Fprintf(os.Stderr, "%s: %s\n", p.name, lines.Text())
	}
}

// runs reports whether the process is there.
func (p *process) runs() bool {
	if p.cmd == nil {
		return false
	}
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// kill kills the member, as a machine does that fails.
func (p *process) kill() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.runs() {
		return errors.New(p.name + " does not run")
	}
	err := p.cmd.Process.Kill()
	<-p.ended
	return err
}

// end tells the member to end, and waits until it has answered what is under way.
func (p *process) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.runs() {
		return
	}
	if p.cmd.Process.Signal(os.Interrupt) != nil { // as on Windows
		_ = p.cmd.Process.Kill()
	}
	select {
	case <-p.ended:
	case <-time.After(patience):
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
}
