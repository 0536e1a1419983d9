//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package deploy_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/certmanager/deploy"
	"github.com/everseal/everseal/storage"
)

// The command has certbot's variables, and its arguments as they are: no shell reads them.
func TestCommand(t *testing.T) {
	for _, oneFile := range []bool{false, true} {
		t.Run("OneFile "+strconv.FormatBool(oneFile), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorldOf(t, certmanager.Config{Subjects: []certmanager.Subject{{Names: []string{"example.test", "www.example.test", "*.sub.example.test"}}},
					Issuers: []certmanager.Issuer{new(certmanager.LocalCA)}, Storage: new(storage.Memory), Logger: quiet()})
				log := filepath.Join(t.TempDir(), "log")
				d := w.deployer()
				d.OneFile, d.Command = oneFile, []string{"sh", script(t, `echo "$1|$RENEWED_LINEAGE|$RENEWED_DOMAINS|$(ls "$RENEWED_LINEAGE" | tr '\n' ' ')" >>"$2"`), "$(id);`id`", log}
				runs(t, d.Run)
				r := w.succeeded(1)
				path := filepath.Join(w.dir, "example.test")
				files := "cert.pem chain.pem fullchain.pem privkey.pem "
				if oneFile {
					path += ".pem"
					files = path + " "
				}
				want := "$(id);`id`|" + path + "|*.sub.example.test example.test www.example.test|" + files
				if got := lines(t, log); !slices.Equal(got, []string{want}) {
					t.Errorf("the command printed %q, want %q", got, want)
				}
				if !slices.Equal(r.Names, []string{"example.test"}) || !slices.Equal(r.Paths, []string{path}) {
					t.Errorf("%+v", r)
				}
			})
		})
	}
}

// A command that fails is reported and run again after ever longer pauses, until it succeeds, for the latest files.
func TestCommandFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "example.test")
		log, works := filepath.Join(t.TempDir(), "log"), filepath.Join(t.TempDir(), "works")
		d := w.deployer()
		d.Command = []string{"sh", script(t, `echo run >>"$1"; echo "first line"; echo "no such server" >&2; test -e "$2"`), log, works}
		runs(t, d.Run)
		var pauses []time.Duration
		began := time.Now()
		for n := 1; n <= 9; n++ {
			r := w.await(n)
			if r.Err == nil || r.Attempts != n {
				t.Fatalf("%d: %+v", n, r)
			}
			pauses = append(pauses, time.Since(began))
			began = time.Now()
			for _, want := range []string{"deploy: the files of example.test are written, but: sh: exit status 1", `first line\nno such server`} {
				if !strings.Contains(r.Err.Error(), want) {
					t.Errorf("%q is not in %q", want, r.Err)
				}
			}
		}
		want := []time.Duration{0, 10 * time.Second, 20 * time.Second, 40 * time.Second, 80 * time.Second, 160 * time.Second, 320 * time.Second, 10 * time.Minute, 10 * time.Minute}
		if !slices.Equal(pauses, want) {
			t.Errorf("the pauses are %v, want %v", pauses, want)
		}
		w.renew("example.test") // with new files it is tried at once
		if r := w.await(10); time.Since(began) > time.Minute || r.Attempts != 1 {
			t.Errorf("after %v: %+v", time.Since(began), r)
		}
		if err := os.WriteFile(works, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		w.succeeded(11)
		time.Sleep(24 * time.Hour)
		if n := len(lines(t, log)); n != 11 {
			t.Errorf("it was run %d times, want 11", n)
		}
	})
}

// While the command runs, files are kept up; for what has changed meanwhile it is run again.
func TestCommandIsSlow(t *testing.T) {
	w := newWorld(t, "example.test")
	folder := t.TempDir()
	d := w.deployer()
	d.Command = []string{"sh", script(t, `echo run >>"$1/log"; while ! test -e "$1/go"; do sleep 0.01; done`), folder}
	runs(t, d.Run)
	first := ""
	eventually(t, func() bool {
		first, _ = leafOf(filepath.Join(w.dir, "example.test"))
		return len(lines(t, filepath.Join(folder, "log"))) == 1
	})
	w.renew("example.test")
	d.OnEvent(certmanager.Event{Kind: certmanager.EventObtained})
	eventually(t, func() bool {
		leaf, err := leafOf(filepath.Join(w.dir, "example.test"))
		return err == nil && leaf != first
	})
	if err := os.WriteFile(filepath.Join(folder, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w.succeeded(2)
	if n := len(lines(t, filepath.Join(folder, "log"))); n != 2 {
		t.Errorf("it was run %d times, want 2", n)
	}
}

// What takes too long is killed with what it has started; what is left running without being waited for does not count.
func TestCommandHangs(t *testing.T) {
	w := newWorld(t, "example.test")
	pids := filepath.Join(t.TempDir(), "pids")
	d := w.deployer()
	d.Timeout = 200 * time.Millisecond
	d.Command = []string{"sh", script(t, `sleep 1000 & echo $! $$ >"$1"; echo begun; wait`), pids}
	runs(t, d.Run)
	r := w.await(1)
	if !errors.Is(r.Err, context.DeadlineExceeded) || !strings.Contains(r.Err.Error(), "Deployer.Timeout; it printed last: begun") {
		t.Errorf("%v", r.Err)
	}
	found := strings.Fields(strings.Join(lines(t, pids), " "))
	if len(found) != 2 {
		t.Fatalf("the processes are %q", found)
	}
	for _, pid := range found {
		number, err := strconv.Atoi(pid)
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, func() bool { return isGone(number) })
	}
}

// A server that the command starts may go on running, with the command's output.
func TestCommandLeavesServer(t *testing.T) {
	w := newWorld(t, "example.test")
	pid := filepath.Join(t.TempDir(), "pid")
	d := w.deployer()
	d.Command = []string{"sh", script(t, `sleep 1000 & echo $! >"$1"`), pid}
	runs(t, d.Run)
	w.succeeded(1)
	number, err := strconv.Atoi(strings.Join(lines(t, pid), ""))
	if err != nil {
		t.Fatal(err)
	}
	if isGone(number) {
		t.Error("the server was killed")
	}
	_ = syscall.Kill(number, syscall.SIGKILL)
}

// Neither the key nor what variables hold is in the error, however the command prints them, and of much output a little.
func TestCommandOutput(t *testing.T) {
	tests := map[string]struct{ script, want string }{
		"a key":              {`cat "$RENEWED_LINEAGE/privkey.pem"; echo "$1"`, "<PEM>"},
		"the end of a key":   {`tail -n 2 "$RENEWED_LINEAGE/privkey.pem"`, "<PEM>"},
		"a line of a key":    {`sed -n 2p "$RENEWED_LINEAGE/privkey.pem"`, "<PEM>"},
		"the begin of a key": {`head -n 3 "$RENEWED_LINEAGE/privkey.pem"`, "<PEM>"},
		"a certificate":      {`cat "$RENEWED_LINEAGE/fullchain.pem"`, "<PEM>"},
		"a variable":         {`echo "token=$DEPLOY_TOKEN."`, "token=<DEPLOY_TOKEN>."},
		"a path":             {`echo "/usr/share/everseal/examples/deploy/verylongname"`, "/usr/share/everseal/examples/deploy/verylongname"},
		"a control sequence": {`printf '\033[31mred\n'`, `\x1b[31mred`},
		"much":               {`yes 0123456789 | head -n 100000; echo end`, "end"},
		"nothing":            {``, "nothing"},
	}
	t.Setenv("DEPLOY_TOKEN", "s3cret-token-of-the-dns")
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, "example.test")
				d := w.deployer()
				d.Command = []string{"sh", script(t, test.script+"\nexit 3")}
				runs(t, d.Run)
				err := w.await(1).Err
				var exit *exec.ExitError
				if !errors.As(err, &exit) || exit.ExitCode() != 3 || !strings.Contains(err.Error(), test.want) || len(err.Error()) > 600 {
					t.Errorf("%v, want %q", err, test.want)
				}
				key := lines(t, filepath.Join(w.dir, "example.test/privkey.pem"))
				for _, secret := range append(key[1:len(key)-1], "s3cret") {
					if strings.Contains(err.Error(), secret) {
						t.Errorf("%q is in %q", secret, err)
					}
				}
			})
		})
	}
}

// With Together the command is run once for all that changes within seconds, at the start and later.
func TestTogether(t *testing.T) {
	names := numbered(5)
	for _, together := range []bool{true, false} {
		t.Run(strconv.FormatBool(together), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, names...)
				log := filepath.Join(t.TempDir(), "log")
				d := w.deployer()
				d.Together = together
				d.Command = []string{"sh", script(t, `echo $(echo "$RENEWED_LINEAGE" | wc -l) $RENEWED_DOMAINS >>"$1"`), log}
				runs(t, d.Run)
				time.Sleep(time.Minute)
				renewed := []string{names[1], names[3]}
				for _, name := range renewed {
					w.renew(name)
					d.OnEvent(certmanager.Event{Kind: certmanager.EventObtained})
					time.Sleep(2 * time.Second)
				}
				time.Sleep(time.Minute)
				want := []string{"5 " + strings.Join(names, " "), "2 " + strings.Join(renewed, " ")}
				if !together {
					want = nil
					for _, name := range append(slices.Clone(names), renewed...) {
						want = append(want, "1 "+name)
					}
				}
				if got := lines(t, log); !slices.Equal(got, want) {
					t.Errorf("the command was run for %q, want %q", got, want)
				}
			})
		})
	}
}

// A failure half-way is tried again by the same run, and the command is run once all is there: before the switch, and after it.
func TestHalfInstalled(t *testing.T) {
	tests := map[string]string{"before the switch": ".new-.current", "after the switch": ".new-chain.pem"}
	for name, obstacle := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, "example.test")
				d := w.deployer()
				d.Command = []string{"true"}
				runs(t, d.Run)
				w.succeeded(1)
				folder := filepath.Join(w.dir, "example.test")
				if err := os.MkdirAll(filepath.Join(folder, obstacle, "full"), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.Remove(filepath.Join(folder, "chain.pem")); err != nil {
					t.Fatal(err)
				}
				w.renew("example.test")
				for n := 2; n < 5; n++ {
					if r := w.await(n); r.Err == nil || r.Attempts != n-1 || !strings.Contains(r.Err.Error(), "deploy: example.test: ") {
						t.Errorf("%d: %+v", n, r)
					}
				}
				if err := os.RemoveAll(filepath.Join(folder, obstacle)); err != nil {
					t.Fatal(err)
				}
				w.succeeded(5)
				w.wantFiles("example.test", "example.test")
				if got, want := list(t, folder), []string{".1", ".2", ".current", ".done", "cert.pem", "chain.pem", "fullchain.pem", "privkey.pem"}; obstacle == ".new-.current" && !slices.Equal(got, want) {
					t.Errorf("there is %q, want %q", got, want)
				}
			})
		})
	}
}

// One of two that fail together is renewed: all wait no longer than that one.
func TestTogetherFails(t *testing.T) {
	names := numbered(2)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, names...)
		d := w.deployer()
		d.Together, d.Command = true, []string{"false"}
		runs(t, d.Run)
		w.await(7) // after ten minutes it is run again
		w.renew(names[0])
		began := time.Now()
		r := w.await(8)
		if took := time.Since(began); took > time.Minute || len(r.Names) != 2 {
			t.Errorf("after %v: %+v", took, r)
		}
	})
}

// A start with right files runs the command if it was not run for them, and not again otherwise.
func TestRestart(t *testing.T) {
	tests := map[string]struct {
		before, after []string // commands
		change        func(w *world)
		want          int // results of the second
	}{
		"it was run":                {[]string{"true"}, []string{"true"}, nil, 0},
		"another one":               {[]string{"true"}, []string{"false"}, nil, 0},
		"it failed":                 {[]string{"false"}, []string{"true"}, nil, 1},
		"there was none":            {nil, []string{"true"}, nil, 1},
		"there is none":             {[]string{"true"}, nil, nil, 0},
		"it was stopped":            {[]string{"sleep", "1000"}, []string{"true"}, nil, 1},
		"a renewal between":         {[]string{"true"}, []string{"true"}, func(w *world) { w.renew("example.test") }, 1},
		"a renewal without command": {[]string{"true"}, nil, func(w *world) { w.renew("example.test") }, 1},
		"files were mended, and the command failed": {[]string{"true"}, []string{"true"}, func(w *world) {
			between := w.deployer()
			between.Command = []string{"false"}
			for _, name := range []string{"example.test.pem", "example.test/cert.pem"} {
				if os.Remove(filepath.Join(w.dir, name)) == nil {
					between.OneFile = strings.HasSuffix(name, "test.pem")
				}
			}
			n := w.count()
			stop := runs(w.t, between.Run)
			w.await(n + 1)
			stop()
		}, 1},
		"files were removed": {[]string{"true"}, []string{"true"}, func(w *world) { _ = os.RemoveAll(w.dir) }, 1},
	}
	for name, test := range tests {
		for _, oneFile := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", OneFile ", oneFile), func(t *testing.T) {
				w := newWorld(t, "example.test")
				d := w.deployer()
				d.OneFile, d.Command = oneFile, test.before
				stop := runs(t, d.Run)
				path := filepath.Join(w.dir, map[bool]string{true: "example.test.pem", false: "example.test"}[oneFile])
				if name == "it was stopped" {
					eventually(t, func() bool { _, err := leafOf(path); return err == nil })
				} else {
					w.await(1)
				}
				stop()
				before := w.count()
				if test.change != nil {
					test.change(w)
				}
				synctest.Test(t, func(t *testing.T) {
					second := w.deployer()
					second.OneFile, second.Command = oneFile, test.after
					got := 0
					second.OnResult = func(r deploy.Result) {
						if got++; r.Err != nil {
							t.Error(r.Err)
						}
					}
					stop := runs(t, second.Run)
					time.Sleep(5 * time.Minute)
					stop()
					if got != test.want {
						t.Errorf("there are %d results, want %d; before there were %d", got, test.want, before)
					}
				})
				w.wantFiles(filepath.Base(path), "example.test")
			})
		}
	}
}

// eventually waits until something is so.
func eventually(t *testing.T, isSo func() bool) {
	t.Helper()
	limit := time.NewTimer(time.Minute)
	defer limit.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !isSo() {
		select {
		case <-tick.C:
		case <-limit.C:
			t.Fatal("it has not come to that in a minute")
		}
	}
}

// isGone reports whether there is no such process, or what is left of it is not waited for yet.
func isGone(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return true
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && strings.Contains(string(stat), ") Z ")
}
