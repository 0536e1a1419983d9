package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"github.com/everseal/everseal/acme/acmetest"
)

const size = 3 // members

// A demonstration is the fleet on one machine.
type demonstration struct {
	address  string // of the balancer
	control  string
	database string // URL; empty: it is started

	folder  string
	root    string // the file of the CA's root certificate
	members []*process
	domains *domains
}

// run shows the fleet until ctx ends.
func (d *demonstration) run(ctx context.Context, stdout io.Writer) (err error) {
	if d.folder, err = os.MkdirTemp("", "everseal-fleet-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(d.folder)) }()
	if err := os.Chmod(d.folder, 0o711); err != nil { // PostgreSQL's user has to come through
		return err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", d.address)
	if err != nil {
		return fmt.Errorf("%w: choose another address by -addr", err)
	}
	defer listener.Close()
	d.address = listener.Addr().String()
	control, err := new(net.ListenConfig).Listen(ctx, "tcp", d.control) // before others look for ports that are free
	if err != nil {
		return fmt.Errorf("%w: choose another address by -control", err)
	}
	defer control.Close()
	d.control = control.Addr().String()
	ca := acmetest.NewServer()
	defer ca.Close()
	ca.SetHost("*", d.address) // all domains lead to the balancer
	d.root = filepath.Join(d.folder, "root.pem")
	if err := os.WriteFile(d.root, ca.RootPEM(), 0o600); err != nil {
		return err
	}
	if d.database == "" {
		fmt.Fprintln(stdout, "PostgreSQL is started.")
		server, err := startPostgres(ctx, d.folder)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, server.stop(context.WithoutCancel(ctx))) }()
		d.database = server.url
	}
	pool, leave, err := d.enter(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, leave(context.WithoutCancel(ctx))) }()
	d.domains = &domains{pool}
	if err := d.prepare(ctx, ca.URL); err != nil {
		return err
	}
	return d.serve(ctx, listener, control, stdout)
}

// enter makes a schema of the demonstration's own, and has the database's URL lead to it. The function that it returns
// deletes it.
func (d *demonstration) enter(ctx context.Context) (*pgxpool.Pool, func(context.Context) error, error) {
	u, err := url.Parse(d.database)
	if err != nil || !strings.HasPrefix(u.Scheme, "postgres") {
		return nil, nil, errors.New("-database can't be read: it is like postgres://user:password@host/database")
	}
	schema := "fleet_" + strings.ToLower(rand.Text())
	query := u.Query()
	query.Set("search_path", schema)
	u.RawQuery = query.Encode()
	d.database = u.String()
	pool, err := pgxpool.New(ctx, d.database)
	if err == nil {
		_, err = pool.Exec(ctx, "CREATE SCHEMA "+schema)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("make a schema in the database: %w", err)
	}
	return pool, func(ctx context.Context) error {
		defer pool.Close()
		_, err := pool.Exec(ctx, "DROP SCHEMA "+schema+" CASCADE")
		return err
	}, nil
}

// prepare gives two customers domains, and says how the members are to be started.
func (d *demonstration) prepare(ctx context.Context, ca string) error {
	if err := d.domains.prepare(ctx); err != nil {
		return err
	}
	for name, customer := range map[string]string{"shop-1.example": "Alice", "shop-2.example": "Bob"} {
		if err := d.domains.add(ctx, name, customer); err != nil {
			return err
		}
	}
	secret := make([]byte, 32)
	_, _ = rand.Read(secret)
	environment := []string{"DATABASE_URL=" + d.database, "SEALING_SECRET=" + base64.StdEncoding.EncodeToString(secret)}
	for i := range size {
		port, err := freePort()
		internal, err2 := freePort()
		if err := errors.Join(err, err2); err != nil {
			return err
		}
		name := "member " + strconv.Itoa(i+1)
		p := &process{name: name, address: net.JoinHostPort("127.0.0.1", port), internal: net.JoinHostPort("127.0.0.1", internal), environment: environment}
		p.arguments = []string{
			"member", "-name", name, "-addr", p.address, "-http", "off", "-internal", p.internal,
			"-ca", ca, "-ca-root", d.root, "-agree", "-preflight", "off", // the CA finds the balancer by its own table of hosts
		}
		d.members = append(d.members, p)
	}
	return nil
}

// serve runs members, balancer and control until ctx ends.
func (d *demonstration) serve(ctx context.Context, listener, control net.Listener, stdout io.Writer) error {
	var b balancer
	for _, p := range d.members {
		defer p.end()
		if err := p.start(ctx); err != nil {
			return err
		}
		b.members = append(b.members, p.address)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return b.serve(ctx, listener) })
	group.Go(func() error { return serve(ctx, control, d.controls()) })
	fmt.Fprintf(stdout, `%d members run behind a balancer at %[2]s, with the CA's root in %[3]s.

A customer's page. Its certificate is obtained now, by one member, and served by all:
  curl --cacert %[3]s --connect-to ::%[2]s https://shop-1.example/
A domain that is nobody's is refused, and nothing is ordered:
  curl --cacert %[3]s --connect-to ::%[2]s https://other.example/
A new customer:
  curl -X POST 'http://%[4]s/domains?name=shop-3.example&customer=Carol'
A member is killed, and comes back:
  curl -X POST 'http://%[4]s/kill?member=2'
  curl -X POST 'http://%[4]s/start?member=2'
`, size, d.address, d.root, d.control)
	for _, p := range d.members {
		fmt.Fprintf(stdout, "The status page of %[1]s is http://%[2]s/, its metrics are http://%[2]s/metrics\n", p.name, p.internal)
	}
	return group.Wait()
}

// controls returns what adds domains, and kills and starts members.
func (d *demonstration) controls() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /domains", func(w http.ResponseWriter, r *http.Request) {
		name, customer := r.FormValue("name"), r.FormValue("customer")
		if name == "" || customer == "" {
			http.Error(w, "say name=shop-3.example&customer=Carol", http.StatusBadRequest)
			return
		}
		answer(w, d.domains.add(r.Context(), strings.ToLower(name), customer), name+" is "+customer+"'s.")
	})
	of := func(act func(context.Context, *process) error, done string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			n, err := strconv.Atoi(r.FormValue("member"))
			if err != nil || n < 1 || n > len(d.members) {
				http.Error(w, fmt.Sprintf("say member=1 to %d", len(d.members)), http.StatusBadRequest)
				return
			}
			p := d.members[n-1]
			answer(w, act(r.Context(), p), p.name+" "+done)
		}
	}
	mux.Handle("POST /kill", of(func(_ context.Context, p *process) error { return p.kill() }, "is killed."))
	mux.Handle("POST /start", of(func(ctx context.Context, p *process) error { return p.start(ctx) }, "runs again."))
	return http.NewCrossOriginProtection().Handler(mux) // no web page kills members
}

func answer(w http.ResponseWriter, err error, done string) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	fmt.Fprintln(w, done)
}

// patience is how long a member may take to start, and to end.
const patience = time.Minute
