module github.com/everseal/everseal/examples

go 1.26.0

require (
	github.com/everseal/everseal v0.0.0
	github.com/everseal/everseal/solver/libdns v0.0.0
	github.com/libdns/cloudflare v0.2.2
	github.com/libdns/rfc2136 v1.0.1
	github.com/miekg/dns v1.1.73
	golang.org/x/sync v0.24.0
)

require (
	github.com/cenkalti/backoff/v5 v5.0.3 // indirect
	golang.org/x/oauth2 v0.37.0 // indirect
)

require (
	github.com/go-acme/lego/v5 v5.6.0
	github.com/go-jose/go-jose/v4 v4.1.9 // indirect
	github.com/libdns/libdns v1.1.1 // indirect
	golang.org/x/net v0.62.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/text v0.43.0 // indirect
)

replace (
	github.com/everseal/everseal => ..
	github.com/everseal/everseal/solver/libdns => ../solver/libdns
)
