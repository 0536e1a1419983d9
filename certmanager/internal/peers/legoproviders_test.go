package peers

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-acme/lego/v5/challenge/dns01"
	"github.com/go-acme/lego/v5/providers/dns/dnsupdate"
	"github.com/go-acme/lego/v5/providers/dns/httpreq"
	"github.com/miekg/dns"

	"github.com/everseal/everseal/solver"
)

// Providers of lego, as they are, prove control by a zone that BIND serves.
func TestLegoProviders(t *testing.T) {
	server := startBIND(t)
	tests := map[string]struct {
		solver func(*testing.T) *solver.Lego
		names  []string
	}{
		"version 5, dnsupdate": {
			// It replaces what another challenge has at the same name, so that there is one for each here.
			solver: func(t *testing.T) *solver.Lego { return solver.LegoV5(newDNSUpdate(t, server)) },
			names:  []string{"one.example.test", "*.two.example.test"},
		},
		"version 5, httpreq": {
			solver: func(t *testing.T) *solver.Lego { return solver.LegoV5(newHTTPReq(t, server)) },
			names:  []string{"example.test", "*.example.test"},
		},
		"version 4": {
			solver: func(*testing.T) *solver.Lego { return solver.LegoV4(&legoV4Provider{server}) },
			names:  []string{"example.test", "*.example.test"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			keepsZones(t, server)
			p := startPebble(t, pebbleSettings{nameServer: server.Address})
			s := test.solver(t)
			s.DNS = server.dns()
			if err := order(t, p, newAccount(t, p), s, test.names...); err != nil {
				t.Fatal(err)
			}
			p.wants(t, 1, 1)
		})
	}
}

// newDNSUpdate returns lego's provider for dynamic updates.
func newDNSUpdate(t *testing.T, server *nameServer) *dnsupdate.DNSProvider {
	t.Helper()
	config := dnsupdate.NewDefaultConfig()
	config.Nameserver = server.Address
	config.TSIGKey, config.TSIGSecret, config.TSIGAlgorithm = tsigKeyName, server.Secret, dns.HmacSHA256
	config.SequenceInterval = time.Millisecond
	provider, err := dnsupdate.NewDNSProviderConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return provider
}

// newHTTPReq returns lego's provider for services of one's own, with such a service that edits the zone.
func newHTTPReq(t *testing.T, server *nameServer) *httpreq.DNSProvider {
	t.Helper()
	const username, password = "lego", "of the service"
	edit := func(change func(context.Context, solver.Record) error) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if name, word, ok := r.BasicAuth(); !ok || name != username || word != password {
				http.Error(w, "who is this?", http.StatusUnauthorized)
				return
			}
			var body struct{ FQDN, Value string }
			err := json.NewDecoder(r.Body).Decode(&body)
			if err == nil {
				err = change(r.Context(), solver.Record{Zone: mainZone, Name: body.FQDN, Value: body.Value, TTL: time.Minute})
			}
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
			}
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /zone/present", edit(server.AppendRecord))
	mux.HandleFunc("POST /zone/cleanup", edit(server.DeleteRecord))
	service := httptest.NewServer(mux)
	t.Cleanup(service.Close)
	endpoint, err := url.Parse(service.URL + "/zone")
	if err != nil {
		t.Fatal(err)
	}
	config := httpreq.NewDefaultConfig()
	config.Endpoint, config.Username, config.Password, config.HTTPClient = endpoint, username, password, service.Client()
	provider, err := httpreq.NewDNSProviderConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return provider
}

// A legoV4Provider has the methods that providers had in lego's version 4, the optional ones too: no context is passed.
type legoV4Provider struct{ server *nameServer }

// Present is that of version 4's challenge.Provider.
func (p *legoV4Provider) Present(domain, _, keyAuthorization string) error {
	return p.server.AppendRecord(context.Background(), legoRecord(domain, keyAuthorization))
}

// CleanUp is that of version 4's challenge.Provider.
func (p *legoV4Provider) CleanUp(domain, _, keyAuthorization string) error {
	return p.server.DeleteRecord(context.Background(), legoRecord(domain, keyAuthorization))
}

// Timeout is that of version 4's challenge.ProviderTimeout.
func (p *legoV4Provider) Timeout() (timeout, interval time.Duration) {
	return patience, 50 * time.Millisecond
}

// Sequential is what lego looks for in providers that take one challenge after another.
func (p *legoV4Provider) Sequential() time.Duration { return time.Millisecond }

func legoRecord(domain, keyAuthorization string) solver.Record {
	info := dns01.GetChallengeInfo(context.Background(), domain, keyAuthorization)
	return solver.Record{Zone: mainZone, Name: strings.TrimSuffix(info.EffectiveFQDN, "."), Value: info.Value, TTL: time.Minute}
}
