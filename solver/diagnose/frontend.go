package diagnose

import (
	"net/http"
	"strings"

	"github.com/everseal/everseal/solver/internal/escape"
)

// A frontend is a server between the CA and this process.
type frontend struct {
	name string // "Cloudflare"; "a proxy" if only that can be told
	kind string // "CDN", "proxy" or "load balancer"
	mark string // the header it was known by, such as "server: cloudflare"
}

// A frontendMark is a header of answers by which a front end is known.
type frontendMark struct {
	header string
	part   string // of the value, in lower case; empty: any value
	name   string
	kind   string
}

// frontendMarks returns the marks, from the certain to the general.
func frontendMarks() []frontendMark {
	return []frontendMark{
		{"Server", "cloudflare", cloudflare, kindCDN},
		{"Cf-Ray", "", cloudflare, kindCDN},
		{"Server", "cloudfront", "CloudFront", kindCDN},
		{"Via", "cloudfront.net", "CloudFront", kindCDN},
		{"X-Amz-Cf-Id", "", "CloudFront", kindCDN},
		{"Server", "akamai", "Akamai", kindCDN},
		{"X-Akamai-Request-Id", "", "Akamai", kindCDN},
		{"X-Akamai-Transformed", "", "Akamai", kindCDN},
		{"Akamai-Grn", "", "Akamai", kindCDN},
		{"Server", "fastly", "Fastly", kindCDN},
		{"X-Fastly-Request-Id", "", "Fastly", kindCDN},
		{"Fastly-Debug-Digest", "", "Fastly", kindCDN},
		{"X-Served-By", "cache-", "Fastly", kindCDN}, // "cache-fra-eddf8230036-FRA"; its Via says no more than Varnish
		{"X-Azure-Ref", "", "Azure Front Door", kindCDN},
		{"Server", "awselb", "the load balancer of AWS", kindBalancer}, // when it answers itself
		{"Server", "microsoft-azure-application-gateway", "Azure Application Gateway", kindBalancer},
		{"Server", "bigip", "F5 BIG-IP", kindBalancer},
		{"Via", "", "a proxy", "proxy"},
	}
}

const (
	kindCDN      = "CDN"
	kindBalancer = "load balancer"
	cloudflare   = "Cloudflare"
)

// frontendOf returns the front end that an answer's headers give away, if any.
func frontendOf(headers map[string]string) (frontend, bool) {
	for _, mark := range frontendMarks() {
		value, ok := headers[mark.header]
		if ok && strings.Contains(strings.ToLower(value), mark.part) {
			return frontend{mark.name, mark.kind, strings.ToLower(mark.header) + ": " + value}, true
		}
	}
	return frontend{}, false
}

// tellingHeaders returns those headers of an answer that tell servers and front ends apart; nil if none do.
func tellingHeaders(h http.Header) map[string]string {
	var telling map[string]string
	note := func(name string) {
		if value := strings.Join(h.Values(name), ", "); value != "" {
			if telling == nil {
				telling = make(map[string]string)
			}
			telling[name] = escape.Text(value, 100)
		}
	}
	note("Server")
	for _, mark := range frontendMarks() {
		note(mark.header)
	}
	return telling
}
