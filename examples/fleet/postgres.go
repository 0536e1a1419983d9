package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
)

// A postgres is a PostgreSQL server for the demonstration, whose data is in a folder of its own.
type postgres struct {
	folder string
	url    string
}

// errNoPostgres is wrapped by the error about a PostgreSQL that is not installed.
var errNoPostgres = errors.New("PostgreSQL is not installed: install it (Debian: postgresql), or name one by -database postgres://…")

// findPostgres returns where a program of PostgreSQL is, in PATH or where Debian has it.
func findPostgres(program string) (string, error) {
	if path, err := exec.LookPath(program); err == nil {
		return path, nil
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + program)
	if len(found) == 0 {
		return "", fmt.Errorf("%s is not found: %w", program, errNoPostgres)
	}
	return found[len(found)-1], nil
}

// startPostgres starts a server below the folder. It takes connections from this machine, by a password.
func startPostgres(ctx context.Context, parent string) (*postgres, error) {
	p := &postgres{folder: filepath.Join(parent, "postgresql")}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	if err := errors.Join(os.Mkdir(p.folder, 0o700), p.own(p.folder)); err != nil {
		return nil, err
	}
	password, file := rand.Text(), filepath.Join(p.folder, "password")
	if err := errors.Join(os.WriteFile(file, []byte(password+"\n"), 0o600), p.own(file)); err != nil {
		return nil, err
	}
	err = p.command(ctx, "initdb", "-D", p.data(), "-A", "scram-sha-256", "-U", "postgres", "--pwfile", file, "--no-sync", "-E", "UTF8")
	if err != nil {
		return nil, err
	}
	// pg_ctl has the server leave the terminal's group of processes, so that it is there until the members have ended.
	err = p.command(ctx, "pg_ctl", "-D", p.data(), "-w", "-l", filepath.Join(p.folder, "log"),
		"-o", fmt.Sprintf("-p %s -c listen_addresses=127.0.0.1 -c unix_socket_directories=''", port), "start")
	if err != nil {
		return nil, err
	}
	u := url.URL{Scheme: "postgres", User: url.UserPassword("postgres", password), Host: net.JoinHostPort("127.0.0.1", port), Path: "/postgres", RawQuery: "sslmode=disable"}
	p.url = u.String()
	return p, nil
}

func (p *postgres) data() string { return filepath.Join(p.folder, "data") }

// stop ends the server.
func (p *postgres) stop(ctx context.Context) error {
	return p.command(ctx, "pg_ctl", "-D", p.data(), "-w", "-m", "fast", "stop")
}

// command runs a program of PostgreSQL, which refuses to run as root: as the user postgres then.
func (p *postgres) command(ctx context.Context, program string, args ...string) error {
	path, err := findPostgres(program)
	if err != nil {
		return err
	}
	if os.Geteuid() == 0 {
		args = append([]string{"--reuid", "postgres", "--regid", "postgres", "--clear-groups", path}, args...)
		path = "setpriv"
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = p.folder
	output, err := os.CreateTemp("", "everseal-fleet-*.log") // not a pipe, which the server would keep open
	if err != nil {
		return err
	}
	defer func() { _ = errors.Join(output.Close(), os.Remove(output.Name())) }()
	cmd.Stdout, cmd.Stderr = output, output
	if err := cmd.Run(); err != nil {
		said, _ := os.ReadFile(output.Name())
		return fmt.Errorf("%s: %w\n%s", program, err, said)
	}
	return nil
}

// own gives a file to the user postgres, if this is root.
func (p *postgres) own(name string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	account, err := user.Lookup("postgres")
	if err != nil {
		return err
	}
	uid, _ := strconv.Atoi(account.Uid)
	gid, _ := strconv.Atoi(account.Gid)
	return os.Chown(name, uid, gid)
}

// freePort returns a port of this machine that nobody listens on, below those that systems give to outgoing connections. None is
// given twice: whoever gets one listens on it later.
func freePort() (string, error) {
	const first, count = 12_000, 10_000
	var err error
	for range 100 {
		var listener net.Listener
		port := strconv.Itoa(first + mathrand.IntN(count))
		if _, taken := given.LoadOrStore(port, true); taken {
			continue
		}
		if listener, err = net.Listen("tcp", net.JoinHostPort("127.0.0.1", port)); err == nil {
			return port, listener.Close()
		}
	}
	return "", cmp.Or(err, errNoPort)
}

// given are the ports that freePort has tried.
var given sync.Map

var errNoPort = errors.New("no port is free")
