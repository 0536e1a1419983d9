package stepca

import (
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/everseal/everseal/acme/acmetest"
)

// But for the package's name this file is the same in the modules of the tests against Pebble and against step-ca.

// An editor is a relay between a client and its CA: what the CA answers passes through faults, which may edit it or
// answer in its place. The CA names its resources by the host that it is asked for, so all requests come this way.
type editor struct {
	*httptest.Server

	mu     sync.Mutex
	faulty http.Handler
	well   http.Handler
	count  map[string]int // requests by resource
	made   int            // orders
}

// startEditor starts a relay to the CA at the URL, of which the HTTP client is one.
func startEditor(t *testing.T, ca string, client *http.Client) *editor {
	t.Helper()
	target, err := url.Parse(ca)
	if err != nil {
		t.Fatal(err)
	}
	e := &editor{count: make(map[string]int)}
	quiet := log.New(io.Discard, "", 0)
	e.well = e.countOrders(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: target.Scheme, Host: target.Host})
			r.Out.Host = r.In.Host
		},
		ModifyResponse: func(r *http.Response) error {
			r.Header.Del("Content-Length") // of what may be edited
			return nil
		},
		Transport: client.Transport,
		ErrorLog:  quiet,
	})
	e.faulty = e.well
	e.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e.mu.Lock()
		e.count[resourceName(r.URL.Path)]++
		faulty := e.faulty
		e.mu.Unlock()
		faulty.ServeHTTP(w, r)
	}))
	e.Config.ErrorLog = quiet
	e.EnableHTTP2 = true
	e.StartTLS()
	t.Cleanup(func() {
		e.CloseClientConnections()
		e.Close()
	})
	return e
}

// countOrders counts the orders that the CA makes.
func (e *editor) countOrders(ca http.Handler) http.Handler {
	counting := acmetest.Edit(func(r *acmetest.Response) {
		if r.Status == http.StatusCreated {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.made++
		}
	})
	return on("newOrder", counting)(ca)
}

// edit has what is asked from now on pass through the faults, the first outermost, in place of the earlier ones.
func (e *editor) edit(faults ...acmetest.Fault) {
	faulty := acmetest.All(faults...)(e.well)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.faulty = faulty
}

// asked returns how many requests there were for the resource.
func (e *editor) asked(resource string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.count[resource]
}

// total returns how many requests there were.
func (e *editor) total() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := 0
	for _, count := range e.count {
		n += count
	}
	return n
}

// orders returns how many orders the CA has made.
func (e *editor) orders() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.made
}

// on limits a fault to the requests for one resource.
func on(resource string, fault acmetest.Fault) acmetest.Fault {
	return func(next http.Handler) http.Handler {
		faulty := fault(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if resourceName(r.URL.Path) == resource {
				faulty.ServeHTTP(w, r)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// editText changes the bodies of the CA's answers.
func editText(edit func(text string) string) acmetest.Fault {
	return acmetest.Edit(func(r *acmetest.Response) { r.Body = []byte(edit(string(r.Body))) })
}

// editJSON changes the objects that the CA answers with.
func editJSON(edit func(object map[string]any)) acmetest.Fault {
	return acmetest.Edit(func(r *acmetest.Response) {
		object := make(map[string]any)
		if r.Status >= 300 || json.Unmarshal(r.Body, &object) != nil {
			return // a refusal, or PEM
		}
		edit(object)
		r.Body = encode(object)
	})
}

// encode returns what the value is in JSON.
func encode(value any) []byte {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err) // as for a value of a test's own that can't be encoded
	}
	return text
}

// member has a member of the CA's objects be another.
func member(name string, value any) acmetest.Fault {
	return editJSON(func(object map[string]any) { object[name] = value })
}

// editChallenges changes the challenges of the type http-01, in authorizations and alone.
func editChallenges(edit func(challenge map[string]any)) acmetest.Fault {
	only := func(challenge map[string]any) {
		if challenge["type"] == "http-01" {
			edit(challenge)
		}
	}
	return acmetest.All(on("challenge", editJSON(only)), on("authorization", editJSON(func(authorization map[string]any) {
		for _, challenge := range authorization["challenges"].([]any) {
			only(challenge.(map[string]any))
		}
	})))
}

// everyOrder limits a fault to answers that are orders.
func everyOrder(fault acmetest.Fault) acmetest.Fault {
	return acmetest.All(on("newOrder", fault), on("order", fault), on("finalize", fault))
}

// editOrders changes the orders that have the status.
func editOrders(status string, edit func(order map[string]any)) acmetest.Fault {
	return everyOrder(editJSON(func(order map[string]any) {
		if order["status"] == status {
			edit(order)
		}
	}))
}

// editBlocks changes the chain of a certificate: its blocks of PEM, without their line ends.
func editBlocks(edit func(blocks []string) []string) acmetest.Fault {
	return on("certificate", editText(func(text string) string {
		const end = "-----END CERTIFICATE-----"
		var blocks []string
		for block := range strings.SplitAfterSeq(text, end) {
			if strings.HasSuffix(block, end) {
				blocks = append(blocks, strings.TrimSpace(block))
			}
		}
		return strings.Join(edit(blocks), "\n") + "\n"
	}))
}

// refuse answers in place of the CA with a problem document.
func refuse(status int, problem map[string]any, header ...string) acmetest.Fault {
	faults := make([]acmetest.Fault, 0, len(header)/2+1)
	for i := 0; i+1 < len(header); i += 2 {
		faults = append(faults, acmetest.WithHeader(header[i], header[i+1]))
	}
	return acmetest.All(append(faults, acmetest.Answer(status, "application/problem+json", string(encode(problem))))...)
}

// missing answers that what was asked for is not there.
func missing() acmetest.Fault {
	return refuse(http.StatusNotFound, problem("malformed", "not found"))
}

// problem is a problem document.
func problem(kind, detail string) map[string]any {
	return map[string]any{"type": "urn:ietf:params:acme:error:" + kind, "detail": detail}
}
