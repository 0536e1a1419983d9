package solver_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/solver/internal/solvertest"
)

const answers = ".well-known/acme-challenge"

// unfinishedFolder returns the name that a folder made for a token has before it has its mode and its mark.
func unfinishedFolder(token string) string {
	return strings.TrimSuffix(unfinishedName(token), "ABC") + "folder"
}

// unfinishedName returns a name that the file for a token may have before it is whole.
func unfinishedName(token string) string {
	digest := sha256.Sum256([]byte(token))
	return ".everseal-" + hex.EncodeToString(digest[:8]) + "-ABC"
}

// tree returns the paths below a folder, those of folders with a slash at the end.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var paths []string
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, entry fs.DirEntry, err error) error {
		if entry.IsDir() {
			path += "/"
		}
		paths = append(paths, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(paths, " ")
}

// put writes a file, and the folders it is in.
func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestWebroot(t *testing.T) {
	for _, identifier := range []string{"example.com", "xn--bcher-kva.example", "192.0.2.1", "2001:db8::1"} {
		t.Run(identifier, func(t *testing.T) {
			dir := t.TempDir()
			server := solvertest.ServeHTTP(t, http.FileServerFS(os.DirFS(dir)))
			w, p := &solver.Webroot{Dir: dir}, solvertest.NewProof(acme.TypeHTTP01, identifier)
			if !w.Supports(p.Identifier, false) || w.Supports(p.Identifier, true) {
				t.Error("it supports other identifiers")
			}
			if err := solvertest.ValidateHTTP01(t, server, p); err == nil {
				t.Fatal("valid before Present")
			}
			solvertest.Present(t, w, p)
			solvertest.Present(t, w, p)
			if err := solvertest.ValidateHTTP01(t, server, p); err != nil {
				t.Error(err)
			}
			solvertest.CleanUp(t, &solver.Webroot{Dir: dir}, p) // as another process does after a crash
			solvertest.CleanUp(t, w, p)
			if got := tree(t, dir); got != "./" {
				t.Errorf("after the clean-up there is %s", got)
			}
		})
	}
}

// What was there before stays, be it empty.
func TestWebrootLeavesWhatIsNotItsOwn(t *testing.T) {
	for name, prepare := range map[string]func(dir string){
		"a folder":       func(dir string) { put(t, dir+"/.well-known/security.txt", "") },
		"empty folders":  func(dir string) { put(t, dir+"/"+answers+"/x", ""); os.Remove(dir + "/" + answers + "/x") },
		"an answer":      func(dir string) { put(t, dir+"/"+answers+"/other", "other.thumbprint") },
		"another answer": func(dir string) { put(t, dir+"/"+answers+"/token", "not the key authorization") },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			prepare(dir)
			before := tree(t, dir)
			w, p := &solver.Webroot{Dir: dir}, solvertest.NewProof(acme.TypeHTTP01, "example.com")
			solvertest.CleanUp(t, w, solvertest.WithToken(p, "token"))
			if got := tree(t, dir); got != before {
				t.Errorf("a clean-up of nothing leaves %s, before it was %s", got, before)
			}
			solvertest.Present(t, w, p)
			solvertest.CleanUp(t, w, p)
			if got := tree(t, dir); got != before {
				t.Errorf("left is %s, before it was %s", got, before)
			}
		})
	}
}

// What comes into a folder while answers are in it stays, and the folder with it.
func TestWebrootLeavesWhatCameMeanwhile(t *testing.T) {
	dir := t.TempDir()
	w, p := &solver.Webroot{Dir: dir}, solvertest.NewProof(acme.TypeHTTP01, "example.com")
	solvertest.Present(t, w, p)
	put(t, dir+"/.well-known/security.txt", "")
	solvertest.CleanUp(t, w, p)
	if got := tree(t, dir); got != "./ .well-known/ .well-known/.everseal .well-known/security.txt" {
		t.Errorf("left is %s", got)
	}
}

// A process that is killed while it writes leaves a file that the clean-up finds.
func TestWebrootAfterCrash(t *testing.T) {
	dir := t.TempDir()
	w, p := &solver.Webroot{Dir: dir}, solvertest.NewProof(acme.TypeHTTP01, "example.com")
	other := solvertest.WithToken(p, "other")
	solvertest.Present(t, w, p)
	solvertest.Present(t, w, other)
	put(t, dir+"/"+answers+"/"+unfinishedName(p.Token), p.KeyAuthorization[:10])
	put(t, dir+"/"+answers+"/"+unfinishedName(other.Token), "")
	for _, folder := range []string{"", ".well-known/"} { // one that had not got its name
		put(t, dir+"/"+folder+unfinishedFolder(p.Token)+"/.everseal", "")
	}
	solvertest.CleanUp(t, w, p)
	if got := tree(t, dir); strings.Contains(got, p.Token) || strings.Contains(got, unfinishedName(p.Token)) || !strings.Contains(got, "/other") || !strings.Contains(got, unfinishedName("other")) {
		t.Errorf("left is %s", got)
	}
	solvertest.CleanUp(t, w, other)
	if got := tree(t, dir); got != "./" {
		t.Errorf("left is %s", got)
	}
	// Killed before there was a folder for answers.
	solvertest.Present(t, w, p)
	if err := os.RemoveAll(dir + "/" + answers); err != nil {
		t.Fatal(err)
	}
	solvertest.CleanUp(t, w, p)
	if got := tree(t, dir); got != "./" {
		t.Errorf("left is %s", got)
	}
	put(t, dir+"/"+unfinishedFolder(p.Token)+"/x", "")
	solvertest.Present(t, w, p)
	solvertest.CleanUp(t, w, p)
	if got := tree(t, dir); got != "./" {
		t.Errorf("left is %s", got)
	}
}

// Links lead no answer out of the document root, and no clean-up.
func TestWebrootLinksOut(t *testing.T) {
	for _, link := range []string{".well-known", answers} {
		t.Run(link, func(t *testing.T) {
			dir, outside := t.TempDir(), t.TempDir()
			w, p := &solver.Webroot{Dir: dir}, solvertest.NewProof(acme.TypeHTTP01, "example.com")
			put(t, outside+"/acme-challenge/"+p.Token, p.KeyAuthorization)
			put(t, outside+"/"+p.Token, p.KeyAuthorization)
			if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, link)), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(outside, filepath.Join(dir, link)); err != nil {
				t.Skipf("no links: %v", err)
			}
			before := tree(t, outside)
			for _, err := range []error{w.Present(t.Context(), solvertest.WithToken(p, "token")), w.CleanUp(t.Context(), p)} {
				if err == nil || !strings.Contains(err.Error(), "links there must be relative, and not lead out of it") || !strings.Contains(err.Error(), dir) {
					t.Errorf("the error is %v", err)
				}
			}
			if got := tree(t, outside); got != before {
				t.Errorf("outside there is %s, before it was %s", got, before)
			}
		})
	}
	// Within the document root they may lead.
	dir := t.TempDir()
	put(t, dir+"/acme/x", "")
	if err := os.Symlink("acme", dir+"/.well-known"); err != nil {
		t.Skipf("no links: %v", err)
	}
	w, p := &solver.Webroot{Dir: dir}, solvertest.NewProof(acme.TypeHTTP01, "example.com")
	solvertest.Present(t, w, p)
	if got, err := os.ReadFile(dir + "/acme/acme-challenge/" + p.Token); string(got) != p.KeyAuthorization {
		t.Errorf("the answer is %q, %v", got, err)
	}
	solvertest.CleanUp(t, w, p)
	if got := tree(t, dir); got != "./ .well-known acme/ acme/x" {
		t.Errorf("left is %s", got)
	}
}

func TestWebrootFails(t *testing.T) {
	p := solvertest.NewProof(acme.TypeHTTP01, "example.com")
	file := filepath.Join(t.TempDir(), "file")
	put(t, file, "")
	for name, test := range map[string]struct {
		w    *solver.Webroot
		want string
	}{
		"no folder":    {new(solver.Webroot), "solver: Webroot.Dir is empty: set it to the document root"},
		"none there":   {&solver.Webroot{Dir: filepath.Dir(file) + "/nowhere"}, "set it to the document root"},
		"a file":       {&solver.Webroot{Dir: file}, "set it to the document root"},
		"a file in it": {&solver.Webroot{Dir: func() string { dir := t.TempDir(); put(t, dir+"/.well-known", ""); return dir }()}, "the document root"},
	} {
		err := test.w.Present(t.Context(), p)
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), test.w.Dir) {
			t.Errorf("%s: the error is %v", name, err)
		}
		if strings.HasPrefix(name, "no") {
			solvertest.CleanUp(t, test.w, p) // nothing was presented: a warning would only repeat what is wrong
		}
	}
	dir := t.TempDir()
	w := &solver.Webroot{Dir: dir}
	for _, hostile := range []string{"", ".", "..", "../x", `..\x`, "a/b", ".everseal", "a\x00b", strings.Repeat("a", 257)} {
		if w.Present(t.Context(), solvertest.WithToken(p, hostile)) == nil || w.CleanUp(t.Context(), solvertest.WithToken(p, hostile)) == nil {
			t.Errorf("the token %q is taken", hostile)
		}
	}
	if got := tree(t, dir); got != "./" {
		t.Errorf("written was %s", got)
	}
}

// Many orders at once, of several processes, make and remove the folders under each other's hands. A server sees
// each answer as a whole for as long as it is presented.
func TestWebrootManyOrders(t *testing.T) {
	dir := t.TempDir()
	done := make(chan struct{})
	var orders, reader sync.WaitGroup
	reader.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			entries, _ := os.ReadDir(dir + "/" + answers)
			for _, entry := range entries {
				text, err := os.ReadFile(dir + "/" + answers + "/" + entry.Name())
				if err == nil && !strings.HasPrefix(entry.Name(), ".") && string(text) != entry.Name()+"."+solvertest.Thumbprint {
					t.Errorf("%s is seen as %q", entry.Name(), text)
				}
			}
		}
	})
	for i := range 8 {
		orders.Go(func() {
			w := &solver.Webroot{Dir: dir}
			for j := range 100 {
				p := solvertest.WithToken(solvertest.NewProof(acme.TypeHTTP01, "example.com"), fmt.Sprintf("token-%d-%d", i, j))
				if err := w.Present(t.Context(), p); err != nil {
					t.Error(err)
					return
				}
				if text, err := os.ReadFile(dir + "/" + answers + "/" + p.Token); err != nil || string(text) != p.KeyAuthorization {
					t.Errorf("%s is presented, and is %q, %v", p.Token, text, err)
				}
				if err := w.CleanUp(t.Context(), p); err != nil {
					t.Error(err)
				}
				if _, err := os.Stat(dir + "/" + answers + "/" + p.Token); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%s is there after its clean-up: %v", p.Token, err)
				}
			}
		})
	}
	orders.Wait()
	close(done)
	reader.Wait()
	if got := tree(t, dir); got != "./" {
		t.Errorf("left is %s", got)
	}
}
