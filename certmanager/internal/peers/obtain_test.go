package peers

import (
	"fmt"
	"slices"
	"testing"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
)

func TestObtain(t *testing.T) {
	several := []string{"example.test", "www.example.test", "api.example.test", "mail.example.org"}
	tests := []struct {
		name   string
		http01 bool // rather than tls-alpn-01
		names  []string
	}{
		{"http-01", true, []string{"plain.example.test"}},
		{"tls-alpn-01", false, []string{"secure.example.test"}},
		{"several names by http-01", true, several},
		{"several names by tls-alpn-01", false, several},
		{"IP address by http-01", true, []string{"127.0.0.1"}},
		{"IP address by tls-alpn-01", false, []string{"127.0.0.1"}},
		{"name and IP address", false, []string{"both.example.test", "127.0.0.1"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := startPebble(t, pebbleSettings{})
			config := certmanager.Config{
				Subjects: []certmanager.Subject{{Names: test.names}},
				Storage:  new(storage.Memory),
			}
			if test.http01 {
				config.Solvers = byHTTP01(p, config.Storage)
			}
			s := startServer(t, p, config)
			event := s.events.wait(t, certmanager.EventObtained, test.names[0])
			for _, name := range test.names {
				leaf := s.served(t, name)
				if serial := fmt.Sprintf("%x", leaf.SerialNumber); serial != event.Serial {
					t.Errorf("%s is served with serial number %s, want %s, the obtained one", name, serial, event.Serial)
				}
			}
			p.wants(t, 1, 1)
			if p.accounts() != 1 {
				t.Errorf("the CA has %d accounts, want 1", p.accounts())
			}
			status := s.status(t, test.names[0])
			if status.State != certmanager.StateValid || status.Failure != nil || !slices.Equal(slices.Sorted(slices.Values(test.names)), status.Names) {
				t.Errorf("status %+v", status)
			}
			used, unused := p.tls, p.http
			if test.http01 {
				used, unused = unused, used
			}
			if used.connections.Load() == 0 || unused.connections.Load() != 0 {
				t.Errorf("%d connections to port 80 and %d to port 443", p.http.connections.Load(), p.tls.connections.Load())
			}
		})
	}
}
