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

	"github.com/everseal/everseal/acme/acmetest"
	"github.com/everseal/everseal/storage"
)

func TestServesAndRenews(t *testing.T) {
	t.Parallel()
	needCurl(t)
	p := start(t, "-lifetime", "10s", "-storage", t.TempDir())
	command := p.curlLine()
	before := page(t, command)
	if !strings.Contains(before, "<dd>localhost</dd>") {
		t.Errorf("the page does not show localhost:\n%s", before)
	}
	requests := requestAll(t, command)
	for strings.Contains(before, p.served()) { // the first may have been renewed before the page was got
	}
	count, err := requests()
	if err != nil || count == 0 {
		t.Errorf("of the requests made during the renewal, %d were answered before one failed: %v", count, err)
	}
	after := page(t, command)
	if status := p.stop(os.Interrupt); status != 0 || !strings.HasSuffix(p.output(), "Stopped.") {
		t.Errorf("the interrupted program ended with status %d, saying:\n%s\n%s", status, p.output(), p.stderr.String())
	}
	for _, shown := range []string{before, after} {
		if serial := shownSerial(t, shown); !strings.Contains(p.output(), "serial number "+serial) {
			t.Errorf("the program did not say that it serves %s:\n%s", serial, p.output())
		}
	}
	if shownSerial(t, before) == shownSerial(t, after) {
		t.Errorf("after the renewal the page shows the old serial number:\n%s", after)
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
	t.Parallel()
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
	t.Parallel()
	for name, change := range map[string]func(*caRecord){
		"same account": func(*caRecord) {},
		"lost account": func(kept *caRecord) { kept.Accounts = nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			p := start(t, "-lifetime", "5s", "-storage", folder)
			root, err := os.ReadFile(rootPath(t, p.curlLine()))
			if err != nil {
				t.Fatal(err)
			}
			p.stop(os.Interrupt)
			accounts := changeCA(t, folder, change)

			p = start(t, "-lifetime", "5s", "-storage", folder)
			p.line("ordered from the CA")
			p.served()
			again, err := os.ReadFile(rootPath(t, p.curlLine()))
			if err != nil || !bytes.Equal(root, again) {
				t.Errorf("the second start has another root certificate: %v", err)
			}
			p.stop(os.Interrupt)
			now := changeCA(t, folder, func(*caRecord) {})
			if len(now) != 1 || !bytes.Equal(now[0].Key, accounts[0].Key) || (now[0].ID != accounts[0].ID) != (name == "lost account") {
				t.Errorf("the CA's accounts are %s, and were %s", marshal(t, now), marshal(t, accounts))
			}
		})
	}
}

// changeCA changes what is kept of the CA. It returns the accounts there were.
func changeCA(t *testing.T, folder string, change func(*caRecord)) []acmetest.Account {
	t.Helper()
	var accounts []acmetest.Account
	_, err := storage.Update(t.Context(), storage.Dir(folder), caKey, func(old []byte) ([]byte, error) {
		kept, err := decodeCA(old)
		accounts = kept.Accounts
		change(&kept)
		if err != nil {
			return nil, err
		}
		return json.Marshal(kept)
	})
	if err != nil || len(accounts) == 0 {
		t.Fatalf("there are %d accounts of the CA in %s: %v", len(accounts), folder, err)
	}
	return accounts
}

// A CA that starts anew does not know the order that the killed program left.
func TestKilledWhileObtaining(t *testing.T) {
	t.Parallel()
	for range 20 {
		folder := t.TempDir()
		p := start(t, "-lifetime", "1h", "-storage", folder)
		waitForOrder(t, storage.Dir(folder))
		p.stop(os.Kill)
		p = start(t, "-lifetime", "1h", "-storage", folder)
		p.served()
		p.stop(os.Interrupt)
		if strings.Contains(p.output(), "No certificate") {
			t.Fatalf("an attempt failed:\n%s", p.output())
		}
		if strings.Contains(p.output(), "ordered from the CA") {
			return
		}
	}
	t.Error("the first start always had the certificate before it was killed")
}

// waitForOrder waits until the program has an order whose challenge it is about to answer.
func waitForOrder(t *testing.T, store storage.Store) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for ctx.Err() == nil {
		for _, records := range []string{"challenges", "certificates"} {
			for range store.List(ctx, records) {
				return
			}
		}
	}
	t.Fatal("the program neither answers a challenge nor has a certificate")
}

func TestStorageFolderThatNeedsQuotes(t *testing.T) {
	t.Parallel()
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
	t.Parallel()
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
	t.Parallel()
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
