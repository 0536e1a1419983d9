package solver_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/solver/internal/solvertest"
)

// startWebhook serves an endpoint and returns a Webhook that calls it.
func startWebhook(t *testing.T, handler http.HandlerFunc) *solver.Webhook {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return &solver.Webhook{URL: server.URL + "/acme"}
}

// The bytes are those that lego's provider httpreq sends, version 5.6.0.
func TestWebhook(t *testing.T) {
	var got []string
	w := startWebhook(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		user, password, _ := r.BasicAuth()
		got = append(got, strings.Join([]string{r.Method, r.RequestURI, r.Header.Get("Content-Type"), r.Header.Get("Accept"), user, password, string(body)}, " "))
		w.WriteHeader(http.StatusAccepted)
	})
	record := solver.Record{Zone: "example.com", Name: "_acme-challenge.www.example.com", Value: "LHDhK3oGRvkiefQnx7OOczTY5Tic_xZ6HcMOc_gmtoM"}
	if err := w.AppendRecord(t.Context(), record); err != nil {
		t.Error(err)
	}
	w.URL += "/?key=1" // a final slash does no harm, and a query stays
	w.Username, w.Password, w.HTTPClient = "me", "geheimnis", new(http.Client)
	if err := w.DeleteRecord(t.Context(), record); err != nil {
		t.Error(err)
	}
	const body = `{"fqdn":"_acme-challenge.www.example.com.","value":"LHDhK3oGRvkiefQnx7OOczTY5Tic_xZ6HcMOc_gmtoM"}` + "\n"
	want := []string{
		"POST /acme/present application/json application/json   " + body,
		"POST /acme/cleanup?key=1 application/json application/json me geheimnis " + body,
	}
	if !slices.Equal(got, want) {
		t.Errorf("the requests were %q, want %q", got, want)
	}
}

func TestWebhookFails(t *testing.T) {
	record := solver.Record{Zone: "example.com", Name: "_acme-challenge.example.com", Value: "value"}
	for name, test := range map[string]struct {
		answer http.HandlerFunc
		change func(*solver.Webhook)
		want   string // of it HOST is the server's
	}{
		"refused": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			io.WriteString(w, "no \x1b[31mzone\nhere")
			more := []byte(strings.Repeat(".", 1<<20))
			for range 100 { // more than what is on its way when nobody reads
				if _, err := w.Write(more); err != nil {
					return
				}
			}
			t.Error("an answer of 100 MiB is read")
		}, nil, `solver: webhook HOST: present: the answer is "403 Forbidden", "no \x1b[31mzone\nhere` + strings.Repeat(".", 183) + `"`},
		"redirected": {func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, "/elsewhere") {
				t.Error("the redirect is followed")
			}
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}, nil, `solver: webhook HOST: present: the answer is "307 Temporary Redirect", ""`},
		"hung up": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, nil,
			`solver: webhook HOST: present: EOF`},
		"no URL": {nil, func(w *solver.Webhook) { w.URL = "" },
			"solver: Webhook.URL is none of http or https with a host: set it to the endpoint's"},
		"another scheme": {nil, func(w *solver.Webhook) { w.URL = "file:///geheimnis" },
			"solver: Webhook.URL is none of http or https with a host: set it to the endpoint's"},
		"no URL at all": {nil, func(w *solver.Webhook) { w.URL = "https://geheimnis.example:geheimnis\x7f/" },
			"solver: Webhook.URL is none of http or https with a host: set it to the endpoint's"},
		"its own words": {func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusUnauthorized)
			user, password, _ := r.BasicAuth()
			fmt.Fprintln(w, user, password, r.Header.Get("Authorization"), r.RequestURI, r.URL.Query().Get("key"))
		}, func(w *solver.Webhook) {
			w.URL = strings.Replace(w.URL, "http://", "http://anyone:underway@", 1) + "/geheimer+pfad?key=geheimer%2fwert"
			w.Username = "account"
		}, `solver: webhook HOST: present: the answer is "401 Unauthorized", "<Username> <Password> Basic <credentials> /acme/<URL>/present?key=<URL> <URL>"`},
		"more of them than is read": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusUnauthorized)
			io.WriteString(w, strings.Repeat("0123456789", 1000))
		}, func(w *solver.Webhook) { w.Password = strings.Repeat("0123456789", 30) },
			`solver: webhook HOST: present: the answer is "401 Unauthorized", "<Password><Password><Password>"`},
		"in the status": {func(w http.ResponseWriter, _ *http.Request) {
			conn, _, _ := w.(http.Hijacker).Hijack()
			io.WriteString(conn, "HTTP/1.1 401 not geheimnis\r\n\r\n")
			conn.Close()
		}, nil, `solver: webhook HOST: present: the answer is "401 not <Password>", ""`},
		"instead of an answer": {func(w http.ResponseWriter, _ *http.Request) {
			conn, _, _ := w.(http.Hijacker).Hijack()
			io.WriteString(conn, "geheimnis")
			conn.Close()
		}, nil, `solver: webhook HOST: present: net/http: HTTP/1.x transport connection broken: malformed HTTP response "<Password>"`},
		"no server": {nil, func(w *solver.Webhook) {
			w.URL = "http://me:geheimnis@dns.example/geheimnis?token=geheimnis"
			w.HTTPClient = &http.Client{Transport: failingTransport{}}
		}, "solver: webhook dns.example: present: no route to dns.example"},
	} {
		t.Run(name, func(t *testing.T) {
			w := startWebhook(t, test.answer)
			w.Username, w.Password = "me", "geheimnis"
			host := strings.TrimPrefix(strings.TrimSuffix(w.URL, "/acme"), "http://")
			if test.change != nil {
				test.change(w)
			}
			err := w.AppendRecord(t.Context(), record)
			if want := strings.ReplaceAll(test.want, "HOST", host); err == nil || err.Error() != want {
				t.Errorf("the error is\n%v, want\n%s", err, want)
			}
		})
	}
}

// Of which failures it is certain that no record was created.
func TestWebhookSaysWhatWasNotCreated(t *testing.T) {
	for status, want := range map[int]bool{400: true, 401: true, 403: true, 404: true, 429: true, 303: false, 500: false, 502: false, 504: false} {
		w := startWebhook(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
		if err := w.AppendRecord(t.Context(), solver.Record{Name: "_acme-challenge.example.com", Value: "value"}); err == nil || errors.Is(err, solver.ErrNotCreated) != want {
			t.Errorf("%d: %v", status, err)
		}
	}
	cut := startWebhook(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	if err := cut.AppendRecord(t.Context(), solver.Record{Name: "_acme-challenge.example.com", Value: "value"}); err == nil || errors.Is(err, solver.ErrNotCreated) {
		t.Errorf("the connection is cut: %v", err)
	}
	unheard, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	unheard.Close()
	nobody := &solver.Webhook{URL: "http://" + unheard.Addr().String()}
	if err := nobody.AppendRecord(t.Context(), solver.Record{Name: "_acme-challenge.example.com", Value: "value"}); !errors.Is(err, solver.ErrNotCreated) {
		t.Errorf("nobody listens: %v", err)
	}
}

type failingTransport struct{}

func (failingTransport) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("no route to dns.example")
}

// A service that does not end its answer is not waited for: not at all where it says that it has succeeded.
func TestWebhookWaitsForNoBody(t *testing.T) {
	for status, want := range map[int]time.Duration{http.StatusOK: 0, http.StatusForbidden: 2 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			w := &solver.Webhook{URL: "https://dns.example", HTTPClient: &http.Client{Transport: endlessTransport(status)}}
			begun := time.Now()
			err := w.AppendRecord(t.Context(), solver.Record{Name: "_acme-challenge.example.com"})
			if took := time.Since(begun); took != want || (err == nil) != (status == http.StatusOK) {
				t.Errorf("status %d: %v after %v, want that after %v", status, err, took, want)
			}
		})
	}
}

// An endlessTransport answers with a status and a body that does not come.
type endlessTransport int

func (status endlessTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: int(status), Body: endlessBody{r.Context()}}, nil
}

type endlessBody struct{ ctx context.Context }

func (b endlessBody) Read([]byte) (int, error) {
	<-b.ctx.Done()
	return 0, b.ctx.Err()
}

func (endlessBody) Close() error { return nil }

func TestWebhookIsStopped(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	w := startWebhook(t, func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		cancel()
		<-r.Context().Done()
	})
	if err := w.AppendRecord(ctx, solver.Record{Name: "_acme-challenge.example.com"}); !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
}

// The service gets the name that a CNAME leads to, and has nothing to follow.
func TestWebhookGetsTheTarget(t *testing.T) {
	dns := solvertest.NewDNS(t)
	zones := newZones(dns, "example.com", "example.net")
	zones.add("example.com", "_acme-challenge.example.com", "CNAME", "abc.example.net")
	var bodies strings.Builder
	w := startWebhook(t, func(_ http.ResponseWriter, r *http.Request) { io.Copy(&bodies, r.Body) })
	d := &solver.DNS01{Provider: w, DNS: dnsOf(dns), FollowCNAME: true}
	proof := solvertest.NewProof(acme.TypeDNS01, "example.com")
	_, value := txtOf(t, proof)
	solvertest.Present(t, d, proof)
	solvertest.CleanUp(t, d, proof)
	if got, want := bodies.String(), strings.Repeat(`{"fqdn":"abc.example.net.","value":"`+value+`"}`+"\n", 2); got != want {
		t.Errorf("the service got %q, want %q", got, want)
	}
}
