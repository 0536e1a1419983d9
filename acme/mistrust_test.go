package acme_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
)

func rawServer(t *testing.T, answer string) *acme.Client {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = http.ReadRequest(bufio.NewReader(conn))
				_, _ = io.WriteString(conn, answer)
			}()
		}
	}()
	return &acme.Client{DirectoryURL: "http://" + ln.Addr().String() + "/directory", Key: newKey(t)}
}

// net/http quotes what it cannot read, whole and as it is.
func TestTransportErrorsAreEscapedAndBounded(t *testing.T) {
	for name, answer := range map[string]string{
		"a header line that is none": "HTTP/1.1 200 OK\r\nfoo\x1b[31mbar\u202e\r\n\r\n",
		"a long one":                 "HTTP/1.1 200 OK\r\n" + strings.Repeat("x", 1<<20) + "\r\n\r\n",
		"an endless location":        "HTTP/1.1 302 Found\r\nLocation: https://[" + strings.Repeat("x", 1<<20) + "\r\nContent-Length: 0\r\n\r\n",
		"status":                     "HTTP/1.1 2" + strings.Repeat("\x1b", 1<<20) + "\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			client := rawServer(t, answer)
			_, err := client.GetDirectory(t.Context())
			if err == nil {
				t.Fatal("no error")
			}
			if len(err.Error()) > 10_000 {
				t.Errorf("%d bytes: %.300q", len(err.Error()), err.Error())
			}
			if strings.ContainsAny(err.Error(), "\x1b\u202e") {
				t.Errorf("raw: %.300q", err.Error())
			}
		})
	}
}

// What a CA calls a new resource goes into journals and signed requests.
func TestLocationIsChecked(t *testing.T) {
	for name, location := range map[string]string{
		"http": "http://ca.example/order/1", "long": "https://ca.example/" + strings.Repeat("x", 1<<20), "odd": "https://ca.example/\u202eabc",
		"no URL": "mailto:x@example.com",
	} {
		t.Run(name, func(t *testing.T) {
			f := fake{"/newOrder": answer(201, `{"status":"pending","authorizations":["/a/1"],"finalize":"/f"}`, "Location", location)}
			var told []string
			_, err := f.client(t).Issue(t.Context(), acme.Request{Identifiers: identifiers(t, "example.com"), Key: newKey(t), Before: func(ctx context.Context, s acme.Step) error {
				told = append(told, s.OrderURL)
				return nil
			}})
			if len(told) > 1 {
				t.Errorf("told of an order at %.80q (%d bytes); error %.200v", told[1], len(told[1]), err)
			}
			g := fake{"/newAccount": answer(201, `{"status":"valid"}`, "Location", location)}
			if a, err := g.client(t).Register(t.Context(), acme.Registration{}); err == nil {
				t.Errorf("account at %.80q (%d bytes)", a.URL, len(a.URL))
			}
		})
	}
}

// An error about a hundred hindered names has a bounded size.
func TestHinderedMemory(t *testing.T) {
	var names []string
	for i := range 100 {
		names = append(names, fmt.Sprintf("n%d.example.com", i))
	}
	var subs []string
	detail := strings.Repeat(`\u0001`, 1000)
	for range 10 {
		subs = append(subs, `{"type":"urn:ietf:params:acme:error:dns","detail":"`+detail+`","identifier":{"type":"dns","value":"`+strings.Repeat(`\u0001`, 260)+`"}}`)
	}
	hindered := `{"type":"urn:ietf:params:acme:error:dns","detail":"` + detail + `","subproblems":[` + strings.Join(subs, ",") + `]}`
	var auths []string
	f := fake{}
	for i := range 210 {
		path := fmt.Sprintf("/a/%d", i)
		auths = append(auths, `"`+path+`"`)
		polls := 0
		f[path] = func(w http.ResponseWriter, r *http.Request) {
			polls++
			e := ""
			if polls > 1 {
				e = `,"error":` + hindered
			}
			answer(200, `{"status":"pending","identifier":{"type":"dns","value":"`+names[i%100]+`"},"challenges":[{"type":"http-01","status":"pending","token":"abc","url":"/c`+`"`+e+`}]}`)(w, r)
		}
	}
	order := `{"status":"pending","finalize":"/f","authorizations":[` + strings.Join(auths, ",") + `]}`
	f["/newOrder"] = answer(201, order, "Location", "/o")
	f["/o"] = answer(200, order)
	f["/c"] = answer(200, `{"type":"http-01","status":"pending","url":"/c","token":"abc"}`)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	s := newSolver("http-01", nil)
	_, err := f.client(t).Issue(t.Context(), acme.Request{Identifiers: identifiers(t, names...), Key: newKey(t), Solvers: []acme.Solver{s}})
	runtime.GC()
	runtime.ReadMemStats(&after)
	held := int64(after.HeapAlloc) - int64(before.HeapAlloc)
	if held > 64<<20 || len(err.Error()) > 1<<20 {
		t.Error("too much")
	}
	runtime.KeepAlive(err)
}

// No record is made of a name that is none.
func TestNewProofIdentifier(t *testing.T) {
	c := newCA(t)
	for _, value := range []string{"../../etc", "a.example.com. TXT x\r\nb", "", "*.example.com", strings.Repeat("a.", 500) + "com", "EXAMPLE.com"} {
		a := &acme.Authorization{Identifier: acme.Identifier{Type: "dns", Value: value}}
		for _, kind := range []string{"dns-01", "dns-persist-01"} {
			p, err := c.client.NewProof(t.Context(), a, acme.Challenge{Type: kind, URL: c.URL, Token: "abc", Issuers: []string{"ca.example"}})
			if err == nil {
				name, _, err := p.TXTRecord()
				t.Errorf("%.60q %s: record %.60q (%v)", value, kind, name, err)
			}
		}
	}
}

func TestRegisterResolvesOrders(t *testing.T) {
	f := fake{"/newAccount": answer(201, `{"status":"valid","orders":"/orders/1"}`, "Location", "/account/1")}
	a, err := f.client(t).Register(t.Context(), acme.Registration{})
	if err != nil || a.Orders != fakeOrigin+"/orders/1" {
		t.Errorf("%+v %v", a, err)
	}
}

func TestThreeRedirects(t *testing.T) {
	n := 0
	c := &acme.Client{DirectoryURL: fakeOrigin + "/0", Key: newKey(t), HTTPClient: &http.Client{Transport: handlerTransport{http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n++; n <= 3 {
			http.Redirect(w, r, fmt.Sprint("/", n), http.StatusFound)
			return
		}
		answer(200, `{"newNonce":"/newNonce","newAccount":"/newAccount","newOrder":"/newOrder"}`)(w, r)
	})}}}
	_, err := c.GetDirectory(t.Context())
	if err != nil {
		t.Error(err)
	}
}

// A list that comes on one page can be long.
func TestLongListOfOrders(t *testing.T) {
	var urls []string
	for i := range 3000 {
		urls = append(urls, fmt.Sprintf("%s/acme/acme/order/%032d", fakeOrigin, i))
	}
	list, _ := json.Marshal(urls)
	f := fake{"/account/1": answer(200, `{"status":"valid","orders":"/orders"}`), "/orders": answer(200, string(list))}
	n := 0
	for _, err := range f.client(t).Orders(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 3000 {
		t.Error(n)
	}
}

// Members of the directory's meta in an unknown form are passed by.
func TestMetaInAnotherForm(t *testing.T) {
	for _, meta := range []string{`{"profiles":["a"]}`, `{"profiles":{"a":{"description":"x"}}}`, `{"caaIdentities":"ca.example"}`, `{"website":{}}`, `[]`} {
		f := fake{"/directory": answer(200, `{"newNonce":"/newNonce","newAccount":"/newAccount","newOrder":"/newOrder","meta":`+meta+`}`)}
		if _, err := f.client(t).GetDirectory(t.Context()); err != nil {
			t.Errorf("%s: %v", meta, err)
		}
	}
}

// Whoever recovers from a panic in his transport can still use the client.
func TestPanicInTransport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		c := &acme.Client{DirectoryURL: fakeOrigin + "/directory", Key: newKey(t), HTTPClient: &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			if n++; n == 1 {
				panic("first")
			}
			return handlerTransport{fake{}}.RoundTrip(r)
		})}}
		func() {
			defer func() { _ = recover() }()
			_, _ = c.GetDirectory(t.Context())
		}()
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if _, err := c.GetDirectory(ctx); err != nil {
			t.Error(err)
		}
	})
}

func TestWindowAtOne(t *testing.T) {
	w := acme.Window{Start: time.Date(1, 1, 2, 0, 0, 0, 0, time.UTC), End: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)}
	for _, r := range []float64{0, .5, .999999999999999999, 1} {
		if at := w.At(r); at.Before(w.Start) || at.After(w.End) {
			t.Errorf("%v: %v", r, at)
		}
	}
}

func TestPassword(t *testing.T) {
	c := &acme.Client{DirectoryURL: "https://user:S3CRET@ca.example/directory", Key: newKey(t)}
	_, err := c.GetDirectory(t.Context())
	if strings.Contains(err.Error(), "S3CRET") {
		t.Error(err)
	}
}

// A log as JSON shows all exported fields of what it is given.
func TestKeysArePrintedNowhere(t *testing.T) {
	var log bytes.Buffer
	key := newKey(t)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("seen", "client", &acme.Client{Key: key, DirectoryURL: "shown"}, "request", acme.Request{Key: key, PreferredChain: "shown"})
	if text := log.String(); strings.Contains(text, `"D"`) || !strings.Contains(text, "shown") {
		t.Errorf("the log has %s", text)
	}
}

func TestEmptyPayload(t *testing.T) {
	f := fake{"/c": answer(200, `{"type":"http-01","status":"pending"}`)}
	if _, err := f.client(t).AcceptChallenge(t.Context(), fakeOrigin+"/c", json.RawMessage{}); err != nil {
		t.Error(err)
	}
}

// The names in an untrusted server's certificate reach no log as they are.
func TestTLSNames(t *testing.T) {
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	for _, name := range []string{"a\x1b[31mb", strings.Repeat("a", 60) + ".example"} {
		var names []string
		for range 2 {
			names = append(names, name)
		}
		der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: names, BasicConstraintsValid: true, IsCA: true}, &x509.Certificate{SerialNumber: big.NewInt(1)}, key.Public(), key)
		if err != nil {
			continue
		}
		ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		go func() {
			for {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				go func(c net.Conn) { _ = c.(*tls.Conn).Handshake(); c.Close() }(c)
			}
		}()
		c := &acme.Client{DirectoryURL: "https://" + strings.Replace(ln.Addr().String(), "127.0.0.1", "localhost", 1), Key: newKey(t)}
		if _, err = c.GetDirectory(t.Context()); strings.Contains(err.Error(), "\x1b") {
			t.Errorf("raw: %.200q", err.Error())
		}
	}
}
