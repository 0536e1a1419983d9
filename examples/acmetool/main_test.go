package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/acme/acmetest"
)

// programVariable makes the test's binary the program itself.
const programVariable = "EVERSEAL_ACMETOOL"

func TestMain(m *testing.M) {
	if os.Getenv(programVariable) != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestDirectory(t *testing.T) {
	s := newSession(t, func(ca *acmetest.Server) {
		ca.ExternalAccounts = map[string][]byte{}
		ca.Profiles = map[string]acmetest.Profile{"short": {Description: "six days", Lifetime: 144 * time.Hour}}
	})
	var shown acme.Directory
	if err := json.Unmarshal([]byte(s.mustRun(t.Context(), s.person(), "directory")), &shown); err != nil {
		t.Fatal(err)
	}
	meta := shown.Meta
	if shown.NewOrder == "" || shown.RenewalInfo == "" || meta.TermsOfService == "" || len(meta.CAAIdentities) != 1 ||
		!meta.ExternalAccountRequired || meta.Profiles["short"] != "six days" {
		t.Errorf("it shows %+v", shown)
	}
	if _, err := os.Stat(s.folder); err == nil {
		t.Errorf("it made a folder, which holds %s", s.files())
	}
}

func TestRegister(t *testing.T) {
	var accounts []acmetest.Account
	s := newSession(t, func(ca *acmetest.Server) {
		ca.OnAccount = func(a acmetest.Account) { accounts = append(accounts, a) }
	})
	_, err := s.run(t.Context(), s.person(), "register")
	if terms, ok := errors.AsType[*acme.TermsError](err); !ok || !strings.Contains(err.Error(), terms.URL) {
		t.Errorf("without -agree the error is %v", err)
	}
	args := []string{"-agree", "-contact", "mailto:a@example.com mailto:b@example.com", "register"}
	first := s.mustRun(t.Context(), s.person(), args...)
	if second := s.mustRun(t.Context(), s.person(), args...); second != first || !strings.Contains(first, "https://") {
		t.Errorf("it says %q and then %q", first, second)
	}
	if len(accounts) != 1 || strings.Join(accounts[0].Contact, " ") != args[2] {
		t.Errorf("the accounts are %+v", accounts)
	}
	if files := s.files(); files != "account.key" {
		t.Errorf("the folder holds %s", files)
	}
}

func TestRegisterWithExternalAccount(t *testing.T) {
	key := bytes.Repeat([]byte{7}, 32)
	shown := base64.StdEncoding.EncodeToString(key)
	s := newSession(t, func(ca *acmetest.Server) { ca.ExternalAccounts = map[string][]byte{"customer": key} })
	for _, c := range []struct{ variable, kid, want string }{
		{shown, "", "ExternalAccount"},
		{"", "customer", "MAC key"},
		{shown + "!", "customer", "MAC key"},
		{shown, "stranger", "stranger"},
		{base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{8}, 32)), "customer", "does not verify"},
	} {
		t.Setenv("EAB_KEY", c.variable)
		args := []string{"-agree", "register"}
		if c.kid != "" {
			args = append([]string{"-eab-kid", c.kid}, args...)
		}
		_, err := s.run(t.Context(), s.person(), args...)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), shown) {
			t.Errorf("%+v: the error is %v", c, err)
		}
	}
	t.Setenv("EAB_KEY", shown)
	s.mustRun(t.Context(), s.person(), "-agree", "-eab-kid", "customer", "register")
}

func TestWrongUsage(t *testing.T) {
	s := newSession(t, nil)
	for args, want := range map[string]string{
		"":                          "acmetool -h",
		"obtain example.com":        `"obtain"`,
		"directory example.com":     `"example.com"`,
		"register example.com":      `"example.com"`,
		"order":                     `"order"`,
		"renew":                     `"renew"`,
		"renew a.example b.example": `"b.example"`,
		"revoke":                    `"revoke"`,
		"order https://example.com": "no port, scheme or path",
		"order example.com -manual": `"-manual"`,
		"-nothing order":            "-nothing",
		"-reason none revoke a.com": `"none"`,
		"renew example.com":         "example.com.pem",
		"revoke example.com":        "example.com.pem",
		"-manual order example.com": "call Register first",
	} {
		if _, err := s.run(t.Context(), s.person(), strings.Fields(args)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("acmetool %s: the error is %v", args, err)
		}
	}
	requests := s.ca.Requests()
	if requests["newOrder"] != 0 {
		t.Errorf("orders were asked for: %v", requests)
	}
}

func TestUsageTellsAllFlags(t *testing.T) {
	s := newSession(t, nil)
	shown, err := s.run(t.Context(), s.person(), "-h")
	if !errors.Is(err, flag.ErrHelp) {
		t.Errorf("the error is %v", err)
	}
	program, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	flags := regexp.MustCompile(`f\.[A-Z]\w+\(.*?"([a-z-]+)",`).FindAllSubmatch(program, -1)
	if len(flags) != 11 {
		t.Errorf("%d flags were found in main.go", len(flags))
	}
	for _, match := range flags {
		if !strings.Contains(shown, "\n  -"+string(match[1])+" ") {
			t.Errorf("the usage text does not tell -%s", match[1])
		}
	}
}

// The program shows how little custom tooling needs. It would not if it grew or leaned on more.
func TestIsSmall(t *testing.T) {
	program, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(program, []byte("\n")); n >= 250 {
		t.Errorf("main.go has %d lines", n)
	}
	if packages := regexp.MustCompile(`"[^"\n]+\.[a-z]+/[^"\n]+"\n`).FindAllString(string(program), -1); len(packages) != 1 || !strings.HasSuffix(packages[0], "everseal/acme\"\n") {
		t.Errorf("main.go imports %q", packages)
	}
}

// program returns the program as a process of its own.
func program(t *testing.T, args ...string) (cmd *exec.Cmd, stdout, stderr *bytes.Buffer) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	cmd, stdout, stderr = exec.CommandContext(ctx, os.Args[0], args...), new(bytes.Buffer), new(bytes.Buffer)
	cmd.Env = append(os.Environ(), programVariable+"=1")
	cmd.Stdout, cmd.Stderr = stdout, stderr
	return cmd, stdout, stderr
}

func TestProcess(t *testing.T) {
	help, stdout, stderr := program(t, "-h")
	if err := help.Run(); err != nil || stdout.String() != usage || stderr.Len() > 0 {
		t.Errorf("-h: %v\n%s%s", err, stdout, stderr)
	}
	wrong, stdout, stderr := program(t, "obtain")
	if err := wrong.Run(); wrong.ProcessState.ExitCode() != 1 || stdout.Len() > 0 || !strings.HasPrefix(stderr.String(), "acmetool: ") {
		t.Errorf("obtain: %v\n%s%s", err, stdout, stderr)
	}
}

// A CA that does not answer can be interrupted.
func TestSignal(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	cmd, _, stderr := program(t, "-ca", "https://"+silent.Addr().String()+"/directory", "directory")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	connection, err := silent.Accept() // the program waits for its answer
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 1 || !strings.Contains(stderr.String(), "interrupt signal received") {
		t.Errorf("the interrupted program ended with %v, saying %s", err, stderr)
	}
}
