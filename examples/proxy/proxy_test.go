package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"database/sql"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/websocket"
)

// upstream starts a server that says what it was asked, and echoes what comes by WebSocket at /echo.
func upstream(t *testing.T) (address string) {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s from %q for %q by %q", r.Host, r.Header["X-Forwarded-For"], r.Header["X-Forwarded-Host"], r.Header["X-Forwarded-Proto"])
	})
	mux.Handle("/echo", websocket.Handler(func(conn *websocket.Conn) { _, _ = io.Copy(conn, conn) }))
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// change runs a statement on the proxy's database, as whoever looks after the domains would.
func (p *program) change(statement string, args ...any) {
	p.t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(p.folder, "domains.db")+"?_pragma=busy_timeout(5000)")
	if err == nil {
		defer db.Close()
		_, err = db.ExecContext(p.t.Context(), statement, args...)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// A domain that is put into the database is served at once, and one that is not is refused before the CA hears of it.
func TestDomainsOfTheDatabase(t *testing.T) {
	t.Parallel()
	p := start(t, "-database", "domains.db")
	p.change("INSERT INTO domains VALUES ($1, $2)", "shop.example", upstream(t))
	const want = `shop.example from ["127.0.0.1"] for ["shop.example"] by ["https"]`
	answer, body := p.get("https://shop.example/", "X-Forwarded-For", "192.0.2.1", "X-Forwarded-Host", "forged.example")
	if answer.StatusCode != http.StatusOK || body != want || answer.ProtoMajor != 2 {
		t.Errorf("%s by %s: %s, want %s", answer.Status, answer.Proto, body, want)
	}
	asked := p.ca.Requests()
	for range 3 {
		_, err := (&tls.Dialer{Config: p.tls("unknown.example")}).DialContext(t.Context(), "tcp", p.address)
		if err == nil || !strings.Contains(err.Error(), "unrecognized name") {
			t.Errorf("a handshake for a name that is not in the database: %v", err)
		}
	}
	if after := p.ca.Requests(); fmt.Sprint(after) != fmt.Sprint(asked) {
		t.Errorf("the CA was asked for %v, and before the refusal for %v", after, asked)
	}
	if orders := p.ca.Orders(); len(orders) != 1 {
		t.Errorf("%d certificates were ordered", len(orders))
	}
	if answer, body := p.get("https://shop.example/", "Host", "unknown.example"); answer.StatusCode != http.StatusMisdirectedRequest {
		t.Errorf("a request for another name than the handshake's: %s, %s", answer.Status, body)
	}
	if answer, _ := p.get("http://shop.example/a?b"); answer.Header.Get("Location") != "https://shop.example:"+p.port()+"/a?b" {
		t.Errorf("plain HTTP leads to %q", answer.Header.Get("Location"))
	}
	if status := p.end(syscall.SIGTERM); status != 0 {
		t.Errorf("the terminated proxy has the status %d:\n%s", status, p.log.String())
	}
}

func (p *program) port() string { return p.address[strings.LastIndex(p.address, ":")+1:] }

// Names of the command line are obtained at the start, and WebSockets pass.
func TestNamesOfTheCommandLine(t *testing.T) {
	t.Parallel()
	p := start(t, "One.example="+upstream(t))
	config, err := websocket.NewConfig("wss://one.example/echo", "https://one.example")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := (&tls.Dialer{Config: p.tls("one.example")}).DialContext(t.Context(), "tcp", p.address)
	for err != nil && strings.Contains(err.Error(), "internal error") { // it is being obtained
		raw, err = (&tls.Dialer{Config: p.tls("one.example")}).DialContext(t.Context(), "tcp", p.address)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, p.log.String())
	}
	conn, err := websocket.NewClient(config, raw)
	if err != nil {
		t.Fatalf("%v\n%s", err, p.log.String())
	}
	defer conn.Close()
	for _, text := range []string{"one", "two"} {
		var echo string
		err := websocket.Message.Send(conn, text)
		if err == nil {
			err = websocket.Message.Receive(conn, &echo)
		}
		if err != nil || echo != text {
			t.Errorf("sent %q, received %q: %v", text, echo, err)
		}
	}
}

// While the server behind a name is down there is a page that says so, also for curl.
func TestUpstreamIsDown(t *testing.T) {
	t.Parallel()
	curl, err := exec.LookPath("curl")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	p := start(t, "-database", "domains.db")
	p.change("INSERT INTO domains VALUES ($1, $2)", "down.example", freeAddress(t))
	cmd := exec.CommandContext(t.Context(), curl, "-sS", "--noproxy", "*", "--cacert", p.root, "--connect-to", "::"+p.address, "-w", "%{http_code}", "https://down.example/")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	if want := "The server behind this address does not answer. Try again in a moment.\n502"; err != nil || stdout.String() != want {
		t.Errorf("%v: %s%s\n%s", err, stdout.String(), stderr.String(), p.log.String())
	}
	if !strings.Contains(p.log.String(), "a request could not be passed on") {
		t.Errorf("the log does not say it:\n%s", p.log.String())
	}
}

// A domain that was deleted has a certificate yet, and its clients are told that nothing is served.
func TestDeletedDomain(t *testing.T) {
	d := newDomains()
	d.db = new(sql.DB) // which is not asked
	d.known["gone.example"] = answer{until: time.Now().Add(time.Hour)}
	r, w := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "https://gone.example/", nil), httptest.NewRecorder()
	if (&proxy{domains: d}).ServeHTTP(w, r); w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), "Nothing is served") {
		t.Errorf("%d: %s", w.Code, w.Body)
	}
}

// A request that is under way when the proxy is told to end is answered.
func TestEndsWhenAnswered(t *testing.T) {
	t.Parallel()
	asked, answers := make(chan struct{}), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(asked)
		<-answers
		_, _ = io.WriteString(w, "answered")
	}))
	t.Cleanup(server.Close)
	p := start(t, "-database", "domains.db")
	p.change("INSERT INTO domains VALUES ('slow.example', $1)", strings.TrimPrefix(server.URL, "http://"))
	said := make(chan string, 1)
	go func() {
		answer, err := p.client().Get("https://slow.example/")
		if err != nil {
			said <- err.Error()
			return
		}
		defer answer.Body.Close()
		body, _ := io.ReadAll(answer.Body)
		said <- string(body)
	}()
	<-asked
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for { // until it takes no more connections
		conn, err := (&tls.Dialer{Config: p.tls("slow.example")}).DialContext(ctx, "tcp", p.address)
		if err != nil {
			break
		}
		_ = conn.Close()
	}
	close(answers)
	if text := <-said; text != "answered" {
		t.Errorf("the request under way: %s\n%s", text, p.log.String())
	}
	if <-p.ended; p.cmd.ProcessState.ExitCode() != 0 {
		t.Errorf("the proxy has the status %v:\n%s", p.cmd.ProcessState, p.log.String())
	}
}

func TestWrongArguments(t *testing.T) {
	for _, test := range []struct{ args, want string }{
		{"-agree", "name a domain"},
		{"-agree example.com", "is not of the form example.com=127.0.0.1:8080"},
		{"-agree example.com=127.0.0.1", "is not of the form"},
		{"example.com=127.0.0.1:8080", "-agree is missing"},
		{"-agree -database /none/such.db", "-database /none/such.db: "},
		{"-agree a_b.example=127.0.0.1:8080", "a_b.example"},
	} {
		if err := run(t.Context(), strings.Fields(test.args)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: %v, want %q", test.args, err, test.want)
		}
	}
}
