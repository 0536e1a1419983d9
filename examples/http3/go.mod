module github.com/everseal/everseal/examples/http3

go 1.26.0

require (
	github.com/everseal/everseal v0.0.0
	github.com/quic-go/quic-go v0.65.0
	golang.org/x/sync v0.24.0
)

require (
	github.com/go-jose/go-jose/v4 v4.1.9 // indirect
	github.com/quic-go/qpack v0.6.0 // indirect
	golang.org/x/crypto v0.58.0 // indirect
	golang.org/x/net v0.62.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/text v0.43.0 // indirect
)

replace github.com/everseal/everseal => ../..
