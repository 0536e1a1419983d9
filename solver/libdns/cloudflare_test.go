package libdns_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver"
	adapter "github.com/everseal/everseal/solver/libdns"
	"github.com/libdns/cloudflare"
)

const token = "a token that nobody prints"

// A cloudflareAPI is the part of Cloudflare's API that records are edited by, for the zone example.com.
type cloudflareAPI struct {
	mu      sync.Mutex
	records []map[string]any
	made    int
}

func startCloudflare(t *testing.T) (*cloudflareAPI, *cloudflare.Provider) {
	t.Helper()
	api := new(cloudflareAPI)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /client/v4/zones", func(w http.ResponseWriter, r *http.Request) {
		zones := []map[string]any{}
		if strings.TrimSuffix(r.FormValue("name"), ".") == "example.com" {
			zones = append(zones, map[string]any{"id": "zone1", "name": "example.com"})
		}
		answer(w, zones)
	})
	mux.HandleFunc("POST /client/v4/zones/zone1/dns_records", api.create)
	mux.HandleFunc("GET /client/v4/zones/zone1/dns_records", api.list)
	mux.HandleFunc("DELETE /client/v4/zones/zone1/dns_records/{id}", api.remove)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+token {
			refuse(w, 9109, "Invalid access token")
			return
		}
		api.mu.Lock()
		defer api.mu.Unlock()
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return api, &cloudflare.Provider{APIToken: token, HTTPClient: &http.Client{Transport: toServer(server.URL)}}
}

// toServer sends requests to a server in place of the one they are for.
type toServer string

func (s toServer) RoundTrip(r *http.Request) (*http.Response, error) {
	target, err := url.Parse(string(s))
	if err != nil {
		return nil, err
	}
	if r.URL.Scheme != "https" || r.URL.Host != "api.cloudflare.com" {
		return nil, fmt.Errorf("%s is called", r.URL)
	}
	r = r.Clone(r.Context())
	r.URL.Scheme, r.URL.Host = target.Scheme, target.Host
	return http.DefaultTransport.RoundTrip(r)
}

func answer(w http.ResponseWriter, result any) {
	_ = json.NewEncoder(w).Encode(map[string]any{"success": true, "result": result, "result_info": map[string]int{"page": 1, "per_page": 100, "total_count": 1}})
}

func refuse(w http.ResponseWriter, code int, message string) {
	w.WriteHeader(http.StatusBadRequest)
	_ = json.NewEncoder(w).Encode(map[string]any{"success": false, "errors": []map[string]any{{"code": code, "message": message}}})
}

func (api *cloudflareAPI) create(w http.ResponseWriter, r *http.Request) {
	var record map[string]any
	if err := json.NewDecoder(r.Body).Decode(&record); err != nil {
		refuse(w, 9207, err.Error())
		return
	}
	record["name"] = strings.TrimSuffix(record["name"].(string), ".example.com") + ".example.com"
	for _, other := range api.records {
		if other["name"] == record["name"] && other["content"] == record["content"] {
			refuse(w, 81058, "An identical record already exists.")
			return
		}
	}
	api.made++
	record["id"] = fmt.Sprintf("record%d", api.made)
	record["ttl"] = max(record["ttl"].(float64), 120)
	api.records = append(api.records, record)
	answer(w, record)
}

func (api *cloudflareAPI) list(w http.ResponseWriter, r *http.Request) {
	found := []map[string]any{}
	for _, record := range api.records {
		name := r.FormValue("name")
		if (name == "" || strings.TrimSuffix(name, ".") == record["name"]) && strings.Contains(record["content"].(string), r.FormValue("content.contains")) {
			found = append(found, record)
		}
	}
	answer(w, found)
}

func (api *cloudflareAPI) remove(w http.ResponseWriter, r *http.Request) {
	for i, record := range api.records {
		if record["id"] == r.PathValue("id") {
			api.records = append(api.records[:i], api.records[i+1:]...)
			answer(w, record)
			return
		}
	}
	refuse(w, 81044, "Record does not exist.")
}

// contents returns the texts of the records, without the quotes around them.
func (api *cloudflareAPI) contents() (texts []string) {
	api.mu.Lock()
	defer api.mu.Unlock()
	for _, record := range api.records {
		texts = append(texts, fmt.Sprintf("%s %s", record["name"], strings.Trim(record["content"].(string), `"`)))
	}
	return texts
}

func proofFor(domain, token string) acme.Proof {
	return acme.Proof{
		Challenge:        acme.Challenge{Type: acme.TypeDNS01, Token: token},
		Identifier:       acme.Identifier{Type: acme.TypeDNS, Value: domain},
		KeyAuthorization: token + ".9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI",
	}
}

func TestCloudflare(t *testing.T) {
	api, provider := startCloudflare(t)
	dns01 := &solver.DNS01{Provider: adapter.New(provider), Zone: "example.com", Propagation: solver.Propagation{Off: true}}
	base, wildcard := proofFor("example.com", "token1"), proofFor("example.com", "token2")
	for _, p := range []acme.Proof{base, wildcard, base} { // base once more, as after a crash
		if err := dns01.Present(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	_, value, err := wildcard.TXTRecord()
	if err != nil {
		t.Fatal(err)
	}
	if got := api.contents(); len(got) != 2 || got[1] != "_acme-challenge.example.com "+value {
		t.Errorf("the records are %q", got)
	}
	if err := dns01.CleanUp(t.Context(), base); err != nil {
		t.Error(err)
	}
	if got := api.contents(); len(got) != 1 || got[0] != "_acme-challenge.example.com "+value {
		t.Errorf("the records are %q", got)
	}
	if err := dns01.CleanUp(t.Context(), wildcard); err != nil {
		t.Error(err)
	}
	if got := api.contents(); len(got) > 0 {
		t.Errorf("%q are left", got)
	}
}

func TestCloudflareRefuses(t *testing.T) {
	_, provider := startCloudflare(t)
	provider.APIToken = "another token that nobody prints"
	dns01 := &solver.DNS01{Provider: adapter.New(provider), Zone: "example.com", TTL: time.Hour}
	err := dns01.Present(t.Context(), proofFor("example.com", "token1"))
	if err == nil || !strings.Contains(err.Error(), "Invalid access token") || strings.Contains(err.Error(), "nobody prints") {
		t.Errorf("the error is %v", err)
	}
	if errors.Unwrap(err) == nil {
		t.Error("the error wraps nothing")
	}
}
