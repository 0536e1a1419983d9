package main

import (
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const password = "not to be printed"

// startPostgres starts a PostgreSQL, which CI has to have, and returns the URL of its database for the user postgres.
func startPostgres(t *testing.T) *url.URL {
	t.Helper()
	t.Setenv("PATH", os.Getenv("PATH")+":/usr/lib/postgresql/"+newestPostgres()+"/bin") // where Debian has it
	if _, err := exec.LookPath("initdb"); err != nil && os.Getenv("CI") == "" {
		t.Skip("PostgreSQL is not installed (Debian: postgresql): ", err)
	}
	folder, err := os.MkdirTemp("", "everseal-proxy-*") // whose parent others can enter, unlike that of t.TempDir
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	file := filepath.Join(folder, "password")
	if err := os.WriteFile(file, []byte(password), 0o600); err != nil {
		t.Fatal(err)
	}
	run := asPostgres(t, folder, file)
	data := filepath.Join(folder, "data")
	run("initdb", "-D", data, "-A", "scram-sha-256", "-U", "postgres", "--pwfile", file, "--no-sync")
	_, port, _ := net.SplitHostPort(freeAddress(t))
	run("pg_ctl", "-D", data, "-w", "-l", filepath.Join(folder, "log"), "-o", "-p "+port+" -c listen_addresses=127.0.0.1 -c unix_socket_directories=''", "start")
	t.Cleanup(func() { run("pg_ctl", "-D", data, "-w", "-m", "immediate", "stop") })
	return &url.URL{Scheme: "postgres", User: url.UserPassword("postgres", password), Host: net.JoinHostPort("127.0.0.1", port), Path: "/postgres"}
}

// newestPostgres returns the newest version of those that Debian has installed, "" if there is none.
func newestPostgres() (newest string) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*")
	for _, folder := range found {
		newest = filepath.Base(folder)
	}
	return newest
}

// asPostgres returns what runs PostgreSQL's programs. They refuse to run as root: as the user postgres then, who gets the files.
func asPostgres(t *testing.T, files ...string) func(program string, args ...string) {
	t.Helper()
	var prefix []string
	if os.Geteuid() == 0 {
		account, err := user.Lookup("postgres")
		if err != nil {
			t.Fatal(err)
		}
		uid, _ := strconv.Atoi(account.Uid)
		gid, _ := strconv.Atoi(account.Gid)
		for _, file := range files {
			if err := os.Chown(file, uid, gid); err != nil {
				t.Fatal(err)
			}
		}
		prefix = []string{"setpriv", "--reuid", account.Uid, "--regid", account.Gid, "--clear-groups"}
	}
	return func(program string, args ...string) {
		t.Helper()
		arguments := append(append(prefix[:len(prefix):len(prefix)], program), args...)
		said := filepath.Join(t.TempDir(), "said") // not a pipe, which the server would keep open
		output, err := os.Create(said)
		if err != nil {
			t.Fatal(err)
		}
		defer output.Close()
		command := exec.Command(arguments[0], arguments[1:]...)
		command.Dir, command.Stdout, command.Stderr = files[0], output, output
		if err := command.Run(); err != nil {
			text, _ := os.ReadFile(said)
			t.Fatalf("%s: %v\n%s", program, err, text)
		}
	}
}

// PostgreSQL is asked as SQLite is. A user that may only read the table is enough, and no error has the password in it.
func TestPostgreSQL(t *testing.T) {
	database := startPostgres(t)
	testDomains(t, database.String())

	owner, reader := newDomains(), newDomains()
	if err := owner.open(t.Context(), database.String()); err != nil { // which makes the table
		t.Fatal(err)
	}
	defer owner.db.Close()
	for _, statement := range []string{
		"INSERT INTO domains VALUES ('shop.example', '192.0.2.1:80')",
		"CREATE ROLE reader LOGIN PASSWORD '" + password + "'",
		"GRANT SELECT ON domains TO reader",
	} {
		if _, err := owner.db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	database.User = url.UserPassword("reader", password)
	if err := reader.open(t.Context(), database.String()); err != nil {
		t.Fatal(err)
	}
	defer reader.db.Close()
	if upstream, err := reader.upstream(t.Context(), "shop.example"); err != nil || upstream != "192.0.2.1:80" {
		t.Errorf("a user that may only read is told %q, %v", upstream, err)
	}

	database.Path = "/none"
	err := run(t.Context(), []string{"-agree", "-database", database.String()})
	if err == nil || !strings.Contains(err.Error(), `-database postgres: `) || !strings.Contains(err.Error(), `"none" does not exist`) {
		t.Errorf("a database that is not there: %v", err)
	}
	for _, secret := range []string{password, url.PathEscape(password)} {
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("the error has the password in it: %v", err)
		}
	}
}
