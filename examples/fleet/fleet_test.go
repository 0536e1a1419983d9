package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// The fleet from outside: one certificate for all members, one session, one policy, and one member that dies while all
// requests are answered.
func TestFleet(t *testing.T) {
	needPostgres(t)
	p := start(t)
	members, serials := make(map[string]bool), make(map[string]bool)
	for range 2 * size {
		page, state, err := p.get(t.Context(), "shop-1.example", new(tls.Config))
		if err != nil || !strings.HasPrefix(page, "<p>This is shop-1.example of Alice, by member ") {
			t.Fatalf("%v, %s\n%s", err, page, p.log.String())
		}
		members[memberOf(page)] = true
		serials[state.PeerCertificates[0].SerialNumber.String()] = true
	}
	if len(members) != size || len(serials) != 1 {
		t.Errorf("members %v have answered, with the certificates %v", members, serials)
	}
	if n := p.sum("everseal_certificates_obtained_total "); n != 1 {
		t.Errorf("%v certificates were obtained", n)
	}
	t.Run("policy", p.testPolicy)
	t.Run("session", p.testSession)
	t.Run("curl", p.testCurl)
	t.Run("kill", p.testKill)
	if n := p.sum("everseal_certificates_overdue "); n != 0 {
		t.Errorf("%v certificates are overdue", n)
	}
	folder := filepath.Dir(p.root)
	if status := p.end(syscall.SIGTERM); status != 0 {
		t.Errorf("the terminated program has the status %d:\n%s", status, p.log.String())
	}
	if left, err := filepath.Glob(folder); err != nil || len(left) > 0 {
		t.Errorf("%v is left: %v", left, err)
	}
	for _, address := range p.internal {
		if _, err := http.Get("http://" + address + "/metrics"); err == nil {
			t.Errorf("the member at %s is left", address)
		}
	}
}

// sum returns the sum of a metric's values over the members.
func (p *program) sum(metric string) (sum float64) {
	p.t.Helper()
	for _, address := range p.internal {
		response, err := http.Get("http://" + address + "/metrics")
		if err != nil {
			p.t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if err != nil || !strings.Contains(string(body), "everseal_certificates_overdue ") {
			p.t.Fatalf("the metrics: %v, %s", err, body)
		}
		for line := range strings.Lines(string(body)) {
			if strings.HasPrefix(line, metric) {
				var value float64
				if _, err := fmt.Sscan(line[strings.LastIndex(line, " ")+1:], &value); err != nil {
					p.t.Fatal(err)
				}
				sum += value
			}
		}
	}
	return sum
}

// A domain is refused until it is a customer's.
func (p *program) testPolicy(t *testing.T) {
	const orders = `everseal_acme_requests_total{action="newOrder"`
	before := p.sum(orders)
	for range size {
		if _, _, err := p.get(t.Context(), "other.example", new(tls.Config)); err == nil || !strings.Contains(err.Error(), "unrecognized name") {
			t.Errorf("a domain that is nobody's: %v", err)
		}
	}
	if after := p.sum(orders); before < 1 || after != before {
		t.Errorf("%v orders before, %v after the refusal", before, after)
	}
	p.tell("/domains?name=shop-3.example&customer=Carol", "shop-3.example is Carol's.")
	if page, _, err := p.get(t.Context(), "shop-3.example", new(tls.Config)); err != nil || !strings.Contains(page, "of Carol,") {
		t.Errorf("a new customer's domain: %v, %s\n%s", err, page, p.log.String())
	}
}

// A client resumes its session with whichever member it comes to.
func (p *program) testSession(t *testing.T) {
	config := &tls.Config{ClientSessionCache: tls.NewLRUClientSessionCache(0)}
	members := make(map[string]bool)
	for i := range 2 * size {
		page, state, err := p.get(t.Context(), "shop-1.example", config)
		if err != nil || state.DidResume != (i > 0) {
			t.Errorf("request %d, %s: resumed %t, %v", i, page, state.DidResume, err)
		}
		members[memberOf(page)] = true
	}
	if len(members) != size {
		t.Errorf("the members %v have answered", members)
	}
}

// The command that is printed first is right.
func (p *program) testCurl(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-c", p.curl+" -sS --noproxy '*'")
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "of Alice, by member ") {
		t.Errorf("%s: %v, %s", p.curl, err, out)
	}
}

// A member is killed amid requests. A client whose connection breaks by it asks once more, as browsers do, and is answered; as
// long as it dies, which may take a moment, perhaps more than once.
func (p *program) testKill(t *testing.T) {
	v := p.visit(t)
	v.await("member 2")
	p.tell("/kill?member=2", "member 2 is killed.")
	v.forget()
	v.await("member 1", "member 3")
	if v.has("member 2") {
		t.Error("the member that was killed has answered")
	}
	p.tell("/start?member=2", "member 2 runs again.")
	v.await("member 2")
	requests, repeated := v.end()
	t.Logf("%d requests were answered, %d of them when repeated", requests, repeated)
	if page := p.status(t, 1); !strings.Contains(page, "shop-1.example") || strings.Contains(page, "No certificates") {
		t.Errorf("the status page of the member that was started again:\n%s", page)
	}
	if n := p.sum("everseal_certificates_obtained_total "); n > 2 {
		t.Errorf("%v certificates were obtained for two domains", n)
	}
}

// status returns the status page of a member.
func (p *program) status(t *testing.T, i int) string {
	t.Helper()
	response, err := http.Get("http://" + p.internal[i] + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Errorf("the status page: %s, %v", response.Status, err)
	}
	return string(body)
}

// Visitors ask for a page again and again, each by connections of its own.
type visitors struct {
	t      *testing.T
	cancel context.CancelFunc
	tasks  sync.WaitGroup

	mu                 sync.Mutex // guards what follows
	changed            chan struct{}
	round              int             // of what await waits for
	members            map[string]bool // that have answered requests of this round
	requests, repeated int
}

func (p *program) visit(t *testing.T) *visitors {
	ctx, cancel := context.WithCancel(t.Context())
	v := &visitors{t: t, cancel: cancel, changed: make(chan struct{}), members: make(map[string]bool)}
	for range 4 {
		v.tasks.Go(func() {
			for ctx.Err() == nil {
				round, repeated := v.current(), 0
				page, _, err := p.get(context.WithoutCancel(ctx), "shop-1.example", new(tls.Config))
				for err != nil && (repeated == 0 || round == 0 && repeated < 100) {
					repeated++
					page, _, err = p.get(context.WithoutCancel(ctx), "shop-1.example", new(tls.Config))
				}
				if err != nil || !strings.Contains(page, "of Alice,") {
					t.Errorf("a visitor sees %v, %s", err, page)
				}
				v.note(memberOf(page), round, repeated)
			}
		})
	}
	t.Cleanup(func() { v.end() })
	return v
}

func (v *visitors) current() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.round
}

func (v *visitors) note(member string, round, repeated int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.requests++
	v.repeated += repeated
	if round == v.round {
		v.members[member] = true
	}
	close(v.changed)
	v.changed = make(chan struct{})
}

// forget forgets which members have answered.
func (v *visitors) forget() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.round++
	clear(v.members)
}

func (v *visitors) has(members ...string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, member := range members {
		if !v.members[member] {
			return false
		}
	}
	return true
}

// await waits until all these members have answered.
func (v *visitors) await(members ...string) {
	v.t.Helper()
	limit := time.After(time.Minute)
	for {
		v.mu.Lock()
		changed := v.changed
		v.mu.Unlock()
		if v.has(members...) {
			return
		}
		select {
		case <-changed:
		case <-limit:
			v.t.Fatalf("%v do not answer", members)
		}
	}
}

func (v *visitors) end() (requests, repeated int) {
	v.cancel()
	v.tasks.Wait()
	return v.requests, v.repeated
}

// A database of one's own is left as it was.
func TestOwnDatabase(t *testing.T) {
	needPostgres(t)
	folder := t.TempDir()
	for f := folder; f != os.TempDir() && f != "/"; f = filepath.Dir(f) {
		if err := os.Chmod(f, 0o711); err != nil { // PostgreSQL's user has to come through
			t.Fatal(err)
		}
	}
	server, err := startPostgres(t.Context(), folder)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := server.stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	}()
	p := start(t, "-database", server.url)
	schemas := func() (n int) {
		t.Helper()
		conn, err := pgx.Connect(t.Context(), server.url)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(t.Context())
		if err := conn.QueryRow(t.Context(), "SELECT count(*) FROM information_schema.schemata WHERE schema_name LIKE 'fleet_%'").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if page, _, err := p.get(t.Context(), "shop-2.example", new(tls.Config)); err != nil || !strings.Contains(page, "of Bob,") {
		t.Errorf("%v, %s\n%s", err, page, p.log.String())
	}
	if n := schemas(); n != 1 {
		t.Errorf("there are %d schemas while it runs", n)
	}
	if status := p.end(os.Interrupt); status != 0 {
		t.Errorf("the status is %d:\n%s", status, p.log.String())
	}
	if n := schemas(); n != 0 {
		t.Errorf("%d schemas are left", n)
	}
}

func TestWrongArguments(t *testing.T) {
	secret := strings.Repeat("A", 43) + "="
	for _, test := range []struct{ args, database, secret, want string }{
		{"-agree", "", secret, "DATABASE_URL is not set"},
		{"", "postgres://x", secret, "-agree is missing"},
		{"-agree", "postgres://x", "", "openssl rand -base64 32"},
		{"-agree", "postgres://x", "c2hvcnQ=", "openssl rand -base64 32"},
		{"-agree shop.example", "postgres://x", secret, `"shop.example" is no flag`},
		{"-agree -ca-root /none/such", "postgres://x", secret, "-ca-root: open /none/such"},
		{"-agree -ca-root go.mod", "postgres://x", secret, "there is no certificate in go.mod"},
	} {
		_, err := parseMember(strings.Fields(test.args), func(name string) string {
			return map[string]string{"DATABASE_URL": test.database, "SEALING_SECRET": test.secret}[name]
		})
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: %v", test, err)
		}
	}
	for args, want := range map[string]string{"shop": `"shop" is neither "member" nor a flag`, "-database mysql://x -addr 127.0.0.1:0": "-database can't be read"} {
		if err := run(t.Context(), strings.Fields(args)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", args, err, want)
		}
	}
}
