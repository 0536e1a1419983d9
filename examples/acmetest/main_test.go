package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/acme/acmetest"
)

// What most faults do is seen at the directory.
func TestFaults(t *testing.T) {
	for _, test := range []struct {
		text string
		want string // of the first answers
	}{
		{"status=503", "503 503"},
		{"directory:status=503", "503 503"},
		{"newOrder:status=503", "200 200"},
		{"next=1:status=404", "404 200"},
		{"directory:next=1:status=404", "404 200"},
		{"next=1:directory:status=404", "404 200"},
		{"share=0.5:status=502", "200 502"},
		{"problem=403/unauthorized", "403 403"},
		{"rate-limited=30", "429+30 429+30"},
		{"rate-limited=Fri, 31 Dec 1999 23:59:59 GMT", "429+Fri, 31 Dec 1999 23:59:59 GMT 429+Fri, 31 Dec 1999 23:59:59 GMT"},
		{"rate-limited", "429 429"},
		{"bad-nonce", "200 200"}, // which the directory has not
		{"delay=1ms", "200 200"},
		{"delay-answer=1ms", "200 200"},
		{"cut", "cut cut"},
		{"next=1:cut-answer", "cut 200"},
		{"cut-body", "cut cut"},
		{"oversized=1000", "200+1000 spaces 200+1000 spaces"},
		{"relative-urls", "200+relative 200+relative"},
		{"header=Retry-After=7", "200+7 200+7"},
		{"header=Retry-After=a:b", "200+a:b 200+a:b"},
		{"no-header=Content-Type", "200+no type 200+no type"},
	} {
		ca := acmetest.NewUnstartedServer()
		fault, err := parseFault(ca, test.text)
		if err != nil {
			t.Errorf("%s: %v", test.text, err)
			continue
		}
		ca.SetFaults(fault)
		ca.StartInMemory()
		var got []string
		for range 2 {
			got = append(got, look(ca))
		}
		ca.Close()
		if strings.Join(got, " ") != test.want {
			t.Errorf("%s: %v, want %s", test.text, got, test.want)
		}
	}
}

// look returns the status of an answer, with what is odd about it.
func look(ca *acmetest.Server) string {
	response, err := ca.Client().Get(ca.URL)
	if err != nil {
		return "cut"
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return "cut"
	}
	text := fmt.Sprint(response.StatusCode)
	if after := response.Header.Get("Retry-After"); after != "" {
		text += "+" + after
	}
	if spaces := len(body) - len(strings.TrimRight(string(body), " ")); spaces > 0 {
		text += fmt.Sprintf("+%d spaces", spaces)
	}
	if strings.Contains(string(body), `"/newOrder"`) {
		text += "+relative"
	}
	if _, ok := response.Header["Content-Type"]; !ok {
		text += "+no type"
	}
	return text
}

// What the others do is seen by a client that obtains a certificate.
func TestFaultsOfOrders(t *testing.T) {
	for text, want := range map[string]string{
		"":                      "",
		"bad-nonce":             "badNonce",
		"invalidate=connection": "connection",
		"fail-issuance=caa":     "caa",
		"finalize:problem=403/userActionRequired": "userActionRequired",
		"processing=3":        "",
		"share=0.5:bad-nonce": "",
	} {
		synctest.Test(t, func(t *testing.T) {
			var network acmetest.Network
			listener, err := network.Listen("tcp", ":5002")
			if err != nil {
				t.Fatal(err)
			}
			web := new(webServer)
			server := &http.Server{Handler: web}
			go func() { _ = server.Serve(listener) }()
			defer func() { _ = server.Close() }()
			ca := &acmetest.Server{Dial: network.DialContext}
			var args []string
			if text != "" {
				args = []string{"-fault", text}
			}
			if _, err := configure(ca, args, io.Discard); err != nil {
				t.Fatal(err)
			}
			ca.StartInMemory()
			defer ca.Close()
			client := &acme.Client{DirectoryURL: ca.URL, HTTPClient: ca.Client(), Key: newKey(t)}
			_, err = client.Register(t.Context(), acme.Registration{AgreeToTerms: true})
			if err == nil {
				_, err = client.Issue(t.Context(), acme.Request{
					Identifiers: []acme.Identifier{{Type: acme.TypeDNS, Value: "example.com"}}, Key: newKey(t), Solvers: []acme.Solver{web},
				})
			}
			if (err != nil) != (want != "") || err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %s", text, err, want)
			}
			if polls := ca.Requests()["order"]; strings.HasPrefix(text, "processing") && polls < 4 {
				t.Errorf("%s: the order was asked for %d times", text, polls)
			}
		})
	}
}

func TestWrongFlags(t *testing.T) {
	for _, test := range []struct {
		args string
		want string
	}{
		{"-fault newCert:cut", `no resource is called "newCert"`},
		{"-fault cutt", `"cut-answer"`},
		{"-fault newOrder:", "is no fault"},
		{"-fault next=0:cut", "next=N"},
		{"-fault share=2:cut", "share=X"},
		{"-fault share=NaN:cut", "share=X"},
		{"-fault cut=1", "nothing can follow"},
		{"-fault status", "200 to 599"},
		{"-fault status=99", "200 to 599"},
		{"-fault problem=403", "403/unauthorized"},
		{"-fault delay=5", "1.5s"},
		{"-fault header=Link", "NAME=VALUE"},
		{"-fault no-header", "must follow"},
		{"-host example.com", "NAME=ADDRESS"},
		{"-host example.com=localhost", "IP address"},
		{"-eab id", "ID=KEY"},
		{"-eab id=secret!", "ID=KEY"},
		{"-rate-limits none", "letsencrypt"},
		{"-addr", "addr"},
		{"order", `"order" is no flag`},
	} {
		_, err := configure(acmetest.NewUnstartedServer(), strings.Fields(test.args), io.Discard)
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want %q", test.args, err, test.want)
		}
	}
}

// usage.txt tells of every flag and every fault there is, and of no other.
func TestUsage(t *testing.T) {
	var shown strings.Builder
	if _, err := configure(acmetest.NewUnstartedServer(), []string{"-h"}, &shown); err == nil || shown.String() != usage {
		t.Errorf("-h shows %q, %v", shown.String(), err)
	}
	kinds := faultKinds(acmetest.NewUnstartedServer())
	for kind := range kinds {
		if !regexp.MustCompile(`(?s)FAULT is one of.*[ ]` + kind + `\b`).MatchString(usage) {
			t.Errorf("the usage does not tell of the fault %s", kind)
		}
	}
	for _, match := range regexp.MustCompile(`(?m)^    ([a-z-]+)[= ]`).FindAllStringSubmatch(usage, -1) {
		if kinds[match[1]] == nil {
			t.Errorf("the usage tells of a fault %s", match[1])
		}
	}
	source, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	var flags []string
	for _, match := range regexp.MustCompile(`f\.\w+\((?:&?[\w.]+, )?"([a-z-]+)"`).FindAllStringSubmatch(string(source), -1) {
		flags = append(flags, match[1])
	}
	var told []string
	for _, match := range regexp.MustCompile(`(?m)^  -([a-z-]+) `).FindAllStringSubmatch(usage, -1) {
		told = append(told, match[1])
	}
	slices.Sort(flags)
	slices.Sort(told)
	if !slices.Equal(flags, told) || len(flags) < 10 {
		t.Errorf("flags %v, the usage tells of %v", flags, told)
	}
}

func TestConfigure(t *testing.T) {
	ca := acmetest.NewUnstartedServer()
	args := strings.Fields("-addr :1 -root r.pem -http-port 2 -tls-port 3 -lifetime 4h -retry-after 5s -eab a=YWJj -eab b=ZGVm -rate-limits letsencrypt -v")
	root, err := configure(ca, args, io.Discard)
	if err != nil || root != "r.pem" {
		t.Fatal(root, err)
	}
	if ca.Addr != ":1" || ca.HTTPPort != 2 || ca.TLSPort != 3 || ca.Lifetime != 4*time.Hour || ca.RetryAfter != 5*time.Second || ca.Logger == nil ||
		len(ca.ExternalAccounts) != 2 || string(ca.ExternalAccounts["b"]) != "def" || ca.RateLimits.NewOrders.Count != 300 || ca.Resolver != nil {
		t.Errorf("%v %v %v", ca.Addr, ca.ExternalAccounts, ca.RateLimits)
	}
}

// A file that is not the program's is left alone, and so is a state that cannot be read.
func TestState(t *testing.T) {
	folder := t.TempDir()
	strange := filepath.Join(folder, "strange.pem")
	if err := os.WriteFile(strange, []byte("of another CA"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := loadState(strange); err == nil || !strings.Contains(err.Error(), "-root") {
		t.Errorf("error %v, want that another file is to be named", err)
	}
	broken := filepath.Join(folder, "broken.pem")
	for _, text := range []string{"", "{}", `{"root":"x"}`} {
		if err := os.WriteFile(broken+".state", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := loadState(broken); err == nil || !strings.Contains(err.Error(), "broken.pem.state") {
			t.Errorf("error %v for the state %q", err, text)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	root := filepath.Join(folder, "root.pem")
	if err := run(ended, []string{"-addr", taken.Addr().String(), "-root", root}, io.Discard); err == nil || strings.HasPrefix(err.Error(), "acmetest") {
		t.Errorf("error %v where the port is taken", err)
	}
	for range 2 {
		if err := run(ended, []string{"-addr", "localhost:0", "-root", root}, io.Discard); err != nil {
			t.Fatal(err)
		}
	}
}

// With -dns names and records are looked up there.
func TestDNS(t *testing.T) {
	records := make(chan string, 1)
	server := serveDNS(t, records)
	ca := acmetest.NewUnstartedServer()
	if _, err := configure(ca, []string{"-dns", server}, io.Discard); err != nil {
		t.Fatal(err)
	}
	ca.StartInMemory()
	defer ca.Close()
	client := &acme.Client{DirectoryURL: ca.URL, HTTPClient: ca.Client(), Key: newKey(t)}
	if _, err := client.Register(t.Context(), acme.Registration{AgreeToTerms: true}); err != nil {
		t.Fatal(err)
	}
	_, err := client.Issue(t.Context(), acme.Request{
		Identifiers: []acme.Identifier{{Type: acme.TypeDNS, Value: "*.example.com"}},
		Key:         newKey(t),
		Solvers:     []acme.Solver{record(records)},
	})
	if err != nil {
		t.Error(err)
	}
}

// A record is the value that a DNS server answers with.
type record chan string

func (record) Type() string { return acme.TypeDNS01 }

func (r record) Present(_ context.Context, p acme.Proof) error {
	_, value, err := p.TXTRecord()
	r <- value
	return err
}

func (record) CleanUp(context.Context, acme.Proof) error { return nil }

// serveDNS answers one query for _acme-challenge.example.com with the next of the values.
func serveDNS(t *testing.T, values <-chan string) (address string) {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, query *dns.Msg) {
		answer := new(dns.Msg).SetReply(query)
		if question := query.Question[0]; question.Qtype == dns.TypeTXT && question.Name == "_acme-challenge.example.com." {
			header := dns.RR_Header{Name: question.Name, Rrtype: dns.TypeTXT, Class: dns.ClassINET}
			answer.Answer = append(answer.Answer, &dns.TXT{Hdr: header, Txt: []string{<-values}})
		}
		_ = w.WriteMsg(answer)
	})}
	go func() { _ = server.ActivateAndServe() }()
	t.Cleanup(func() { _ = server.Shutdown() })
	return conn.LocalAddr().String()
}
