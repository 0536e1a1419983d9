package main

import (
	"cmp"
	"errors"
	"net/http"
	"time"

	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/solver/libdns"
	"github.com/libdns/cloudflare"
)

// newCloudflare returns a provider for zones at Cloudflare. The token is one that Cloudflare's dashboard makes
// by its template "Edit zone DNS".
func newCloudflare(getenv func(string) string) (solver.Provider, error) {
	token := cmp.Or(getenv("CF_Token"), getenv("CF_API_TOKEN"))
	if token == "" {
		return nil, errors.New("set CF_Token or CF_API_TOKEN to a token for Cloudflare's API that may edit the zone's DNS")
	}
	return libdns.New(&cloudflare.Provider{
		APIToken:   token,
		HTTPClient: &http.Client{Timeout: 30 * time.Second},
	}), nil
}
