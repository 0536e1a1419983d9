// Package browser has tests see pages as people do: in Chromium, without a window. It speaks the Chrome DevTools Protocol to
// it over two pipes, in messages that end with a zero byte, and needs nothing but the program.
package browser

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// callTimeout is after which a test fails whose call Chromium does not answer.
const callTimeout = time.Minute

// A browser is a Chromium that runs.
type browser struct {
	commands *os.File
	answers  *bufio.Reader

	mu      sync.Mutex // guards what follows
	last    int
	waiting map[int]chan message
	console map[string][]string // what pages complained of, by session
}

// A message is a command, the answer to one, or an event.
type message struct {
	ID        int             `json:"id,omitempty"`
	SessionID string          `json:"sessionId,omitempty"`
	Method    string          `json:"method,omitempty"`
	Params    any             `json:"params,omitempty"`
	Result    json.RawMessage `json:"result,omitempty"`
	Error     *struct {
		Message string `json:"message"`
	} `json:"error,omitempty"`
}

// program returns where Chromium is. Without one the test is skipped, but on CI it fails.
func program(t testing.TB) string {
	t.Helper()
	if runtime.GOOS == "windows" || runtime.GOOS == "darwin" {
		t.Skip("Chromium is run on systems that can hand it pipes, and have it in their packages")
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	const message = "Chromium is not installed: the page can't be seen in a browser; Debian has it in the package chromium"
	if os.Getenv("CI") != "" {
		t.Fatal(message + ", and CI must not go without the tests that need it")
	}
	t.Skip(message)
	return ""
}

// start runs Chromium until the test ends.
func start(t testing.TB) *browser {
	t.Helper()
	path := program(t)
	commandsOut, commands, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	answers, answersIn, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	arguments := []string{"--headless=new", "--remote-debugging-pipe", "--user-data-dir=" + t.TempDir(), "--no-first-run", "--disable-gpu",
		"--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
		"--no-proxy-server"}
	if os.Geteuid() == 0 {
		arguments = append(arguments, "--no-sandbox") // which it has for others alone
	}
	cmd := exec.Command(path, arguments...)
	cmd.ExtraFiles = []*os.File{commandsOut, answersIn} // its descriptors 3 and 4
	var complaints strings.Builder
	cmd.Stderr = &complaints
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	commandsOut.Close()
	answersIn.Close()
	b := &browser{commands: commands, answers: bufio.NewReader(answers), waiting: make(map[int]chan message), console: make(map[string][]string)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		b.read()
	}()
	t.Cleanup(func() {
		commands.Close() // Chromium ends by that
		killer := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
		<-ended
		answers.Close()
		_ = cmd.Wait()
		killer.Stop()
		if t.Failed() {
			t.Logf("Chromium said:\n%s", complaints.String())
		}
	})
	return b
}

// read hands out the answers, and keeps what pages complain of, until Chromium ends.
func (b *browser) read() {
	for {
		text, err := b.answers.ReadBytes(0)
		if err != nil {
			break
		}
		var m message
		if json.Unmarshal(text[:len(text)-1], &m) != nil {
			continue
		}
		b.mu.Lock()
		if answered := b.waiting[m.ID]; answered != nil {
			delete(b.waiting, m.ID)
			answered <- m
		} else if complaint := complaintIn(m); complaint != "" {
			b.console[m.SessionID] = append(b.console[m.SessionID], complaint)
		}
		b.mu.Unlock()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, answered := range b.waiting {
		close(answered)
	}
	b.waiting = nil
}

// complaintIn returns what the event says that belongs to a console: all that is logged there, errors that no one caught, and
// what Chromium itself complains of, such as a breach of the Content-Security-Policy.
func complaintIn(m message) string {
	switch m.Method {
	case "Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded":
		text, _ := json.Marshal(m.Params)
		return m.Method + ": " + string(text)
	}
	return ""
}

// call sends a command and waits for its result.
func (b *browser) call(session, method string, params any) (json.RawMessage, error) {
	answered := make(chan message, 1)
	b.mu.Lock()
	if b.waiting == nil {
		b.mu.Unlock()
		return nil, fmt.Errorf("%s: Chromium has ended", method)
	}
	b.last++
	m := message{ID: b.last, SessionID: session, Method: method, Params: params}
	b.waiting[m.ID] = answered
	text, err := json.Marshal(m)
	if err == nil {
		_, err = b.commands.Write(append(text, 0))
	}
	b.mu.Unlock()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", method, err)
	}
	timeout := time.NewTimer(callTimeout)
	defer timeout.Stop()
	select {
	case answer, ok := <-answered:
		switch {
		case !ok:
			return nil, fmt.Errorf("%s: Chromium has ended", method)
		case answer.Error != nil:
			return nil, fmt.Errorf("%s: %s", method, answer.Error.Message)
		}
		return answer.Result, nil
	case <-timeout.C:
		return nil, fmt.Errorf("%s: no answer in %v", method, callTimeout)
	}
}
