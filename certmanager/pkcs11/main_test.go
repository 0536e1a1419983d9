package pkcs11_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/everseal/everseal/certmanager/pkcs11"
)

const userPIN = "correct-horse-17"

// A tokens is a SoftHSM with tokens for the tests. Its library reads the environment once in a process, and sees no tokens made
// later.
type tokens struct {
	module string
	labels []string
	next   atomic.Int32
	reason string // why there are none
}

var softHSM tokens

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	folder, err := os.MkdirTemp("", "softhsm")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(folder)
	softHSM.prepare(folder)
	return m.Run()
}

// prepare makes the tokens, or notes why there are none.
func (s *tokens) prepare(folder string) {
	for _, pattern := range []string{"/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/*/softhsm/libsofthsm2.so", "/usr/local/lib/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so"} {
		if found, err := filepath.Glob(pattern); err == nil && len(found) > 0 && s.module == "" {
			s.module = found[0]
		}
	}
	if s.module == "" {
		s.reason = "there is no SoftHSM (Debian: softhsm2)"
		return
	}
	config := filepath.Join(folder, "softhsm2.conf")
	text := "directories.tokendir = " + folder + "\nobjectstore.backend = file\nlog.level = ERROR\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		s.reason = err.Error()
		return
	}
	os.Setenv("SOFTHSM2_CONF", config)
	for i := range 12 {
		label := fmt.Sprintf("everseal test %d", i)
		command := exec.Command("softhsm2-util", "--init-token", "--free", "--label", label, "--pin", userPIN, "--so-pin", "so-pin-1234")
		if output, err := command.CombinedOutput(); err != nil {
			s.reason = fmt.Sprintf("softhsm2-util: %v: %s", err, strings.TrimSpace(string(output)))
			return
		}
		s.labels = append(s.labels, label)
	}
}

// newToken returns the configuration of a token that no other test uses. Without SoftHSM the test is skipped, in CI it fails.
func newToken(t testing.TB) pkcs11.Config {
	t.Helper()
	if softHSM.reason != "" {
		if os.Getenv("CI") == "true" {
			t.Fatal(softHSM.reason)
		}
		t.Skip(softHSM.reason)
	}
	n := int(softHSM.next.Add(1)) - 1
	if n >= len(softHSM.labels) {
		t.Fatal("there are fewer tokens than tests: make more in prepare")
	}
	return pkcs11.Config{Module: softHSM.module, Token: softHSM.labels[n], PIN: func() (string, error) { return userPIN, nil }}
}

// connect returns the keys of a token that no other test uses.
func connect(t testing.TB) *pkcs11.Keys {
	t.Helper()
	keys, err := pkcs11.Connect(t.Context(), newToken(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := keys.Close(); err != nil {
			t.Error(err)
		}
	})
	return keys
}
