package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/everseal/everseal/storage"
)

func TestServesAndRenews(t *testing.T) {
	needCurl(t)
	p := start(t, "-lifetime", "10s", "-storage", t.TempDir())
	first := p.served()
	command := p.curlLine()
	if got := page(t, command); !strings.Contains(got, first) || !strings.Contains(got, "<dd>localhost</dd>") {
		t.Errorf("the page shows neither localhost nor the serial number %s:\n%s", first, got)
	}

	requests := requestAll(t, command)
	second := p.served()
	count, err := requests()
	if err != nil || count == 0 {
		t.Errorf("of the requests made during the renewal, %d were answered before one failed: %v", count, err)
	}
	if second == first {
		t.Errorf("the renewed certificate has the old serial number %s", first)
	}
	if got := page(t, command); !strings.Contains(got, second) {
		t.Errorf("the page does not show the new serial number %s:\n%s", second, got)
	}
	if status := p.stop(os.Interrupt); status != 0 || !strings.HasSuffix(p.output(), "Stopped.") {
		t.Errorf("the interrupted program ended with status %d, saying:\n%s\n%s", status, p.output(), p.stderr.String())
	}
	if n := strings.Count(p.output(), "\ncurl "); n != 1 {
		t.Errorf("the command was printed %d times", n)
	}
}

// requestAll makes one request after another, each on a connection of its own, until the function that
// it returns is called. That returns how many were answered, and why one was not.
func requestAll(t *testing.T, command string) func() (int, error) {
	t.Helper()
	pem, err := os.ReadFile(rootPath(t, command))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots}}}
	url := command[strings.LastIndex(command, " ")+1:]
	ctx, cancel := context.WithCancel(t.Context())
	count, ended := 0, make(chan error, 1)
	go func() {
		ticker := time.NewTicker(10 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
			case <-ctx.Done():
				ended <- nil
				return
			}
			answer, err := client.Get(url) // not with ctx: what has begun is to be answered
			if err != nil {
				ended <- err
				return
			}
			_, err = io.Copy(io.Discard, answer.Body)
			_ = answer.Body.Close()
			if err != nil {
				ended <- err
				return
			}
			count++
		}
	}()
	return func() (int, error) {
		cancel()
		return count, <-ended
	}
}

func TestSecondStartOrdersNothing(t *testing.T) {
	needCurl(t)
	folder := t.TempDir()
	p := start(t, "-lifetime", "1h", "-storage", folder)
	first := p.served()
	if status := p.stop(syscall.SIGTERM); status != 0 {
		t.Fatalf("the terminated program ended with status %d: %s", status, p.stderr.String())
	}
	p = start(t, "-lifetime", "1h", "-storage", folder)
	p.line("nothing is ordered")
	if second := p.served(); second != first {
		t.Errorf("the second start serves %s, the first served %s", second, first)
	}
	if got := page(t, p.curlLine()); !strings.Contains(got, first) {
		t.Errorf("the page does not show the serial number %s:\n%s", first, got)
	}
	if p.stop(os.Interrupt); strings.Contains(p.output(), "ordered from the CA") {
		t.Errorf("the second start ordered a certificate:\n%s", p.output())
	}
}

func TestLaterStartRenews(t *testing.T) {
	for name, change := range map[string]func(*caRecord){
		"same account": func(*caRecord) {},
		"lost account": func(kept *caRecord) { kept.Accounts = nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			p := start(t, "-lifetime", "5s", "-storage", folder)
			first := p.served()
			root, err := os.ReadFile(rootPath(t, p.curlLine()))
			if err != nil {
				t.Fatal(err)
			}
			p.stop(os.Interrupt)
			accounts := changeCA(t, folder, change)

			p = start(t, "-lifetime", "5s", "-storage", folder)
			for p.served() == first { // the old one may have some seconds left
			}
			again, err := os.ReadFile(rootPath(t, p.curlLine()))
			if err != nil || !bytes.Equal(root, again) {
				t.Errorf("the second start has another root certificate: %v", err)
			}
			p.stop(os.Interrupt)
			if now := changeCA(t, folder, func(*caRecord) {}); len(now) != 1 || !bytes.Equal(now[0], accounts[0]) {
				t.Errorf("the CA's accounts have the keys %s, and had %s", now, accounts)
			}
		})
	}
}

// changeCA changes what is kept of the CA. It returns the keys of the accounts there were.
func changeCA(t *testing.T, folder string, change func(*caRecord)) []json.RawMessage {
	t.Helper()
	var keys []json.RawMessage
	_, err := storage.Update(t.Context(), storage.Dir(folder), caKey, func(old []byte) ([]byte, error) {
		keys = nil
		kept, err := decodeCA(old)
		for _, a := range kept.Accounts {
			keys = append(keys, a.Key)
		}
		change(&kept)
		if err != nil {
			return nil, err
		}
		return json.Marshal(kept)
	})
	if err != nil || len(keys) == 0 {
		t.Fatalf("there are %d accounts of the CA in %s: %v", len(keys), folder, err)
	}
	return keys
}

// A CA that starts anew does not know the order that the killed program left.
func TestKilledWhileObtaining(t *testing.T) {
	folder := t.TempDir()
	p := start(t, "-lifetime", "1h", "-storage", folder)
	p.line("ordered from the CA")
	p.stop(os.Kill)
	p = start(t, "-lifetime", "1h", "-storage", folder)
	p.served()
	if strings.Contains(p.output(), "No certificate") {
		t.Errorf("an attempt failed:\n%s", p.output())
	}
}

func TestStorageFolderThatNeedsQuotes(t *testing.T) {
	needCurl(t)
	folder := filepath.Join(t.TempDir(), "some user's $folder")
	p := start(t, "-storage", folder)
	serial := p.served()
	command := p.curlLine()
	if got := page(t, command); !strings.Contains(got, serial) {
		t.Errorf("the page does not show the serial number %s:\n%s", serial, got)
	}
	p.stop(os.Interrupt)
	if _, err := os.Stat(rootPath(t, command)); !os.IsNotExist(err) {
		t.Errorf("the temporary root certificate outlives the program: %v", err)
	}
}

func TestFilesAreForTheUserAlone(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "new")
	p := start(t, "-storage", folder)
	p.served()
	p.stop(os.Interrupt)
	files := 0
	err := filepath.WalkDir(folder, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		files++
		return nil
	})
	if err != nil || files < 5 {
		t.Errorf("%d files and folders were seen: %v", files, err)
	}
}

func TestOtherAddresses(t *testing.T) {
	needCurl(t)
	for addr, want := range map[string]string{
		"localhost:0": "https://localhost:",
		":0":          "https://localhost:",
		"127.0.0.2:0": "https://127.0.0.2:",
	} {
		t.Run(addr, func(t *testing.T) {
			t.Parallel()
			p := start(t, "-addr", addr, "-storage", t.TempDir())
			serial := p.served()
			command := p.curlLine()
			if got := page(t, command); !strings.Contains(command, want) || !strings.Contains(got, serial) {
				t.Errorf("%s does not show the serial number %s:\n%s", command, serial, got)
			}
			if status := p.stop(os.Interrupt); status != 0 {
				t.Errorf("the program ended with status %d: %s", status, p.stderr.String())
			}
		})
	}
}
