module github.com/everseal/everseal/storage/kubernetes

go 1.26.0

require github.com/everseal/everseal v0.0.0

require (
	github.com/go-jose/go-jose/v4 v4.1.9 // indirect
	golang.org/x/net v0.62.0 // indirect
	golang.org/x/sync v0.24.0 // indirect
	golang.org/x/text v0.43.0 // indirect
)

replace github.com/everseal/everseal => ../..
