package statuspage

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/solver/diagnose"
	"github.com/everseal/everseal/storage"
)

// get returns the answer to a GET.
func get(t testing.TB, h http.Handler, url string) *httptest.ResponseRecorder {
	t.Helper()
	answer := httptest.NewRecorder()
	h.ServeHTTP(answer, httptest.NewRequest("GET", url, nil))
	if answer.Code != http.StatusOK {
		t.Fatalf("%s: %d %s", url, answer.Code, answer.Body)
	}
	return answer
}

// shown is the report as a program reads it.
func shown(t *testing.T, h http.Handler, url string) (r report) {
	t.Helper()
	if err := json.Unmarshal(get(t, h, url).Body.Bytes(), &r); err != nil {
		t.Fatalf("%s: %v", url, err)
	}
	return r
}

func names(certificates []certificate) (all []string) {
	for _, c := range certificates {
		all = append(all, c.Names[0])
	}
	return all
}

// A real manager is shown, by a page and by JSON that have the same.
func TestManager(t *testing.T) {
	m, err := certmanager.New(certmanager.Config{Names: []string{"example.com", "www.example.com"}, AgreeToTerms: true, Storage: new(storage.Memory)})
	if err != nil {
		t.Fatal(err)
	}
	h := Handler(m)
	text := get(t, h, "/").Body.String()
	for _, want := range []string{"All 2 certificates are yet to be obtained", "www.example.com", "orders in 3 hours <small>Let&#39;s Encrypt</small>", "300 of 300", "Counted since"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q:\n%s", want, text)
		}
	}
	r := shown(t, h, "/status.json")
	if r.Matching != 2 || !slices.Equal(names(r.Certificates), []string{"example.com", "www.example.com"}) || r.Certificates[0].Ready ||
		r.Stats.States[certmanager.StateWaiting] != 2 || len(r.Budgets) == 0 || len(r.Counts.Days) != 30 || len(r.Expiries) != 90 {
		t.Errorf("the JSON has %+v", r)
	}
}

func TestNoManager(t *testing.T) {
	answer := httptest.NewRecorder()
	Handler(nil).ServeHTTP(answer, httptest.NewRequest("GET", "/", nil))
	if answer.Code != http.StatusInternalServerError || !strings.Contains(answer.Body.String(), "no manager") {
		t.Errorf("%d: %s", answer.Code, answer.Body)
	}
	if text := get(t, Handler(new(certmanager.Manager)), "/").Body.String(); !strings.Contains(text, "No certificates yet") {
		t.Errorf("a manager that New has not made is shown by:\n%s", text)
	}
}

func TestFormat(t *testing.T) {
	h := newHandler(newFake(time.Now(), 3))
	for _, test := range []struct {
		url, accept string
		json        bool
	}{
		{"/", "", false},
		{"/", "text/html,application/json", false},
		{"/", "application/json", true},
		{"/status.json", "*/*", true},
		{"/status.json?format=html", "", false},
		{"/?format=json", "text/html", true},
	} {
		request, answer := httptest.NewRequest("GET", test.url, nil), httptest.NewRecorder()
		request.Header.Set("Accept", test.accept)
		h.ServeHTTP(answer, request)
		if got := answer.Header().Get("Content-Type") == "application/json"; got != test.json || answer.Header().Get("Vary") != "Accept" {
			t.Errorf("%s for those who accept %q: %v", test.url, test.accept, answer.Header())
		}
	}
}

// Every answer, also to what is refused, has headers that keep it from being stored, framed and guessed at.
func TestHeaders(t *testing.T) {
	h := newHandler(newFake(time.Now(), 3))
	for _, test := range []struct {
		method, url string
		code        int
	}{
		{"GET", "/", 200}, {"HEAD", "/", 200}, {"GET", "/?format=json", 200}, {"POST", "/", 405}, {"DELETE", "/", 405}, {"OPTIONS", "/", 405},
		{"GET", "/?state=none", 400}, {"GET", "/?sort=none", 400}, {"GET", "/?format=xml", 400}, {"GET", "/?page=0", 400}, {"GET", "/?page=1e3", 400}, {"GET", "/?limit=1001", 400},
		{"GET", "/?name=" + strings.Repeat("a", 301), 400}, {"GET", "/?page=99999999999999999999", 400},
	} {
		answer := httptest.NewRecorder()
		h.ServeHTTP(answer, httptest.NewRequest(test.method, test.url, nil))
		header := answer.Header()
		if answer.Code != test.code {
			t.Errorf("%s %s: %d %s", test.method, test.url, answer.Code, answer.Body)
		}
		policy := header.Get("Content-Security-Policy")
		if header.Get("Cache-Control") != "no-store" || header.Get("X-Content-Type-Options") != "nosniff" || header.Get("Referrer-Policy") != "no-referrer" ||
			!strings.Contains(policy, "default-src 'none'") || !strings.Contains(policy, "frame-ancestors 'none'") || strings.Contains(policy, "unsafe") {
			t.Errorf("%s %s: %v", test.method, test.url, header)
		}
		if code := answer.Code; code == 405 && header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: Allow is %q", test.method, header.Get("Allow"))
		}
	}
}

// What stands in names and errors that a hostile client, CA or server had a hand in reaches the page as text.
func TestEscaping(t *testing.T) {
	const hostile = `"><script>alert(1)</script><img src=x onerror=alert(1)> javascript:alert(1) {{.}} ` + "\u202e\x00"
	now := time.Now()
	s := failed(valid(now, 3, hostile, hostile), now, errors.New(hostile), &diagnose.Report{Cause: hostile, Reason: hostile, Cure: hostile})
	s.Issuer, s.Serial, s.EndOf, s.Deferred, s.ExplanationURL, s.Challenges, s.Reason, s.Action = hostile, hostile, hostile, hostile, "javascript:alert(1)", []string{hostile}, hostile, hostile
	h := newHandler(&fake{certificates: []certmanager.Status{s}, budgetsError: errors.New(hostile),
		budgets: []certmanager.Budget{{Kind: hostile, Name: hostile, CA: hostile}},
		counts:  certmanager.Counts{Requests: []certmanager.Requests{{Issuer: hostile, Action: hostile}}, Failures: map[certmanager.FailureKind]int64{hostile: 1}}})
	for _, url := range []string{"/", "/?name=%22%3E%3Cscript%3E", "/?issuer=%22%3E%3Cscript%3E&reason=%22%3E%3Cscript%3E&name=x"} {
		text := get(t, h, url).Body.String()
		text = strings.Replace(text, "<script>"+scriptText+"</script>", "", 1)
		if strings.Contains(text, "<script") || strings.Contains(text, "<img") || strings.Contains(text, "ZgotmplZ") || regexp.MustCompile(`(?i)href="\s*javascript`).MatchString(text) {
			t.Errorf("%s: the page has markup of others:\n%s", url, text)
		}
	}
	if body := get(t, h, "/?format=json").Body.String(); strings.Contains(body, "<") {
		t.Errorf("the JSON has markup: %s", body)
	}
}

// The failure is shown with cause and cure, and what the error says beside them.
func TestFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHandler(newFake(time.Now(), 300))
		text := get(t, h, "/?name=shop.customer-00001").Body.String()
		for _, want := range []string{
			"4 attempts failed, the last 13 minutes ago", "port 80 of 192.0.2.17 (the A record of shop.customer-00001.example) refuses connections. <em>To do:</em> start the web server there",
			"<p>port 80 of 192.0.2.17 refuses connections: start the web server, or open the port; control was not proved", "1 certificate matches",
			"<dt>Renewal window</dt>", "<dt>Waits for</dt><dd>a while, after a failure of their own</dd>", `title="20 February 2000, 23:23 UTC">`,
		} {
			if !strings.Contains(text, want) {
				t.Errorf("the page lacks %q:\n%s", want, text[strings.Index(text, "<form"):])
			}
		}
	})
}

// Each query lists what it says, and pages hold all of it once.
func TestQueries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(time.Now(), 300)
		f.certificates = append(f.certificates, valid(time.Now(), 7, "*.wild.example"), valid(time.Now(), 7, "xn--gre-6ka8i.de"))
		h := newHandler(f)
		for url, want := range map[string]int{
			"": 302, "state=valid": 294, "state=expired": 1, "state=failing": 3, "state=waiting": 4, "reason=budget": 3, "reason=issuer&state=expired": 1,
			"name=shop.": 43, "name=SHOP.": 43, "name=.EXAMPLE": 301, "name=SHOP.Customer-00001": 1, "name=beta.": 60, "name=customer-00001.example": 7, "name=www.wild.example": 1, "name=wild.example": 1,
			"state=overdue": 8, "state=overdue&reason=budget": 3, "name=a.b.wild.example": 0, "name=größe.de": 1, "name=nowhere": 0, "issuer=" + issuerID: 296, "issuer=other": 0, "name=.example&state=failing": 3, "unknown=1": 302,
		} {
			if r := shown(t, h, "/?format=json&"+url); r.Matching != want || len(r.Certificates) != min(want, 50) {
				t.Errorf("%q lists %d, and shows %d, want %d", url, r.Matching, len(r.Certificates), want)
			}
		}
		for _, sort := range append(sorts(), "") {
			all := make(map[string]bool)
			var last *certmanager.Status
			for i := range 8 {
				r := shown(t, h, fmt.Sprintf("/?format=json&limit=41&sort=%s&page=%d", sort, i+1))
				for _, c := range r.Certificates {
					if last != nil && orderOf(sort)(last, &c.Status) >= 0 {
						t.Fatalf("sorted by %q, %v comes before %v", sort, last.Names, c.Names)
					}
					last, all[c.Names[0]] = &c.Status, true
				}
			}
			if len(all) != 302 {
				t.Errorf("the pages sorted by %q have %d certificates", sort, len(all))
			}
		}
		if r := shown(t, h, "/?format=json&page=1000000&limit=50"); r.Page != 7 || r.Pages != 7 || len(r.Certificates) != 2 {
			t.Errorf("the page after the last one is %d of %d with %d certificates", r.Page, r.Pages, len(r.Certificates))
		}
		if first := shown(t, h, "/?format=json").Certificates; first[0].State != certmanager.StateExpired || first[1].Failure == nil || first[1].Ready || first[2].Failure == nil || !first[2].Ready {
			t.Errorf("first comes %v", names(first[:4]))
		}
	})
}

// What a search leaves out of the URL of the page it came from, the form has.
func TestFormKeepsTheQuery(t *testing.T) {
	h := newHandler(newFake(time.Now(), 300))
	text := get(t, h, "/?limit=200&sort=age&issuer="+issuerID+"&reason=budget").Body.String()
	for _, want := range []string{`name="limit" value="200"`, `name="sort" value="age"`, `name="issuer" value="` + issuerID + `"`, `name="reason" value="budget"`} {
		if !strings.Contains(text, `<input type="hidden" `+want+`>`) {
			t.Errorf("the form lacks %s", want)
		}
	}
	if text := get(t, h, "/").Body.String(); strings.Contains(text, `type="hidden"`) {
		t.Error("the form has what was not asked for")
	}
}

// What most certificates wait for comes first, however the words are spelled.
func TestWaits(t *testing.T) {
	p := page{report: &report{Stats: certmanager.Stats{Deferred: map[certmanager.Reason]int{"d": 1, "b": 1, "c": 2, "a": 1, "e": 3}}}, Query: new(query)}
	for range 20 {
		var got []string
		for _, f := range p.Waits() {
			got = append(got, f.Name)
		}
		if want := []string{"e", "c", "a", "b", "d"}; !slices.Equal(got, want) {
			t.Fatalf("%v, want %v", got, want)
		}
	}
}

// Two accounts at one CA have a table of requests each, and can be told apart.
func TestIssuersOfOneCA(t *testing.T) {
	const first, second = "ca.example-00000001", "ca.example-00000002"
	p := page{report: &report{Stats: certmanager.Stats{InFlight: map[string]int{first: 0, second: 0, issuerID: 0}},
		Counts: certmanager.Counts{Requests: []certmanager.Requests{{Issuer: issuerID, Action: "newOrder"}, {Issuer: first, Action: "newOrder"}, {Issuer: second, Action: "newOrder"}}}}, Query: new(query)}
	var got []string
	for _, c := range p.Counters()[3:] {
		got = append(got, c.Name)
	}
	for _, f := range p.InFlight() {
		got = append(got, f.Name)
	}
	ca := issuerWords(issuerID)
	if want := []string{"Requests to " + ca, "Requests to " + first, "Requests to " + second, ca, first, second}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// Budgets are read once a minute, and what could be read is shown with why the rest is missing.
func TestBudgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(time.Now(), 300)
		f.budgetsError = errors.New("certmanager: the storage fails")
		h := newHandler(f)
		for range 3 {
			r := shown(t, h, "/?format=json")
			if r.BudgetsError != "the storage fails" || r.Budgets[0].Left != 0 || r.Budgets[3].Left != 10 {
				t.Errorf("the budgets are %+v: %s", r.Budgets, r.BudgetsError)
			}
		}
		if f.readings != 1 {
			t.Errorf("they were read %d times", f.readings)
		}
		time.Sleep(budgetsAge)
		f.budgetsError = nil
		if r := shown(t, h, "/?format=json"); f.readings != 2 || r.BudgetsError != "" {
			t.Errorf("after a minute they were read %d times: %s", f.readings, r.BudgetsError)
		}
	})
}
