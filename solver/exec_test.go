//go:build unix

package solver_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/solver/internal/solvertest"
	"github.com/everseal/everseal/storage"
)

var execRecord = solver.Record{
	Zone:  "example.com",
	Name:  "_acme-challenge.www.example.com",
	Value: "LHDhK3oGRvkiefQnx7OOczTY5Tic_xZ6HcMOc_gmtoM",
	TTL:   90 * time.Second,
}

// script writes an executable file.
func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "edit-zone")
	if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func contents(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestExec(t *testing.T) {
	output := filepath.Join(t.TempDir(), "output")
	e := &solver.Exec{
		Path: script(t, `#!/bin/sh
printf '%s|' "$@" >>"$OUTPUT"
echo "$EVERSEAL_ACTION|$EVERSEAL_ZONE|$EVERSEAL_NAME|$EVERSEAL_LABEL|$EVERSEAL_VALUE|$EVERSEAL_TTL|$GIVEN|$OWN" >>"$OUTPUT"
`),
		Args: []string{"--config", "a file"},
		Env:  []string{"OUTPUT=" + output, "OWN=of Env", "EVERSEAL_ZONE=not this one"},
	}
	t.Setenv("GIVEN", "of the process")
	t.Setenv("OWN", "not this one")
	t.Setenv("EVERSEAL_ACTION", "not this one")
	apex := solver.Record{Zone: "example.com", Name: "example.com", Value: "-n"}
	for _, err := range []error{
		e.AppendRecord(t.Context(), execRecord),
		e.DeleteRecord(t.Context(), execRecord),
		e.AppendRecord(t.Context(), apex),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	const want = `--config|a file|append|_acme-challenge.www.example.com|LHDhK3oGRvkiefQnx7OOczTY5Tic_xZ6HcMOc_gmtoM|append|example.com|_acme-challenge.www.example.com|_acme-challenge.www|LHDhK3oGRvkiefQnx7OOczTY5Tic_xZ6HcMOc_gmtoM|90|of the process|of Env
--config|a file|delete|_acme-challenge.www.example.com|LHDhK3oGRvkiefQnx7OOczTY5Tic_xZ6HcMOc_gmtoM|delete|example.com|_acme-challenge.www.example.com|_acme-challenge.www|LHDhK3oGRvkiefQnx7OOczTY5Tic_xZ6HcMOc_gmtoM|90|of the process|of Env
--config|a file|append|example.com|-n|append|example.com|example.com|@|-n|1|of the process|of Env
`
	if got := contents(t, output); got != want {
		t.Errorf("the program was given\n%swant\n%s", got, want)
	}
}

func TestExecFails(t *testing.T) {
	for name, test := range map[string]struct {
		e    *solver.Exec
		want string // of it %s is the path
	}{
		"no path":    {&solver.Exec{}, "solver: Exec.Path is empty: name the program to run"},
		"no program": {&solver.Exec{Path: "/nowhere/edit-zone"}, `solver: Exec.Path: exec: "/nowhere/edit-zone": stat /nowhere/edit-zone: no such file or directory: set it to a program that can be run`},
		"an argument": {&solver.Exec{Path: script(t, "#!/bin/sh\necho \"$@\"; exit 1\n"), Args: []string{"--key=geheimnis", "--verbose", "geheimer", "four", "/bin/sh", "example"}},
			"solver: %s append: exit status 1; it printed last: --key=<Args[0]> --verbose <Args[2]> four /bin/sh example append " + execRecord.Name + " " + execRecord.Value},
		"inherited": {&solver.Exec{Path: script(t, "#!/bin/sh\necho \"$INHERITED_TOKEN $SHELL_PATH $PART_OF_NAME $APP_ENV $FEW_BYTES\" $SEVERAL_LINES; exit 1\n")},
			"solver: %s append: exit status 1; it printed last: <INHERITED_TOKEN> /bin/sh example.com production seven77 <SEVERAL_LINES> <SEVERAL_LINES>"},
		"silent": {&solver.Exec{Path: script(t, "#!/bin/sh\nexit 3\n")}, "solver: %s append: exit status 3; it printed last: nothing"},
		"its words": {&solver.Exec{Path: script(t, "#!/bin/sh\nprintf 'no \\033[31mzone\\n' >&2; echo 'ever'; exit 1\n")},
			`solver: %s append: exit status 1; it printed last: no \x1b[31mzone\never`},
		"a secret": {&solver.Exec{Path: script(t, "#!/bin/sh\necho \"401 for token=$CF_Token, $SHORT\"; exit 1\n"), Env: []string{"CF_Token=geheimnis", "SHORT=for"}},
			"solver: %s append: exit status 1; it printed last: 401 for token=<CF_Token>, for"},
		"many words": {&solver.Exec{Path: script(t, "#!/bin/sh\ni=0; while [ $i -lt 20000 ]; do echo 0123456789; i=$((i+1)); done; printf 'the end'; exit 1\n")},
			"solver: %s append: exit status 1; it printed last: " + strings.Repeat(`\n0123456789`, 22) + `\nthe end`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("INHERITED_TOKEN", "geheimnis")
			t.Setenv("SHELL_PATH", "/bin/sh")
			t.Setenv("PART_OF_NAME", "example.com")
			t.Setenv("APP_ENV", "production")
			t.Setenv("FEW_BYTES", "seven77")
			t.Setenv("SEVERAL_LINES", "the first line\nthe second line")
			err := test.e.AppendRecord(t.Context(), execRecord)
			if want := strings.ReplaceAll(test.want, "%s", test.e.Path); err == nil || err.Error() != want {
				t.Errorf("the error is\n%v, want\n%s", err, want)
			}
		})
	}
}

// A program that was not started has created nothing; of one that failed it is not known.
func TestExecSaysWhatWasNotCreated(t *testing.T) {
	for text, want := range map[string]bool{"#!/nowhere/sh\n": true, "#!/bin/sh\nexit 1\n": false} {
		if err := (&solver.Exec{Path: script(t, text)}).AppendRecord(t.Context(), execRecord); err == nil || errors.Is(err, solver.ErrNotCreated) != want {
			t.Errorf("%q: %v", text, err)
		}
	}
	hyphen := execRecord
	hyphen.Name = "-" + hyphen.Name
	if err := (&solver.Exec{Path: script(t, "#!/bin/sh\n")}).AppendRecord(t.Context(), hyphen); !errors.Is(err, solver.ErrNotCreated) {
		t.Errorf("a name that begins with a hyphen: %v", err)
	}
}

// What a program prints is kept up to a bound, however much it is.
func TestExecKeepsLittleOfTheOutput(t *testing.T) {
	e := &solver.Exec{Path: script(t, "#!/bin/sh\nhead -c 100000000 /dev/zero; echo the end; exit 1\n")}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err := e.AppendRecord(t.Context(), execRecord)
	runtime.ReadMemStats(&after)
	if err == nil || !strings.HasSuffix(err.Error(), "the end") {
		t.Errorf("the error is %v", err)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 4<<20 {
		t.Errorf("100 MB of output took %d bytes of memory", n)
	}
}

// What is kept may begin amid a secret.
func TestExecMasksTheEndOfASecret(t *testing.T) {
	long := ""
	for i := range 1000 {
		long += fmt.Sprintf("%05d", i)
	}
	e := &solver.Exec{
		Path: script(t, "#!/bin/sh\ni=0; while [ $i -lt 30 ]; do printf %s \"$LONG\"; i=$((i+1)); done; exit 1\n"),
		Env:  []string{"LONG=" + long},
	}
	err := e.AppendRecord(t.Context(), execRecord)
	if err == nil || !strings.Contains(err.Error(), "it printed last: <LONG><LONG>") || !strings.HasSuffix(err.Error(), "<LONG>") {
		t.Errorf("the error is %v", err)
	}
}

// A name comes from the DNS where a CNAME led to it, and could be an option of the program.
func TestExecTakesNoNameForAnOption(t *testing.T) {
	e := &solver.Exec{Path: script(t, "#!/bin/sh\ntouch \"$STARTED\"\n"), Env: []string{"STARTED=" + filepath.Join(t.TempDir(), "started")}}
	for _, r := range []solver.Record{
		{Zone: "example.com", Name: "-rf.example.com", Value: "value"}, {Zone: "-rf.example.com", Name: "a.-rf.example.com", Value: "value"},
	} {
		for _, err := range []error{e.AppendRecord(t.Context(), r), e.DeleteRecord(t.Context(), r)} {
			if err == nil || !strings.Contains(err.Error(), `"-rf.example.com" begins with a hyphen`) {
				t.Errorf("the error is %v", err)
			}
		}
	}
	if _, err := os.Stat(strings.TrimPrefix(e.Env[0], "STARTED=")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the program was run: %v", err)
	}
}

// A provider that cannot work says so before anything is noted as created, so that a clean-up has nothing to try in
// vain, and before any question to the DNS.
func TestProviderThatCannotWorkSaysSoAtOnce(t *testing.T) {
	for want, provider := range map[string]solver.Provider{
		"Exec.Path is empty":   new(solver.Exec),
		"/nowhere/edit-zone":   &solver.Exec{Path: "/nowhere/edit-zone"},
		"Webhook.URL is none":  new(solver.Webhook),
		"Webhook.URL is none ": &solver.Webhook{URL: "dns.example/acme"},
	} {
		store := new(storage.Memory)
		dns := &solver.DNS{Dial: func(context.Context, string, string) (net.Conn, error) {
			t.Errorf("%s: the DNS is asked", want)
			return nil, errors.New("no DNS")
		}}
		for _, s := range []acme.Solver{
			&solver.DNS01{Provider: provider, Storage: store, DNS: dns},
			&solver.DNSPersist01{Provider: provider, DNS: dns, Propagation: solver.Propagation{Off: true}},
		} {
			proof := persistProof()
			if s.Type() == acme.TypeDNS01 {
				proof = solvertest.NewProof(s.Type(), "example.com")
			}
			if err := s.Present(t.Context(), proof); err == nil || !strings.Contains(err.Error(), want) || strings.Count(err.Error(), "solver: ") != 1 {
				t.Errorf("the error is %v, want %s", err, want)
			}
			if err := s.CleanUp(t.Context(), proof); err != nil {
				t.Errorf("the clean-up of nothing: %v", err)
			}
		}
		if keys := keysOf(t, store); keys != nil {
			t.Errorf("%s: stored are %q", want, keys)
		}
	}
}

// What the program has started is killed with it. A pipe tells when that has ended.
func TestExecIsStopped(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if output, err := exec.Command("mkfifo", fifo).CombinedOutput(); err != nil {
		t.Fatalf("mkfifo: %v: %s", err, output)
	}
	e := &solver.Exec{Path: script(t, "#!/bin/sh\necho started\nsleep 3600 >\"$FIFO\" &\nwait\n"), Env: []string{"FIFO=" + fifo}}
	ctx, cancel := context.WithCancelCause(t.Context())
	ended := make(chan error, 1)
	go func() {
		pipe, err := os.Open(fifo) // which waits for the sleeping program
		cancel(errors.New("the server shuts down"))
		if err == nil {
			_, err = io.Copy(io.Discard, pipe)
			err = errors.Join(err, pipe.Close())
		}
		ended <- err
	}()
	err := e.DeleteRecord(ctx, execRecord)
	if want := fmt.Sprintf("solver: %s delete was stopped: the server shuts down; it printed last: started", e.Path); err == nil || err.Error() != want {
		t.Errorf("the error is %v, want %s", err, want)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestExecTimeout(t *testing.T) {
	e := &solver.Exec{Path: script(t, "#!/bin/sh\nsleep 3600\n"), Timeout: 10 * time.Millisecond}
	err := e.DeleteRecord(t.Context(), execRecord)
	if want := fmt.Sprintf("solver: %s delete was stopped after 10ms: context deadline exceeded; give it more time by Exec.Timeout; it printed last: nothing", e.Path); err == nil || err.Error() != want || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the error is %v, want %s", err, want)
	}
}

// A program that succeeds and leaves something running has succeeded.
func TestExecLeavesSomethingRunning(t *testing.T) {
	pid := filepath.Join(t.TempDir(), "pid")
	e := &solver.Exec{Path: script(t, "#!/bin/sh\nsleep 3600 & echo $! >\"$PID\"\n"), Env: []string{"PID=" + pid}}
	if err := e.AppendRecord(t.Context(), execRecord); err != nil {
		t.Error(err)
	}
	if output, err := exec.Command("kill", strings.TrimSpace(contents(t, pid))).CombinedOutput(); err != nil {
		t.Errorf("it does not run: %v: %s", err, output)
	}
}

func TestProvidersArePrintedWithoutSecrets(t *testing.T) {
	var text strings.Builder
	logger := slog.New(slog.NewJSONHandler(&text, nil))
	for _, provider := range []any{
		&solver.Exec{Path: "edit-zone", Args: []string{"geheimnis"}, Env: []string{"TOKEN=geheimnis"}},
		solver.Exec{Path: "edit-zone", Args: []string{"geheimnis"}, Env: []string{"TOKEN=geheimnis"}},
		&solver.Webhook{URL: "https://me:geheimnis@dns.example/geheimnis?geheimnis", Username: "me", Password: "geheimnis"},
		solver.Webhook{URL: "https://me:geheimnis@dns.example/geheimnis?geheimnis", Username: "me", Password: "geheimnis"},
	} {
		fmt.Fprintf(&text, "%v %+v %#v %s", provider, provider, provider, provider)
		logger.Info("uses", "provider", provider)
	}
	if strings.Contains(text.String(), "geheimnis") || strings.Count(text.String(), "program edit-zone") != 10 || strings.Count(text.String(), "webhook dns.example") != 10 {
		t.Errorf("printed was %s", &text)
	}
}

// The wrapper stands in the doc comment of Exec. It is run as it stands there, with scripts that have the shape
// of acme.sh's.
func TestExecRunsScriptsOfAcmeSh(t *testing.T) {
	_, after, ok := strings.Cut(contents(t, "exec.go"), "//\t#!")
	first, after, ok2 := strings.Cut(after, "\n//\t")
	second, _, ok3 := strings.Cut(after, "\n")
	if !ok || !ok2 || !ok3 {
		t.Fatal("the wrapper is not to be found")
	}
	home := t.TempDir()
	if err := os.MkdirAll(filepath.Join(home, ".acme.sh", "dnsapi"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		// Called with the name of a function it calls that, and without arguments it shows its help.
		"acme.sh": `#!/usr/bin/env sh
_initpath() { ACCOUNT_CONF_PATH="$HOME/.acme.sh/account.conf"; . "$ACCOUNT_CONF_PATH"; }
_readaccountconf_mutable() { eval "echo \"\$SAVED_$1\""; }
_info() { echo "$@"; }
_err() { echo "$@" >&2; return 1; }
main() {
  [ -z "$1" ] && _info "Usage:" && return
  "$@"
}
main "$@"
`,
		"account.conf": "SAVED_FAKE_Token='a saved token'\n",
		"dnsapi/dns_fake.sh": `#!/usr/bin/env sh
dns_fake_add() {
  fulldomain=$1
  txtvalue=$2
  FAKE_Token="${FAKE_Token:-$(_readaccountconf_mutable FAKE_Token)}"
  if [ "$txtvalue" = refused ]; then
    _err "Add txt record error."
    return 1
  fi
  echo "add $fulldomain $txtvalue $FAKE_Token" >>"$HOME/zone"
}
dns_fake_rm() {
  echo "rm $1 $2" >>"$HOME/zone"
}
`,
	} {
		if err := os.WriteFile(filepath.Join(home, ".acme.sh", name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	dns := solvertest.NewDNS(t)
	dns.Zone("example.com", "192.0.2.1")
	d := &solver.DNS01{
		Provider: &solver.Exec{
			Path: script(t, "#!"+first+"\n"+second+"\n"),
			Args: []string{"fake"},
			Env:  []string{"HOME=" + home},
		},
		DNS: dnsOf(dns),
	}
	proof := solvertest.NewProof(acme.TypeDNS01, "example.com")
	name, value := txtOf(t, proof)
	solvertest.Present(t, d, proof)
	solvertest.CleanUp(t, d, proof)
	if got, want := contents(t, filepath.Join(home, "zone")), "add "+name+" "+value+" a saved token\nrm "+name+" "+value+"\n"; got != want {
		t.Errorf("the scripts did\n%swant\n%s", got, want)
	}
	refused := execRecord
	refused.Value = "refused"
	if err := d.Provider.AppendRecord(t.Context(), refused); err == nil || !strings.HasSuffix(err.Error(), "exit status 1; it printed last: Add txt record error.") {
		t.Errorf("the error is %v", err)
	}
}
