package certmanager_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"slices"
	"strings"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
)

// runLocally returns a manager at work, with a CA of its own, once its certificates are served, and what ends it.
func runLocally(config certmanager.Config) (m *certmanager.Manager, stop func()) {
	if config.Storage == nil {
		config.Storage = new(storage.Memory)
	}
	config.Issuers, config.Logger = []certmanager.Issuer{new(certmanager.LocalCA)}, slog.New(slog.DiscardHandler)
	m, err := certmanager.New(config)
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- m.Run(ctx) }()
	if err := m.Wait(ctx); err != nil {
		log.Fatal(err)
	}
	return m, func() { cancel(); <-ended }
}

// What happens to certificates goes to a channel, from which somebody is told of it.
func ExampleEvent() {
	events := make(chan certmanager.Event, 100)
	m, stop := runLocally(certmanager.Config{Names: []string{"www.internal"}, OnEvent: func(e certmanager.Event) { events <- e }})
	fmt.Println("renewed:", m.Renew(context.Background(), "www.internal"))
	stop() // when all events have been delivered
	close(events)
	for e := range events {
		switch e.Kind {
		case certmanager.EventObtained:
			fmt.Println("obtained for", e.Names, "by", e.Issuer, "in place of another:", e.Renewal)
		case certmanager.EventFailed, certmanager.EventExpiring:
			fmt.Println("somebody has to see to it:", e.Names, e.Err, "again at", e.Next)
		}
	}
	// Output:
	// renewed: <nil>
	// obtained for [www.internal] by local in place of another: false
	// obtained for [www.internal] by local in place of another: true
}

// How each certificate stands, and what comes next for it.
func ExampleStatus() {
	m, stop := runLocally(certmanager.Config{Names: []string{"www.internal", "db.internal"}})
	stop() // what is known stays
	all := slices.SortedFunc(m.All(), func(a, b certmanager.Status) int { return strings.Compare(a.Names[0], b.Names[0]) })
	for _, s := range all {
		fmt.Println(s.Names, s.State, "by", s.Issuer, "and then", s.Action, "before it ends:", s.Next.Before(s.NotAfter), "failure:", s.Failure)
	}
	_, known := m.Status("mail.internal")
	fmt.Println(known)
	// Output:
	// [db.internal] valid by local and then renew before it ends: true failure: <nil>
	// [www.internal] valid by local and then renew before it ends: true failure: <nil>
	// false
}

// The sums, as a health check asks for them.
func ExampleStats() {
	m, stop := runLocally(certmanager.Config{Names: []string{"www.internal", "db.internal"}})
	stop() // what is known stays
	s := m.Stats()
	fmt.Println("valid:", s.States[certmanager.StateValid], "failing:", s.Failing, "overdue:", s.Overdue)
	// Output: valid: 2 failing: 0 overdue: 0
}
