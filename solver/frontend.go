package solver

import (
	"net/http"
	"strings"
)

// A frontend is a server between the CA and this process.
type frontend struct {
	name string // "Cloudflare"; "a proxy" where only that can be told
	mark string // the header it was known by, such as "server: cloudflare"
}

// A frontendMark is a header of answers by which a front end is known.
type frontendMark struct {
	header string
	part   string // of the value, in lower case; empty: any value
	name   string
}

// frontendMarks returns the marks, from the certain to the general.
func frontendMarks() []frontendMark {
	return []frontendMark{
		{"Server", "cloudflare", "Cloudflare"},
		{"Cf-Ray", "", "Cloudflare"},
		{"Server", "cloudfront", "CloudFront"},
		{"Via", "cloudfront.net", "CloudFront"},
		{"X-Amz-Cf-Id", "", "CloudFront"},
		{"Server", "akamai", "Akamai"},
		{"X-Akamai-Request-Id", "", "Akamai"},
		{"X-Akamai-Transformed", "", "Akamai"},
		{"Akamai-Grn", "", "Akamai"},
		{"Server", "fastly", "Fastly"},
		{"X-Fastly-Request-Id", "", "Fastly"},
		{"Fastly-Debug-Digest", "", "Fastly"},
		{"X-Served-By", "cache-", "Fastly"}, // "cache-fra-eddf8230036-FRA"; its Via says no more than Varnish
		{"Via", "", proxyName},
	}
}

// proxyName is the name of a front end that no content delivery network is known by.
const proxyName = "a proxy"

// frontendOf returns the front end that an answer's headers give away, if any.
func frontendOf(headers map[string]string) (frontend, bool) {
	for _, mark := range frontendMarks() {
		value, ok := headers[mark.header]
		if ok && strings.Contains(strings.ToLower(value), mark.part) {
			return frontend{mark.name, strings.ToLower(mark.header) + ": " + value}, true
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
			telling[name] = escaped(value, 100)
		}
	}
	note("Server")
	for _, mark := range frontendMarks() {
		note(mark.header)
	}
	return telling
}
