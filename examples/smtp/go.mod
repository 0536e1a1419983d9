module github.com/everseal/everseal/examples/smtp

go 1.26.0

require (
	github.com/emersion/go-smtp v0.25.1
	github.com/everseal/everseal v0.0.0
	golang.org/x/sync v0.24.0
)

require (
	github.com/emersion/go-sasl v0.0.0-20241020182733-b788ff22d5a6 // indirect
	github.com/go-jose/go-jose/v4 v4.1.9 // indirect
	golang.org/x/net v0.62.0 // indirect
	golang.org/x/text v0.43.0 // indirect
)

replace github.com/everseal/everseal => ../..
