// Consumer is a program outside the repository, as its users write them: it requires the core, storage/sql and
// solver/libdns. It obtains a certificate for a wildcard from a CA of its own, by way of a provider of libdns, and keeps it
// in a file of SQLite.
package main

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/acme/acmetest"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/solver"
	adapter "github.com/everseal/everseal/solver/libdns"
	"github.com/everseal/everseal/storage/sql"
	"github.com/libdns/libdns"
)

// A zone is where the CA finds TXT records.
type zone struct{ ca *acmetest.Server }

func (z zone) AppendRecords(_ context.Context, name string, records []libdns.Record) ([]libdns.Record, error) {
	for _, record := range records {
		z.ca.SetTXT(libdns.AbsoluteName(record.RR().Name, strings.TrimSuffix(name, ".")), record.RR().Data)
	}
	return records, nil
}

func (z zone) DeleteRecords(_ context.Context, _ string, records []libdns.Record) ([]libdns.Record, error) {
	return records, nil
}

func main() {
	folder, err := os.MkdirTemp("", "consumer")
	if err != nil {
		log.Fatal(err)
	}
	err = run(context.Background(), filepath.Join(folder, "store.db"))
	os.RemoveAll(folder)
	if err != nil {
		log.Fatal("consumer: ", err)
	}
}

func run(ctx context.Context, database string) error {
	store, err := sql.Open(ctx, "sqlite://"+database, sql.Config{})
	if err != nil {
		return err
	}
	defer store.Close()
	ca := acmetest.NewServer()
	defer ca.Close()
	m, err := certmanager.New(certmanager.Config{
		Names:        []string{"*.example.com"},
		Issuers:      []certmanager.Issuer{&certmanager.ACME{DirectoryURL: ca.URL, HTTPClient: ca.Client()}},
		AgreeToTerms: true,
		Solvers: []acme.Solver{&solver.DNS01{
			Provider:    adapter.New(zone{ca}),
			Zone:        "example.com",
			Propagation: solver.Propagation{Off: true}, // the CA asks no name server
		}},
		Preflight: certmanager.PreflightOff,
		Storage:   store,
		Logger:    slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	err = m.Wait(ctx)
	cancel()
	<-ended
	if err != nil {
		return err
	}
	fmt.Println("obtained:", ca.Certificates()[0].DNSNames)
	return nil
}
