package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/everseal/everseal/acme/acmetest"
	"github.com/everseal/everseal/examples/internal/program"
)

// programVariable makes the test's binary the program itself.
const programVariable = "EVERSEAL_RESPONDER"

func TestMain(m *testing.M) {
	if os.Getenv(programVariable) != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// The program as a process, for a domain of its owner's and for one of a customer, whose CNAME leads into its zone: the CA
// finds what it answers, and a client gets its page under any name.
func TestProgram(t *testing.T) {
	if runtime.GOOS == "windows" || runtime.GOOS == "darwin" {
		t.Skip("the program trusts the test's CA by SSL_CERT_FILE, which this system does not read")
	}
	for name, test := range map[string]struct {
		arguments []string
		domain    string
		records   []string // that the program wants, of which the test sets the CNAME
	}{
		"a domain of one's own": {nil, "example.com", []string{"_acme-challenge.example.com. NS ns1.example.net.", "_acme-challenge.example.com. NS ns2.example.net."}},
		"a customer's": {[]string{"-zone", "acme.example.net"}, "shop.example.org",
			[]string{"acme.example.net. NS ns1.example.net.", "acme.example.net. NS ns2.example.net.", "_acme-challenge.shop.example.org. CNAME shop.example.org.acme.example.net."}},
	} {
		t.Run(name, func(t *testing.T) {
			dnsAddress, httpsAddress := program.Address(t), program.Address(t)
			resolver := startResolver(t, dnsAddress, test.records[len(test.records)-1])
			ca := acmetest.NewUnstartedServer()
			ca.Resolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "udp", resolver)
			}}
			ca.Start()
			t.Cleanup(ca.Close)
			folder := t.TempDir()
			trusted := filepath.Join(folder, "ca.pem")
			if err := os.WriteFile(trusted, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Root.Certificate[0]}), 0o600); err != nil {
				t.Fatal(err)
			}
			arguments := append(test.arguments, "-agree", "-nameserver", "ns1.example.net,ns2.example.net", "-ca", ca.URL, "-dns", dnsAddress, "-https", httpsAddress,
				"-storage", filepath.Join(folder, "storage"), "-resolver", resolver, test.domain)
			said := start(t, arguments, "SSL_CERT_FILE="+trusted)
			for _, want := range append([]string{"Have these records set, once:"}, test.records...) {
				if line := <-said; strings.TrimSpace(line) != want {
					t.Errorf("the program says %q, want %q", line, want)
				}
			}
			client := &http.Client{Transport: &http.Transport{
				TLSClientConfig:   &tls.Config{RootCAs: ca.Roots()},
				DisableKeepAlives: true,
				DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
					return new(net.Dialer).DialContext(ctx, network, httpsAddress)
				},
			}}
			for _, name := range []string{test.domain, "any." + test.domain} {
				if got, want := get(t, client, name), fmt.Sprintf("This is %q.\n", name); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
		})
	}
}

// get returns the page, when there is one: the certificate may be on its way.
func get(t *testing.T, client *http.Client, name string) string {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		answer, err := client.Get("https://" + name + "/")
		if err == nil {
			defer answer.Body.Close()
			body, err := io.ReadAll(answer.Body)
			if err != nil {
				t.Fatal(err)
			}
			return string(body)
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// start runs the program until the test ends, and returns the lines that it prints.
func start(t *testing.T, arguments []string, environment ...string) <-chan string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	command := exec.CommandContext(ctx, os.Args[0], arguments...)
	command.Env = append(append(os.Environ(), programVariable+"=1"), environment...)
	command.Stderr = t.Output()
	stdout, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 100)
	go func() {
		defer close(lines)
		for scanner := bufio.NewScanner(stdout); scanner.Scan(); {
			lines <- scanner.Text()
		}
	}()
	t.Cleanup(func() {
		cancel()
		for range lines {
			// Read to the end, as Wait wants.
		}
		_ = command.Wait() // it was killed
	})
	return lines
}

// startResolver starts a resolver that has one CNAME record and asks the program for everything else.
func startResolver(t *testing.T, program, cname string) string {
	t.Helper()
	alias, err := dns.NewRR(cname)
	if err != nil {
		t.Fatal(err)
	}
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &dns.Server{PacketConn: packets, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, query *dns.Msg) {
		question := query.Question[0]
		led, ok := alias.(*dns.CNAME)
		if ok && strings.EqualFold(question.Name, led.Hdr.Name) {
			query = query.Copy()
			query.Question[0].Name = led.Target
		} else {
			led = nil
		}
		answer, err := dns.Exchange(query, program)
		if err != nil {
			answer = new(dns.Msg).SetRcode(query, dns.RcodeServerFailure)
		}
		if answer.Rcode == dns.RcodeRefused { // it is in another zone
			answer.Rcode = dns.RcodeNameError
		}
		answer.Question, answer.RecursionAvailable, answer.Authoritative = []dns.Question{question}, true, false
		if led != nil {
			answer.Answer = append([]dns.RR{led}, answer.Answer...)
		}
		_ = w.WriteMsg(answer)
	})}
	started, ended := make(chan struct{}), make(chan error, 1)
	server.NotifyStartedFunc = func() { close(started) }
	go func() { ended <- server.ActivateAndServe() }()
	<-started
	t.Cleanup(func() {
		if err := server.Shutdown(); err != nil {
			t.Error(err)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return packets.LocalAddr().String()
}
